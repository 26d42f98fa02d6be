"""How much room files take on a disk, counted as du(1) counts it.

Allocated blocks, not lengths: what removing the files would give back. Folders count, a file with
several names counts once, links are not followed.
"""

import os
from contextlib import suppress

BLOCK = 512
"""Bytes of the unit in which stat(2) tells what is allocated, whatever the file system's own is."""

_LONG = 3000
"""Bytes of a path; a longer one is cut, since the kernel takes 4096 and a guest may nest deeper."""


def allocated(path: str | os.PathLike[str], *, alone: bool = False) -> int:
    """Bytes of a file, or of a folder with all in it unless `alone`; 0 if it is not there."""
    try:
        itself = _of(os.lstat(path))
        return itself if alone else itself + below(path)
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
