"""Both sides of a ttrpc connection as state machines without I/O."""

from collections.abc import Iterator
from typing import NamedTuple

from wherry.shim.protobuf import InvalidMessage, Message, data, embedded, sint, string
from wherry.shim.ttrpc.frames import (
    DATA,
    MAX_DATA,
    REMOTE_OPEN,
    REQUEST,
    RESPONSE,
    FrameDecoder,
    encode_frame,
)
from wherry.shim.ttrpc.status import CallError, Code, Status


class _Request(Message):
    service: str = string(1)
    method: str = string(2)
    payload: bytes = data(3)
    timeout: int = sint(4)


class _Response(Message):
    status: Status | None = embedded(1, Status)
    payload: bytes = data(2)


class Call(NamedTuple):
    """A request that reached the server. `timeout` is in nanoseconds, 0 for none."""

    stream: int
    service: str
    method: str
    payload: bytes
    timeout: int


class Reply(NamedTuple):
    """What a call of the client came to: `payload`, or `error`."""

    stream: int
    payload: bytes
    error: CallError | None


class ServerConnection:
    """The side that accepted the connection."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder()
        self._latest = 0

    def receive(self, data: bytes) -> Iterator[Call | bytes]:
        """What `data` brings: calls to answer, and bytes to send where one was malformed."""
        for frame in self._decoder.feed(data):
            stream = frame.stream
            if frame.data is None:
                reason = f"a message longer than ttrpc's {MAX_DATA} bytes"
                yield self.fail(stream, CallError(Code.RESOURCE_EXHAUSTED, reason))
            elif frame.type == DATA:
                yield self._reject(stream, "no stream of this number is open")
            elif frame.type != REQUEST:
                continue
            elif stream % 2 == 0:
                yield self._reject(stream, "streams of a client have odd numbers")
            elif stream <= self._latest:
                yield self._reject(stream, "stream numbers must grow")
            else:
                self._latest = stream
                if frame.flags & REMOTE_OPEN:
                    reason = "streaming calls are not served"
                    yield self.fail(stream, CallError(Code.UNIMPLEMENTED, reason))
                    continue
                try:
                    request = _Request.decode(frame.data)
                except InvalidMessage as error:
                    yield self._reject(stream, f"the request is malformed: {error}")
                    continue
                yield Call(
                    stream, request.service, request.method, request.payload, request.timeout
                )

    def answer(self, stream: int, payload: bytes) -> bytes:
        """The bytes that answer a call."""
        if len(payload) > MAX_DATA - 64:
            reason = f"an answer of {len(payload)} bytes, more than ttrpc can carry"
            return self.fail(stream, CallError(Code.RESOURCE_EXHAUSTED, reason))
        # containerd 1.6 takes an answer without a status for an error.
        return encode_frame(stream, RESPONSE, _Response(status=Status(), payload=payload).encode())

    def fail(self, stream: int, error: CallError) -> bytes:
        """The bytes that end a call with an error."""
        status = Status(code=int(error.code), message=error.message[:4096])
        return encode_frame(stream, RESPONSE, _Response(status=status).encode())

    def _reject(self, stream: int, reason: str) -> bytes:
        return self.fail(stream, CallError(Code.INVALID_ARGUMENT, reason))


class ClientConnection:
    """The side that made the connection."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder()
        self._next = 1

    def call(
        self, service: str, method: str, payload: bytes, timeout: int = 0
    ) -> tuple[int, bytes]:
        """A new call: its stream number and the bytes to send. `timeout` is in nanoseconds."""
        stream = self._next
        self._next += 2
        request = _Request(service=service, method=method, payload=payload, timeout=timeout)
        return stream, encode_frame(stream, REQUEST, request.encode())

    def receive(self, data: bytes) -> Iterator[Reply]:
        """The replies that `data` completes."""
        for frame in self._decoder.feed(data):
            if frame.data is None:
                reason = "the answer is longer than ttrpc can carry"
                yield Reply(frame.stream, b"", CallError(Code.RESOURCE_EXHAUSTED, reason))
            elif frame.type == RESPONSE:
                yield self._reply(frame.stream, frame.data)

    @staticmethod
    def _reply(stream: int, data: bytes) -> Reply:
        try:
            response = _Response.decode(data)
        except InvalidMessage as error:
            reason = f"the answer is malformed: {error}"
            return Reply(stream, b"", CallError(Code.INTERNAL, reason))
        status = response.status
        if status is not None and status.code != Code.OK:
            known = status.code in Code._value2member_map_
            code = Code(status.code) if known else Code.UNKNOWN
            return Reply(stream, b"", CallError(code, status.message))
        return Reply(stream, response.payload, None)
