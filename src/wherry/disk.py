"""How much room files take on a disk, counted as du(1) counts it, and room that is kept.

Allocated blocks, not lengths: what removing the files would give back. Folders count, a file with
several names counts once, links are not followed.
"""

import os
from contextlib import suppress
from pathlib import Path

BLOCK = 512
"""Bytes of the unit in which stat(2) tells what is allocated, whatever the file system's own is."""

_RESERVE = 256 << 10
_LONG = 3000
"""Bytes of a path; a longer one is cut, since the kernel takes 4096 and a guest may nest deeper."""


def allocated(path: str | os.PathLike[str]) -> int:
    """Bytes of a file, or of a folder with all in it; 0 if it is not there."""
    try:
        return _of(os.lstat(path)) + below(path)
    except FileNotFoundError:
        return 0


def below(path: str | os.PathLike[str]) -> int:
    """Bytes of all that is in a folder, without the folder itself; 0 if it is none.

    What goes meanwhile is not counted, and neither is what may not be read.
    """
    total = 0
    linked: set[tuple[int, int]] = set()
    opened: list[int] = []
    pending = [os.fspath(path)]
    try:
        while pending:
            folder = _shortened(pending.pop(), opened)
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
                        elif status.st_nlink > 1:
                            inode = (status.st_dev, status.st_ino)
                            if inode in linked:
                                continue
                            linked.add(inode)
                        total += _of(status)
    finally:
        for fd in opened:
            os.close(fd)
    return total


class Reserve:
    """A file that takes room and holds nothing, for when there is none: what is to make room has to
    be written down first. Where none can be kept, there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._taken = False
        self.take()

    def take(self) -> None:
        """Take the room, if it is not taken yet and there is as much."""
        if self._taken:
            return
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            return
        try:
            os.posix_fallocate(fd, 0, _RESERVE)
            self._taken = True
        except OSError:
            os.ftruncate(fd, 0)
        finally:
            os.close(fd)

    def release(self) -> None:
        """Give the room back, for what must be written now."""
        self._path.unlink(missing_ok=True)
        self._taken = False


def _of(status: os.stat_result) -> int:
    return status.st_blocks * BLOCK


def _shortened(path: str, opened: list[int]) -> str:
    """Another path of the same folder if this one has become too long."""
    if len(path) <= _LONG:
        return path
    with suppress(OSError):
        opened.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))
        return f"/proc/self/fd/{opened[-1]}"
    return path
