"""TLS within TLS: to a server, through a proxy that is reached by TLS itself."""

import io
import ssl
from collections.abc import Callable
from typing import TypeVar, cast

T = TypeVar("T")

_CHUNK = 64 << 10


class NestedTls(io.RawIOBase):
    """Of a socket as much as `http.client` wants, over another one that speaks TLS already.

    `ssl` secures sockets of the kernel only; this one moves the records by itself.
    """

    def __init__(self, outer: ssl.SSLSocket, context: ssl.SSLContext, host: str) -> None:
        """Shakes hands. Raises OSError."""
        self._outer = outer
        self._readers = 0
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._carry(self._tls.do_handshake)

    def sendall(self, data: bytes) -> None:
        """As of a socket. Raises OSError."""
        view = memoryview(data)
        while view:
            view = view[self._carry(lambda part=view[:_CHUNK]: self._tls.write(part)) :]  # type: ignore[misc]

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What comes, as a file; closing it, or this, leaves the other as it is."""
        self._readers += 1
        return io.BufferedReader(_Reader(self))

    def receive_into(self, buffer: memoryview) -> int:
        """As `recv_into` of a socket. Raises OSError."""
        try:
            into = cast("bytearray", buffer)
            return self._carry(lambda: cast("int", self._tls.read(len(buffer), into)))
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return 0  # by its Content-Length it is known whether that is the end

    def settimeout(self, seconds: float | None) -> None:
        """As of a socket."""
        self._outer.settimeout(seconds)

    def fileno(self) -> int:
        """That of the connection."""
        return self._outer.fileno()

    def close(self) -> None:
        """Close the connection, when nobody reads from it any more."""
        super().close()
        self._close_unread()

    def reader_closed(self) -> None:
        """One of `makefile` is not read any more."""
        self._readers -= 1
        self._close_unread()

    def _close_unread(self) -> None:
        if self.closed and not self._readers:
            self._outer.close()

    def _carry(self, step: Callable[[], T]) -> T:
        """Do a step of TLS, and bring records to and fro until it is done."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush()
                if data := self._outer.recv(_CHUNK):
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
                continue
            self._flush()
            return result

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._outer.sendall(data)


class _Reader(io.RawIOBase):
    def __init__(self, tls: NestedTls) -> None:
        self._tls = tls

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        return self._tls.receive_into(memoryview(cast("bytearray", buffer)).cast("B"))

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._tls.reader_closed()
