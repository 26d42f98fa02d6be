"""Noticing that a client has gone whose input has ended, or is not read.

A client that sends no more (shutdown(2) of its half) still reads. One that has gone looks the same
to read(2); only poll(2) tells them apart, by POLLHUP. asyncio polls for input or not at all, so the
socket is watched through an epoll(7) of its own, which becomes readable when the client has gone.
"""

import asyncio
import select
from collections.abc import Callable


class HangUp:
    """Calls `gone` once, when both halves of the connection `fd` are closed by the other side."""

    def __init__(self, fd: int, gone: Callable[[], None]) -> None:
        self._gone = gone
        self._epoll = select.epoll()
        # POLLHUP and POLLERR are always told.
        self._epoll.register(fd, 0)
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._told)

    def _told(self) -> None:
        self.close()
        self._gone()

    def close(self) -> None:
        """Watch no more. May be repeated."""
        if not self._epoll.closed:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
