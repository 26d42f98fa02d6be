"""Ending what is under way in other threads, at once."""

from collections import Counter
from threading import Event, Lock
from typing import Protocol

from wherry.registry.errors import Abandoned


class Breakable(Protocol):
    """A connection that can be broken from another thread."""

    def break_off(self) -> None:
        """Have who waits for it, to connect, to read or to write, fail now. Never raises."""


class Cancel:
    """Handed to what may take long. Any thread may call any of it, any number of times."""

    def __init__(self) -> None:
        self._event = Event()
        self._lock = Lock()
        self._under_way: Counter[Breakable] = Counter()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._event.is_set()

    def cancel(self) -> None:
        """Break what is under way; it and whatever comes later raises Abandoned."""
        self._event.set()
        with self._lock:
            for connection in self._under_way:
                connection.break_off()

    def check(self) -> None:
        """Raises Abandoned if `cancel` was called."""
        if self._event.is_set():
            raise Abandoned("cancelled")

    def wait(self, seconds: float) -> None:
        """Let so much time pass. Raises Abandoned as soon as `cancel` is called."""
        self._event.wait(seconds)
        self.check()

    def watch(self, connection: Breakable) -> None:
        """Break `connection` when `cancel` is called, or now if it was; until `forget`.

        Counted: a connection may be in the next one's hands before the last has let go of it.
        """
        with self._lock:
            self._under_way[connection] += 1
            if self._event.is_set():
                connection.break_off()

    def forget(self, connection: Breakable) -> None:
        """Take one `watch` back."""
        with self._lock:
            self._under_way[connection] -= 1
            if self._under_way[connection] <= 0:
                del self._under_way[connection]
