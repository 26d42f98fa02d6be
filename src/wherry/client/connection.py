"""One HTTP connection to a daemon: requests out, responses in, one after the other."""

from __future__ import annotations

import _socket
import os
import select

from wherry.client import json
from wherry.client.errors import ClientError, DaemonError, DaemonUnreachable, ProtocolError
from wherry.client.http import ResponseParser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from wherry.client.address import Address

_PORTION = 1 << 16
MAX_DOCUMENT = 1 << 28
"""The most bytes of a JSON answer that are kept in memory."""


class ConnectionLost(DaemonUnreachable):
    """The connection broke before any byte of the answer: the request may never have arrived."""


def open_socket(address: Address) -> _socket.socket:
    """A connected socket. Raises OSError as connect(2) does."""
    if address.path:
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            sock.connect(address.path)
        except BaseException:
            sock.close()
            raise
        return sock
    failure: OSError | None = None
    for family, kind, protocol, _, target in _socket.getaddrinfo(
        address.host, address.port, 0, _socket.SOCK_STREAM
    ):
        sock = _socket.socket(family, kind | _socket.SOCK_CLOEXEC, protocol)
        try:
            sock.connect(target)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure or OSError(f"{address.host}: no such host")


class Connection:
    """A connected socket that speaks HTTP/1.1. `release` is told when it is free for the next.

    `interrupts` becomes readable with every signal (see `Client`).
    """

    def __init__(
        self,
        sock: _socket.socket,
        host: str,
        release: Callable[[Connection], None],
        interrupts: int | None = None,
    ) -> None:
        self.socket = sock
        self.used = False
        self._host = host
        self._release = release
        self._interrupts = interrupts

    @property
    def stale(self) -> bool:
        """Whether the daemon has closed it, or spoken out of turn, while it lay idle."""
        poll = select.poll()
        poll.register(self.socket.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def send(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] = b"",
        headers: tuple[str, ...] = (),
    ) -> None:
        """Sends a request; a body that is not bytes goes out in chunks as it is produced.

        When the daemon stops listening within such a body it has something to say: its answer
        is then read as usual.
        """
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}", *headers]
        streamed = not isinstance(body, bytes)
        if streamed:
            lines.append("Transfer-Encoding: chunked")
        elif body or method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(body)}")  # type: ignore[arg-type]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode()
        if isinstance(body, bytes):
            self.write(head + body)
            return
        self.write(head)
        for portion in body:
            if portion:
                try:
                    self._send(b"%x\r\n%b\r\n" % (len(portion), portion))
                except OSError:
                    return
        self.write(b"0\r\n\r\n")

    def write(self, data: bytes) -> None:
        """Sends bytes as they are. Raises `ConnectionLost`."""
        try:
            self._send(data)
        except OSError as error:
            raise ConnectionLost(f"the engine went away: {error.strerror}") from error

    def _send(self, data: bytes) -> None:
        self.socket.sendall(data, _socket.MSG_NOSIGNAL)

    def receive(self) -> bytes:
        """What arrived next; empty at the end. A broken connection is an end, too."""
        if self._interrupts is not None:
            self._await_bytes(self._interrupts)
        try:
            return self.socket.recv(_PORTION)
        except OSError:
            return b""

    def _await_bytes(self, interrupts: int) -> None:
        """Waits until there is something to read; signals' handlers run meanwhile.

        recv(2) alone loses a signal that comes after the interpreter has last looked for one and
        before the call has begun: its handler would run when the next byte arrives.
        """
        poll = select.poll()
        poll.register(self.socket.fileno(), select.POLLIN)
        poll.register(interrupts, select.POLLIN)
        while (interrupts, select.POLLIN) in poll.poll():
            os.read(interrupts, _PORTION)

    def response(self, method: str) -> Response:
        """Waits for the head of the next response. Raises `ConnectionLost`, `ProtocolError`."""
        parser = ResponseParser(method)
        body = b""
        while not parser.head_complete:
            data = self.receive()
            if not data:
                if not parser.started:
                    raise ConnectionLost("the engine closed the connection without an answer")
                parser.feed_eof()
            body = parser.feed(data)
        self.used = True
        return Response(self, parser, body)

    def finished(self, parser: ResponseParser) -> None:
        """The response has been read: the connection goes back to its client, or is closed."""
        if parser.reusable:
            self._release(self)
        else:
            self.close()

    def close(self) -> None:
        """Closes the socket; whatever was under way is lost."""
        self.socket.close()


class Response:
    """The head has arrived (`status`, `headers`), the body is read as it comes, once."""

    def __init__(self, connection: Connection, parser: ResponseParser, body: bytes) -> None:
        self.connection = connection
        self.status = parser.status
        self.headers = parser.headers
        self._parser = parser
        self._body = body
        if parser.done:
            connection.finished(parser)

    def __iter__(self) -> Iterator[bytes]:
        """The body in portions, each as soon as it is here."""
        while True:
            portion = self.next_portion()
            if portion:
                yield portion
            elif self._parser.done:
                return

    def next_portion(self) -> bytes:
        """One read from the daemon; empty also while only parts of a chunk's head arrived."""
        if self._body:
            body, self._body = self._body, b""
            return body
        if self._parser.done:
            return b""
        data = self.connection.receive()
        if data:
            body = self._parser.feed(data)
        else:
            body = b""
            self._parser.feed_eof()
        if self._parser.done:
            self.connection.finished(self._parser)
        return body

    def early(self) -> bytes:
        """What of the body arrived together with the head."""
        body, self._body = self._body, b""
        return body

    @property
    def ended(self) -> bool:
        """Whether the whole body has been handed out."""
        return self._parser.done and not self._body

    def read(self) -> bytes:
        """The whole rest of the body. Raises `ProtocolError` beyond 256 MiB."""
        portions: list[bytes] = []
        size = 0
        for portion in self:
            size += len(portion)
            if size > MAX_DOCUMENT:
                self.connection.close()
                raise ProtocolError("the answer of the engine is too long")
            portions.append(portion)
        return b"".join(portions)

    def json(self) -> Any:
        """The body as a JSON document; None when it is empty."""
        body = self.read()
        try:
            return json.decode(body) if body.strip() else None
        except json.InvalidJSON as error:
            raise ProtocolError(f"the answer of the engine is {error}") from error

    def lines(self) -> Iterator[Any]:
        """The JSON documents of a stream of lines (build, events, load), each when it arrives."""
        rest = b""
        for portion in self:
            *complete, rest = (rest + portion).split(b"\n")
            if len(rest) > MAX_DOCUMENT:
                raise ProtocolError("the answer of the engine is too long")
            yield from map(self._document, filter(bytes.strip, complete))
        if rest.strip():
            yield self._document(rest)

    @staticmethod
    def _document(line: bytes) -> Any:
        try:
            return json.decode(line)
        except json.InvalidJSON as error:
            raise ProtocolError(f"the answer of the engine is {error}") from error

    def error(self) -> ClientError:
        """The refusal this response is, as an exception."""
        body = self.read()
        message = body.decode(errors="replace").strip()
        exit_code = None
        try:
            document = json.decode(body)
        except json.InvalidJSON:
            pass
        else:
            if isinstance(document, dict):
                message = str(document.get("message", message))
                code = document.get("exitCode")
                exit_code = code if isinstance(code, int) else None
        return DaemonError(self.status, message or f"HTTP status {self.status}", exit_code)
