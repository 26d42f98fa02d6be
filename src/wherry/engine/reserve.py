"""Room on the disk that is kept for when there is none: what makes room has to be written down."""

import os
from pathlib import Path

_SIZE = 256 << 10


class Reserve:
    """A file that takes room and holds nothing. Where none can be kept, there is none."""

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
            os.posix_fallocate(fd, 0, _SIZE)
            self._taken = True
        except OSError:
            os.ftruncate(fd, 0)
        finally:
            os.close(fd)

    def release(self) -> None:
        """Give the room back, for what must be written now."""
        self._path.unlink(missing_ok=True)
        self._taken = False
