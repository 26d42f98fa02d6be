"""Holds: what a build, a load or an unpack is working on is not collected under its hands.

Inside this process a hold remembers the names (digests, temporary names) touched while it lasts,
and the collector spares those. Towards other processes a hold is a shared lock of one file, which
ends with the process however it ends; a collector that finds it taken leaves all for later.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Holds:
    """The holds of one store in this process."""

    def __init__(self, lock: Path) -> None:
        self._path = lock
        self._mutex = threading.Lock()
        self._active: list[set[str]] = []
        self._fd = -1

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Spare everything touched inside, by any thread, from collection until the end."""
        touched: set[str] = set()
        with self._mutex:
            if not self._active:
                self._fd = self._open()
                fcntl.flock(self._fd, fcntl.LOCK_SH)
            self._active.append(touched)
        try:
            yield
        finally:
            with self._mutex:
                # By identity: two holds that touched the same are equal sets.
                self._active = [other for other in self._active if other is not touched]
                if not self._active:
                    os.close(self._fd)

    def touch(self, *names: str) -> None:
        """Note that `names` are being worked with, before looking whether they exist."""
        with self._mutex:
            for touched in self._active:
                touched.update(names)

    @contextmanager
    def collecting(self) -> Iterator["Sparing | None"]:
        """Yield what decides over each deletion, or None while another process holds the store.

        Only to be entered under the store's index lock, so that no other collector can slip in
        while the lock changes from shared to exclusive.
        """
        with self._mutex:
            fd = self._fd if self._active else self._open()
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield Sparing(self._active)
            finally:
                if self._active:
                    fcntl.flock(fd, fcntl.LOCK_SH)
                else:
                    os.close(fd)

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


class Sparing:
    """What the holds of this process spare, fixed while a collection lasts."""

    def __init__(self, active: list[set[str]]) -> None:
        self._active = active

    def __contains__(self, name: object) -> bool:
        return any(name in touched for touched in self._active)
