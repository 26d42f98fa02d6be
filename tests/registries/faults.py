"""A proxy before a registry that cuts, lies, stalls and redirects, as a list of rules says.

The first rule that fits a request is used, as often as it says; what no rule is for passes
unchanged. Every request is remembered with its headers in `Faults.seen`.
"""

from __future__ import annotations

import http.client
import re
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Protocol

_HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True)
class Answer:
    """Answer so instead of asking the registry. An endless `body` ends when the client goes."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""


@dataclass(frozen=True)
class Garbage:
    """Send these bytes instead of an answer, and close."""

    data: bytes


@dataclass(frozen=True)
class CutAnswer:
    """Close the connection after `after` bytes of the answer's body; None cuts before its head.

    `reset` closes it with a RST.
    """

    after: int | None
    reset: bool = False


@dataclass(frozen=True)
class CutRequest:
    """Close the connection when `after` bytes of the request's body were passed on."""

    after: int


@dataclass(frozen=True)
class ChangeAnswer:
    """Pass the answer on with other headers (None removes one), status or body."""

    headers: Mapping[str, str | None] = field(default_factory=dict)
    status: int = 0
    body: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True)
class Redirect:
    """Send the client to `to` + the path it asked for, or to exactly `to`."""

    to: str
    exactly: bool = False
    status: int = 307


@dataclass
class Hold:
    """Let the request wait until `released`; `reached` is set when it came."""

    reached: Event = field(default_factory=Event)
    released: Event = field(default_factory=Event)


class Registry(Protocol):
    """What a proxy can stand before."""

    host: str
    port: int


Fault = Answer | Garbage | CutAnswer | CutRequest | ChangeAnswer | Redirect | Hold


@dataclass
class Seen:
    """A request that came to the proxy."""

    method: str
    path: str
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes = b""
    """Of requests that the proxy answered itself."""


@dataclass
class _Rule:
    method: re.Pattern[str]
    path: re.Pattern[str]
    fault: Fault
    times: int
    skip: int


class Faults:
    """A plain HTTP server on a loopback port before a registry. `name` is as the registry's.

    Without a registry, every request that no rule is for is answered with 404.
    """

    def __init__(self, registry: Registry | None = None) -> None:
        self._registry = registry
        self._rules: list[_Rule] = []
        self._lock = Lock()
        self.seen: list[Seen] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = 1 << 16

            def log_message(self, *_: object) -> None:
                pass

            def __getattr__(self, name: str) -> Callable[[], None]:
                if not name.startswith("do_"):
                    raise AttributeError(name)
                return lambda: proxy._serve(self)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # clients that vanish, and connections that rules have cut

        self._server = Server(("127.0.0.1", 0), Handler)

    @property
    def name(self) -> str:
        """What names of images begin with: `127.0.0.1:PORT`."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.name}"

    def add(self, method: str, path: str, fault: Fault, *, times: int = 1, skip: int = 0) -> None:
        """Use `fault` for the next `times` requests of a method and path (regular expressions).

        The first `skip` that fit pass unharmed. `path` is searched in path and query.
        """
        with self._lock:
            self._rules.append(_Rule(re.compile(method), re.compile(path), fault, times, skip))

    def clear(self) -> None:
        """Forget all rules and what was seen."""
        with self._lock:
            self._rules.clear()
            self.seen.clear()

    def requests(self, method: str = "", path: str = "") -> list[Seen]:
        """What was seen, of a method and path (regular expressions)."""
        with self._lock:
            return [s for s in self.seen if re.search(method, s.method) and re.search(path, s.path)]

    def __enter__(self) -> Faults:
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        return self

    def __exit__(self, *_: object) -> None:
        for rule in self._rules:
            if isinstance(rule.fault, Hold):
                rule.fault.released.set()
        self._server.shutdown()
        self._server.server_close()

    def _fault(self, seen: Seen) -> Fault | None:
        with self._lock:
            self.seen.append(seen)
            for rule in self._rules:
                if not rule.method.fullmatch(seen.method) or not rule.path.search(seen.path):
                    continue
                if rule.skip:
                    rule.skip -= 1
                    return None
                if rule.times:
                    rule.times -= 1
                    return rule.fault
        return None

    def _serve(self, client: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in client.headers.items()}
        seen = Seen(client.command, client.path, headers)
        fault = self._fault(seen)
        if isinstance(fault, Hold):
            fault.reached.set()
            fault.released.wait()
        match fault:
            case Answer():
                seen.body = b"".join(self._body(client))
                self._reply(client, fault)
            case Garbage():
                self._drain(client)
                client.wfile.write(fault.data)
                client.close_connection = True
            case Redirect():
                self._drain(client)
                to = fault.to if fault.exactly else fault.to + client.path
                self._reply(client, Answer(fault.status, {"Location": to}))
            case _:
                self._pass(client, fault)

    @staticmethod
    def _body(client: BaseHTTPRequestHandler) -> Iterable[bytes]:
        if client.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(client.rfile.readline(), 16):
                yield client.rfile.read(size)
                client.rfile.readline()
            client.rfile.readline()
            return
        left = int(client.headers.get("Content-Length", "0"))
        while left and (data := client.rfile.read(min(left, 1 << 16))):
            left -= len(data)
            yield data

    def _drain(self, client: BaseHTTPRequestHandler) -> None:
        for _ in self._body(client):
            pass

    def _reply(self, client: BaseHTTPRequestHandler, answer: Answer) -> None:
        client.send_response_only(answer.status)
        for name, value in answer.headers.items():
            client.send_header(name, value)
        sized = isinstance(answer.body, bytes)
        if sized and "Content-Length" not in answer.headers:
            client.send_header("Content-Length", str(len(answer.body)))  # type: ignore[arg-type]
        if not sized:
            client.send_header("Connection", "close")  # which the handler heeds as well
        client.end_headers()
        if client.command != "HEAD":
            for piece in [answer.body] if isinstance(answer.body, bytes) else answer.body:
                client.wfile.write(piece)
                client.wfile.flush()

    def _pass(self, client: BaseHTTPRequestHandler, fault: Fault | None) -> None:
        if self._registry is None:
            self._drain(client)
            self._reply(client, Answer(404))
            return
        upstream = http.client.HTTPConnection(self._registry.host, self._registry.port)
        try:
            upstream.connect()
            upstream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            upstream.putrequest(
                client.command, client.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in client.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders()
            limit = fault.after if isinstance(fault, CutRequest) else None
            if not self._pass_body(client, upstream, limit):
                self._cut(client)
                return
            with upstream.getresponse() as answer:
                self._pass_answer(client, answer, fault)
        finally:
            upstream.close()

    def _pass_body(
        self,
        client: BaseHTTPRequestHandler,
        upstream: http.client.HTTPConnection,
        limit: int | None,
    ) -> bool:
        """Pass the request's body on; False when the connection is to be cut at `limit`."""
        chunked = client.headers.get("Transfer-Encoding", "").lower() == "chunked"
        passed = 0
        for data in self._body(client):
            part = data if limit is None else data[: limit - passed]
            passed += len(part)
            if part:
                upstream.send(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
            if limit is not None and passed >= limit:
                return False
        if chunked:
            upstream.send(b"0\r\n\r\n")
        return True

    def _pass_answer(
        self,
        client: BaseHTTPRequestHandler,
        answer: http.client.HTTPResponse,
        fault: Fault | None,
    ) -> None:
        if isinstance(fault, CutAnswer) and fault.after is None:
            self._cut(client, fault.reset)
            return
        headers: dict[str, str | None] = {
            name: value for name, value in answer.headers.items() if name.lower() not in _HOP
        }
        status = answer.status
        pieces: Iterable[bytes] = iter(lambda: answer.read(1 << 16), b"")
        if isinstance(fault, ChangeAnswer):
            status = fault.status or status
            if fault.body is not None:
                whole = fault.body(answer.read())
                headers["Content-Length"] = str(len(whole))
                pieces = [whole]
            changed = {name.lower() for name in fault.headers}
            headers = {n: v for n, v in headers.items() if n.lower() not in changed}
            headers.update(fault.headers)
        client.send_response_only(status)
        for name, value in headers.items():
            if value is not None:
                client.send_header(name, value)
        unbounded = "content-length" not in {name.lower() for name in headers}
        if unbounded and status not in (204, 304):
            client.send_header("Connection", "close")  # which the handler heeds as well
        client.end_headers()
        if client.command == "HEAD":
            return
        left = fault.after if isinstance(fault, CutAnswer) else None
        for piece in pieces:
            client.wfile.write(piece if left is None else piece[:left])
            if left is not None:
                left -= len(piece)
                if left <= 0:
                    assert isinstance(fault, CutAnswer)
                    self._cut(client, fault.reset)
                    return
        client.wfile.flush()

    @staticmethod
    def _cut(client: BaseHTTPRequestHandler, reset: bool = False) -> None:
        client.wfile.flush()
        client.close_connection = True
        if reset:
            linger = struct.pack("ii", 1, 0)
            client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.connection.close()
            return
        client.connection.shutdown(socket.SHUT_RDWR)
