"""One wherryd for each run directory."""

import fcntl
import os
from pathlib import Path

from wherry.locks import try_lock

_SERVING = b"serving"
_LEAVING = b"leaving"


class AlreadyRunning(Exception):
    """Another wherryd serves the run directory. The message is one line."""


class DaemonLock:
    """Held by the wherryd that serves; the kernel lets go of it however that ends.

    The file says who holds it, and whether that one is on its way out: a new wherryd waits for an
    old one that is leaving, and refuses to start beside one that serves.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def take(cls, path: Path) -> "DaemonLock":
        """Raises AlreadyRunning."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if not try_lock(fd):
            pid, _, doing = os.pread(fd, 64, 0).partition(b" ")
            if doing.strip() != _LEAVING:
                os.close(fd)
                raise AlreadyRunning(
                    f"already running as process {pid.decode(errors='replace') or '?'} "
                    f"in {path.parent}"
                )
            fcntl.flock(fd, fcntl.LOCK_EX)
        lock = cls(fd)
        lock._say(_SERVING)
        return lock

    def leaving(self) -> None:
        """From now on a new wherryd waits for this one's end."""
        self._say(_LEAVING)

    def _say(self, doing: bytes) -> None:
        text = b"%d %s\n" % (os.getpid(), doing)
        os.pwrite(self._fd, text.ljust(32), 0)
