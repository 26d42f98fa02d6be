"""Sockets towards containers, in whose network they may be reached."""

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable

_BATCH = 32


class Sockets:
    """Sockets of this process's own network: as root, bridges are in it."""

    def take(self, family: int) -> socket.socket | None:
        """One for TCP, not blocking; None: `wait` until there is one. Raises OSError."""
        return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    def wait(self, ready: Callable[[], None]) -> None:
        """Call `ready` once `take` may be tried again."""
        raise AssertionError("there is always one")

    async def datagrams(self, family: int) -> socket.socket:
        """One for UDP, not blocking. Raises OSError."""
        return socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def close(self) -> None:
        """Close those that nobody took."""


class DistantSockets(Sockets):
    """Sockets of another network, which only another thread can make: they are kept ready.

    `within` has the thread run something there.
    """

    def __init__(
        self, within: Callable[[Callable[[], list[socket.socket]]], Awaitable[list[socket.socket]]]
    ) -> None:
        self._within = within
        self._ready: dict[int, deque[socket.socket]] = {
            socket.AF_INET: deque(),
            socket.AF_INET6: deque(),
        }
        self._waiting: list[Callable[[], None]] = []
        self._making: dict[int, asyncio.Task[None]] = {}
        self._error: OSError | None = None

    def take(self, family: int) -> socket.socket | None:
        """A socket for streams of an address family, or None while one is being made.

        Raises OSError where none could be made.
        """
        ready = self._ready[family]
        if len(ready) <= _BATCH // 2 and family not in self._making:
            making = self._making[family] = asyncio.create_task(self._make(family))
            making.add_done_callback(lambda _: self._made(family))
        if ready:
            return ready.popleft()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return None

    def wait(self, ready: Callable[[], None]) -> None:
        """Call `ready` once, when there may be sockets again."""
        self._waiting.append(ready)

    async def datagrams(self, family: int) -> socket.socket:
        """A new socket for datagrams. Raises OSError."""
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        (made,) = await self._within(lambda: [socket.socket(family, kind)])
        return made

    def close(self) -> None:
        """Give back all that were made."""
        for making in self._making.values():
            making.cancel()
        for ready in self._ready.values():
            while ready:
                ready.pop().close()

    async def _make(self, family: int) -> None:
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
        try:
            made = await self._within(lambda: [socket.socket(family, kind) for _ in range(_BATCH)])
        except OSError as error:
            self._error = error
        else:
            self._ready[family].extend(made)

    def _made(self, family: int) -> None:
        del self._making[family]
        waiting, self._waiting = self._waiting, []
        for ready in waiting:
            ready()
