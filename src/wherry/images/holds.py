"""Holds: what a build, a load or an unpack is working on is not collected under its hands.

Inside this process a hold remembers the names (digests, folders) touched in its context while it
lasts, and whoever removes things spares those. Towards other processes a hold is a shared lock of
one file, which ends with the process however it ends; a collector that finds it taken leaves all
for later.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from wherry.locks import try_lock

_entered: ContextVar[tuple["_Hold", ...]] = ContextVar("_entered", default=())
"""The holds that the running thread or task is in."""


class _Hold:
    """One hold, and what was touched in it."""

    def __init__(self, owner: "Holds") -> None:
        self.owner = owner
        self.touched: set[str] = set()


class Holds:
    """The holds of one store in this process."""

    def __init__(self, lock: Path) -> None:
        self._path = lock
        self._mutex = threading.Lock()
        self._active: list[_Hold] = []
        self._fd = -1

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Spare what is touched inside until the end.

        Inside is what this thread or task does, and what it hands to `asyncio.to_thread`.
        """
        hold = _Hold(self)
        with self._mutex:
            if not self._active:
                self._fd = self._open()
                fcntl.flock(self._fd, fcntl.LOCK_SH)
            self._active.append(hold)
        _entered.set((*_entered.get(), hold))
        try:
            yield
        finally:
            _entered.set(tuple(other for other in _entered.get() if other is not hold))
            with self._mutex:
                self._active.remove(hold)
                if not self._active:
                    os.close(self._fd)

    def touch(self, *names: str) -> None:
        """Note that `names` are being worked with, before looking whether they exist."""
        holds = _entered.get()
        if not holds:
            return
        with self._mutex:
            for hold in holds:
                if hold.owner is self:
                    hold.touched.update(names)

    @contextmanager
    def collecting(self) -> Iterator["frozenset[str] | None"]:
        """Yield the names to spare, or None while another process holds the store.

        Nothing is touched meanwhile. Only to be entered under the lock of the catalog, so that no
        other collector can slip in while the lock changes from shared to exclusive.
        """
        with self._mutex:
            fd = self._fd if self._active else self._open()
            try:
                yield self._spared() if try_lock(fd) else None
            finally:
                if self._active:
                    fcntl.flock(fd, fcntl.LOCK_SH)
                else:
                    os.close(fd)

    def _spared(self) -> frozenset[str]:
        return frozenset().union(*(hold.touched for hold in self._active))

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
