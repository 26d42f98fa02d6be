"""One HTTP/1.1 response as a state machine: bytes in, head and body out, no I/O (RFC 9112)."""

from __future__ import annotations

from wherry.client.errors import ProtocolError

MAX_HEAD = 1 << 16
MAX_LINE = 1 << 12

_HEAD, _SIZED, _CHUNK_SIZE, _CHUNK, _CHUNK_END, _TRAILER, _UNTIL_CLOSE, _DONE = range(8)


class ResponseParser:
    """Feed it what arrived; it knows the `status`, the `headers` (names in lower case), the body.

    `head_complete` and `done` tell how far it is. After a 101 the bytes of the upgraded stream
    come out as the body until the connection ends. Informational answers (1xx) are skipped.
    Raises `ProtocolError` for anything that is not HTTP/1.x, a head beyond 64 KiB, or an end of
    the connection within the head or within a body of known length.
    """

    __slots__ = (
        "_buffer",
        "_left",
        "_method",
        "_position",
        "_state",
        "headers",
        "reusable",
        "status",
    )

    def __init__(self, method: str = "GET") -> None:
        self._method = method
        self._buffer = b""
        self._position = 0
        self._state = _HEAD
        self._left = 0
        self.status = 0
        self.headers: dict[str, str] = {}
        self.reusable = True

    @property
    def head_complete(self) -> bool:
        """Whether status and headers have arrived."""
        return self._state != _HEAD

    @property
    def done(self) -> bool:
        """Whether the whole answer has arrived."""
        return self._state == _DONE

    @property
    def started(self) -> bool:
        """Whether any byte of the answer has arrived."""
        return self._state != _HEAD or bool(self._buffer)

    def feed(self, data: bytes) -> bytes:
        """Takes what arrived, in any portions; returns what of the body it completes."""
        self._buffer = self._buffer + data if self._buffer else data
        body: list[bytes] = []
        while self._advance(body):
            pass
        self._buffer = self._buffer[self._position :]
        self._position = 0
        return body[0] if len(body) == 1 else b"".join(body)

    def feed_eof(self) -> None:
        """The connection ended. Raises `ProtocolError` when something was still to come."""
        if self._state == _UNTIL_CLOSE:
            self._state = _DONE
        elif self._state != _DONE:
            raise ProtocolError("the engine went away in the middle of an answer")

    def _advance(self, body: list[bytes]) -> bool:
        """One step; False when more bytes are needed or the response is complete."""
        state = self._state
        if state == _HEAD:
            return self._take_head()
        if state in (_SIZED, _CHUNK):
            return self._take_counted(body)
        if state == _UNTIL_CLOSE:
            if self._position < len(self._buffer):
                body.append(self._buffer[self._position :])
                self._position = len(self._buffer)
            return False
        if state == _DONE:
            if self._position < len(self._buffer):
                self.reusable = False
            return False
        return self._take_chunk_line()

    def _take_head(self) -> bool:
        start = self._position
        end = self._buffer.find(b"\r\n\r\n", start)
        if (end if end >= 0 else len(self._buffer)) - start > MAX_HEAD:
            raise ProtocolError("the head of the answer is too long")
        if not b"HTTP/1.".startswith(self._buffer[start : start + 7]):
            raise ProtocolError("the answer is not HTTP: is this the address of a daemon?")
        if end < 0:
            return False
        lines = self._buffer[start:end].decode("latin-1").split("\r\n")
        self._position = end + 4
        version, _, rest = lines[0].partition(" ")
        code = rest[:3]
        if not version.startswith("HTTP/1.") or len(code) < 3 or not code.isdecimal():
            raise ProtocolError("the answer is not HTTP: is this the address of a daemon?")
        self.status = int(code)
        self.headers = headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise ProtocolError(f"a header line without a colon: {line[:60]!r}")
            headers[name.lower()] = value.strip(" \t")
        if 100 <= self.status < 200 and self.status != 101:
            return True
        connection = headers.get("connection", "").lower()
        self.reusable = "close" not in connection and version != "HTTP/1.0"
        self._choose_body()
        return True

    def _choose_body(self) -> None:
        """How the body ends (RFC 9112, section 6.3)."""
        headers = self.headers
        if self.status == 101:
            self._state = _UNTIL_CLOSE
        elif self._method == "HEAD" or self.status in (204, 304):
            self._state = _DONE
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            self._state = _CHUNK_SIZE
        elif "content-length" in headers:
            length = headers["content-length"]
            if not (length.isascii() and length.isdecimal()) or len(length) > 18:
                raise ProtocolError(f"a content length that is no number: {length[:40]!r}")
            self._left = int(length)
            self._state = _SIZED if self._left else _DONE
        else:
            self._state = _UNTIL_CLOSE
        if self._state == _UNTIL_CLOSE:
            self.reusable = False

    def _take_counted(self, body: list[bytes]) -> bool:
        portion = self._buffer[self._position : self._position + self._left]
        if not portion:
            return False
        self._position += len(portion)
        self._left -= len(portion)
        body.append(portion)
        if not self._left:
            self._state = _CHUNK_END if self._state == _CHUNK else _DONE
        return True

    def _take_chunk_line(self) -> bool:
        """The line before a chunk, behind it, or of the trailer (RFC 9112, section 7.1)."""
        start = self._position
        end = self._buffer.find(b"\r\n", start)
        if (end if end >= 0 else len(self._buffer)) - start > MAX_LINE:
            raise ProtocolError("a chunk of the answer has no size")
        if end < 0:
            return False
        line = self._buffer[start:end]
        self._position = end + 2
        if self._state == _CHUNK_END:
            if line:
                raise ProtocolError("a chunk of the answer is longer than its size")
            self._state = _CHUNK_SIZE
        elif self._state == _TRAILER:
            if not line:
                self._state = _DONE
        else:
            digits = line.partition(b";")[0].strip()
            if not digits or len(digits) > 15 or digits.strip(b"0123456789abcdefABCDEF"):
                raise ProtocolError("a chunk of the answer has no size")
            self._left = int(digits, 16)
            self._state = _CHUNK if self._left else _TRAILER
        return True
