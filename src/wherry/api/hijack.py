"""A connection taken over from HTTP: raw bytes both ways, as `attach` needs it.

A client asks with `Upgrade: tcp` and gets 101, or without and gets 200; from then on the
connection belongs to the stream (Engine API, ContainerAttach, "Hijacking").
"""

import asyncio
from contextlib import suppress

from wherry.api.hangup import HangUp
from wherry.api.http import BaseRequest

_READ_AHEAD = 256 << 10
_LINGER = 10.0


class Hijacked(asyncio.Protocol):
    """The raw connection. Its input may end while output still flows."""

    def __init__(self, transport: asyncio.Transport, http: asyncio.Protocol) -> None:
        self._transport = transport
        self._http = http
        self._received = bytearray()
        self._input_ended = False
        self._input: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._closing = False
        self._gone = False
        fd = transport.get_extra_info("socket").fileno()
        self._hang_up = HangUp(fd, self._client_gone)
        self.lost = asyncio.Event()
        """Set when the client has gone altogether."""

    @classmethod
    def take(cls, request: BaseRequest, media_type: str) -> "Hijacked":
        """Answer `request` and take its connection over. Raises ConnectionResetError.

        A client sends nothing behind its request until it has the answer (RFC 9110, 7.8).
        """
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        connection = cls(transport, request.protocol)
        if request.headers.get("Upgrade", "").lower() == "tcp":
            head = "101 UPGRADED", "Connection: Upgrade\r\nUpgrade: tcp\r\n"
        else:
            head = "200 OK", ""
        transport.set_protocol(connection)
        transport.resume_reading()
        transport.write(
            f"HTTP/1.1 {head[0]}\r\nContent-Type: {media_type}\r\n{head[1]}\r\n".encode()
        )
        return connection

    async def read(self) -> bytes:
        """What came in, as soon as there is something; nothing when the input has ended."""
        while not self._received and not self._input_ended:
            await self._arrival()
        data = bytes(self._received)
        self._received.clear()
        if len(data) >= _READ_AHEAD and not self._transport.is_closing():
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Send `data`; waits while the client does not read. Raises ConnectionResetError."""
        if self._transport.is_closing():
            raise ConnectionResetError("the client has gone")
        self._transport.write(data)
        if not self._writable.is_set():
            await self._writable.wait()

    async def close(self) -> None:
        """Everything was sent. The client is given time to close its side first.

        A unix socket that is closed with input unread breaks the connection on the other side,
        and clients report that as an error.
        """
        self._closing = True
        self._received.clear()
        if not self._input_ended and not self._transport.is_closing():
            self._transport.resume_reading()
            self._transport.write_eof()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGER):
                    while not self._input_ended:
                        await self._arrival()
        self._transport.close()

    def abort(self) -> None:
        """Something went wrong: drop the connection and what was to be sent."""
        self._transport.abort()

    # asyncio's side

    def data_received(self, data: bytes) -> None:
        """Keep what arrived until it is read; more than _READ_AHEAD waits in the kernel."""
        if self._closing:
            return
        self._received += data
        if len(self._received) >= _READ_AHEAD:
            self._transport.pause_reading()
            if self._gone:
                self._transport.abort()
        self._wake()

    def eof_received(self) -> bool:
        """The client's input ended. True keeps our side open for what is still to be sent."""
        self._input_ended = True
        self._wake()
        if self._gone:
            self._transport.abort()
        return True

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, for HTTP's part of it too."""
        self._hang_up.close()
        self._input_ended = True
        self.lost.set()
        self._wake()
        self._writable.set()
        self._http.connection_lost(exc)

    def _client_gone(self) -> None:
        """What it sent is still read, unless nobody takes it."""
        self._gone = True
        if self._input_ended or len(self._received) >= _READ_AHEAD:
            self._transport.abort()

    async def _arrival(self) -> None:
        self._input = asyncio.get_running_loop().create_future()
        await self._input

    def _wake(self) -> None:
        if self._input is not None and not self._input.done():
            self._input.set_result(None)
        self._input = None
