"""gRPC over a unix socket, as much of it as calling containerd takes.

`Exchange` is one call as a state machine without I/O, above h2; `call` is the thin layer that
moves its bytes.
"""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import unquote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

from wherry.shim.ttrpc import CallError, Code

_HEADER = 5
"""Bytes before each message: one says if it is compressed, four its length."""
_MAX_MESSAGE = 16 << 20
_READ = 256 << 10


class Exchange:
    """One call: what is to be sent for it, and the messages of its answer.

    Its methods raise CallError with what the server says, or UNAVAILABLE for nonsense.
    """

    def __init__(self, method: str, request: bytes, metadata: dict[str, str]) -> None:
        self.ended = False
        self._http = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._http.initiate_connection()
        self._stream = self._http.get_next_available_stream_id()
        self._buffer = bytearray()
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", method),
            (":authority", "localhost"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            *metadata.items(),
        ]
        self._http.send_headers(self._stream, headers)
        framed = b"\0" + len(request).to_bytes(4) + request
        self._http.send_data(self._stream, framed, end_stream=True)

    def to_send(self) -> bytes:
        """Bytes for the server."""
        return self._http.data_to_send()

    def receive(self, data: bytes) -> list[bytes]:
        """Take bytes from the server; returns the messages that are complete now."""
        try:
            for event in self._http.receive_data(data):
                self._handle(event)
        except ProtocolError as error:
            raise CallError(Code.UNAVAILABLE, f"containerd does not speak gRPC: {error}") from None
        return self._complete()

    def _handle(self, event: Event) -> None:
        match event:
            case DataReceived(data=data, flow_controlled_length=length, stream_id=stream):
                self._buffer += data or b""
                self._http.acknowledge_received_data(length or 0, stream or self._stream)
            case ResponseReceived(headers=headers) | TrailersReceived(headers=headers):
                _raise_status({str(name): str(value) for name, value in headers or ()})
            case StreamEnded():
                self.ended = True
            case StreamReset() | ConnectionTerminated():
                raise CallError(Code.UNAVAILABLE, "containerd broke off the call")

    def _complete(self) -> list[bytes]:
        messages = []
        while len(self._buffer) >= _HEADER:
            length = int.from_bytes(self._buffer[1:_HEADER])
            if self._buffer[0] or length > _MAX_MESSAGE:
                raise CallError(Code.UNAVAILABLE, "containerd sent a message nobody asked for")
            if len(self._buffer) < _HEADER + length:
                break
            messages.append(bytes(self._buffer[_HEADER : _HEADER + length]))
            del self._buffer[: _HEADER + length]
        return messages


def _raise_status(headers: dict[str, str]) -> None:
    status = headers.get("grpc-status", "0")
    if status != "0":
        try:
            code = Code(int(status))
        except ValueError:
            code = Code.UNKNOWN
        raise CallError(code, unquote(headers.get("grpc-message", "no reason given")))


async def call(
    address: str, method: str, request: bytes, metadata: dict[str, str]
) -> AsyncIterator[bytes]:
    """Call `/package.Service/Method` at the unix socket `address`; yields its answers.

    Raises CallError; UNAVAILABLE if nobody answers there.
    """
    path = address.removeprefix("unix://")
    try:
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            exchange = Exchange(method, request, metadata)
            while not exchange.ended:
                writer.write(exchange.to_send())
                await writer.drain()
                data = await reader.read(_READ)
                if not data:
                    raise CallError(Code.UNAVAILABLE, "containerd hung up")
                for message in exchange.receive(data):
                    yield message
        finally:
            writer.close()
    except OSError as error:
        raise CallError(Code.UNAVAILABLE, f"{path}: {error.strerror or error}") from None
