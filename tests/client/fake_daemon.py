"""A daemon of a few lines for protocol tests: HTTP over a unix socket, answers by a function."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    """What a client asked for."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """A status and a body; an iterable body goes out in chunks, each as it is produced."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)


def json_answer(document: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


Conversation = Callable[[socket.socket], None]
"""What a hijacked connection is handed to."""

Handler = Callable[[Request], Answer | Conversation]


class FakeDaemon:
    """Serves on `socket_path` as long as the context lasts and keeps what it was asked."""

    def __init__(self, folder: Path, handler: Handler) -> None:
        self.socket_path = folder / "docker.sock"
        self.requests: list[Request] = []
        self.connections = 0
        self._handler = handler
        self._listener = socket.socket(socket.AF_UNIX)
        self._open: list[socket.socket] = []

    @property
    def host(self) -> str:
        return f"unix://{self.socket_path}"

    def __enter__(self) -> "FakeDaemon":
        self._listener.bind(str(self.socket_path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for sock in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def open_sockets(self) -> list[socket.socket]:
        return list(self._open)

    def paths(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.requests]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, sock.makefile("rb") as file, contextlib.suppress(OSError, ValueError):
            while line := file.readline():
                request = _read_request(line.decode(), file)
                self.requests.append(request)
                answer = self._handler(request)
                if not isinstance(answer, Answer):
                    sock.sendall(
                        b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
                    )
                    answer(sock)
                    sock.shutdown(socket.SHUT_RDWR)
                    return
                _send(sock, request.method, answer)


def _read_request(line: str, file: Any) -> Request:
    method, target, _ = line.split()
    headers = {}
    while (header := file.readline().decode().strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(file.readline(), 16):
            body += file.read(size)
            file.readline()
        file.readline()
    elif "content-length" in headers:
        body = file.read(int(headers["content-length"]))
    parts = urlsplit(target)
    return Request(method, parts.path, parse_qs(parts.query), headers, body)


def _send(sock: socket.socket, method: str, answer: Answer) -> None:
    lines = [f"HTTP/1.1 {answer.status} X", *(f"{k}: {v}" for k, v in answer.headers.items())]
    streamed = not isinstance(answer.body, bytes)
    if streamed:
        lines.append("Transfer-Encoding: chunked")
    elif answer.status != 204:
        assert isinstance(answer.body, bytes)
        lines.append(f"Content-Length: {len(answer.body)}")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode()
    if isinstance(answer.body, bytes):
        sock.sendall(head + (b"" if method == "HEAD" else answer.body))
        return
    sock.sendall(head)
    for portion in answer.body:
        sock.sendall(b"%x\r\n%b\r\n" % (len(portion), portion))
    sock.sendall(b"0\r\n\r\n")


def frame(stream: int, payload: bytes) -> bytes:
    """One frame of Docker's multiplexed stream."""
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload
