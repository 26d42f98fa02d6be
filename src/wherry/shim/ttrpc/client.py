"""A ttrpc client on asyncio."""

import asyncio
from typing import Self, cast

from wherry.shim.protobuf import M, Message
from wherry.shim.ttrpc.connection import ClientConnection
from wherry.shim.ttrpc.status import CallError, Code


class Client(asyncio.Protocol):
    """One connection; calls may overlap. Calls under way fail when it breaks."""

    def __init__(self) -> None:
        self._machine = ClientConnection()
        self._calls: dict[int, asyncio.Future[bytes]] = {}
        self._transport: asyncio.Transport | None = None
        self.closed = asyncio.Event()

    @classmethod
    async def connect(cls, path: str) -> Self:
        """Connect to the unix socket at `path`. Raises OSError."""
        _, client = await asyncio.get_running_loop().create_unix_connection(cls, path)
        return client

    async def call(
        self,
        service: str,
        method: str,
        request: Message,
        answer: type[M],
        seconds: float | None = None,
    ) -> M:
        """Call `method` and decode its answer, which may take `seconds`. Raises CallError."""
        if self._transport is None or self._transport.is_closing():
            raise CallError(Code.UNAVAILABLE, "the connection is closed")
        nanoseconds = 0 if seconds is None else int(seconds * 1e9)
        stream, data = self._machine.call(service, method, request.encode(), nanoseconds)
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._calls[stream] = reply
        try:
            self._transport.write(data)
            if seconds is None:
                payload = await reply
            else:
                payload = await asyncio.wait_for(reply, seconds)
        except TimeoutError:
            reason = f"{method} was not answered within {seconds:g} s"
            raise CallError(Code.DEADLINE_EXCEEDED, reason) from None
        finally:
            del self._calls[stream]
        return answer.decode(payload)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's: the connection is there."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """asyncio's: bytes have come."""
        for reply in self._machine.receive(data):
            waiting = self._calls.get(reply.stream)
            if waiting is None or waiting.done():
                continue
            if reply.error is not None:
                waiting.set_exception(reply.error)
            else:
                waiting.set_result(reply.payload)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's: every call that waits fails with UNAVAILABLE."""
        self._transport = None
        self.closed.set()
        for waiting in self._calls.values():
            if not waiting.done():
                waiting.set_exception(CallError(Code.UNAVAILABLE, "the connection broke"))
