"""The path of the listening socket: how it goes away without turning anybody away."""

import fcntl
import os
import select
import socket
from pathlib import Path

from wherry.locks import try_lock


class Door:
    """Clients that find no socket at its path start a daemon, one at a time under a lock of theirs.

    Holding that lock, the path can be taken away and whoever came before can still be counted.
    A socket that somebody else made elsewhere (systemd) is left as it is: they start us again.
    """

    def __init__(self, listener: socket.socket, path: Path) -> None:
        self._listener = listener
        self._path = path
        self._lock = os.open(
            path.with_name("wherryd.start.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        self._identity = self._seen() if listener.getsockname() == str(path) else None

    def shut(self) -> bool:
        """Take the path away unless somebody is at the door; whether it is shut.

        Once shut, clients that would start another daemon wait until `remove`.
        """
        if not try_lock(self._lock):
            return False
        if self._identity is None or self._seen() != self._identity:
            return True
        aside = self._path.with_suffix(".closing")
        self._path.rename(aside)
        if select.select([self._listener], [], [], 0)[0]:
            aside.rename(self._path)
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            return False
        aside.unlink()
        return True

    def remove(self) -> None:
        """Take the path away, if it still leads here."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        if self._identity is not None and self._seen() == self._identity:
            self._path.unlink()
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _seen(self) -> tuple[int, int] | None:
        try:
            found = self._path.lstat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino
