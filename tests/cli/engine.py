"""The command line in this process, against a daemon of a few lines that plays an engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from tests.client.fake_daemon import Answer, Request, frame, json_answer

ID = "0123456789ab" + "c" * 52


class Guest:
    """What the one container of the fake engine does when it is started."""

    def __init__(self, output: bytes = b"", code: int = 0, *, tty: bool = False) -> None:
        self.output = output
        self.code = code
        self.tty = tty
        self.waits_for_input = False
        self.waits_for_signal = False
        self.input = b""
        self.is_let: threading.Event | None = None
        """When it may start, if not at once."""
        self.started = threading.Event()
        self.signalled = threading.Event()
        self.ended = threading.Event()


class Engine:
    """Answers the calls of `run`, `start` and `attach`; other paths come from `documents`."""

    def __init__(self, guest: Guest | None = None) -> None:
        self.guest = guest or Guest()
        self.documents: dict[str, Any] = {}
        self.refusals: dict[str, tuple[int, str]] = {}

    def __call__(self, request: Request) -> Answer | Callable[[Any], None]:
        key = f"{request.method} {request.path}"
        if key in self.refusals:
            status, message = self.refusals[key]
            return json_answer({"message": message}, status)
        if key in self.documents:
            document = self.documents[key]
            return document if isinstance(document, Answer) else json_answer(document)
        if key == "POST /containers/create":
            return json_answer({"Id": ID, "Warnings": []}, 201)
        action = request.path.rpartition("/")[2]
        found = getattr(self, f"_{action}", None)
        if request.path.startswith(f"/containers/{ID}/") and found:
            answer: Answer | Callable[[Any], None] = found(request)
            return answer
        return json_answer({"message": f"No such thing: {request.path}"}, 404)

    def _start(self, _: Request) -> Answer:
        if self.guest.is_let is not None:
            self.guest.is_let.wait(60)
        self.guest.started.set()
        return Answer(204)

    def _resize(self, _: Request) -> Answer:
        return Answer(200)

    def _kill(self, _: Request) -> Answer:
        self.guest.signalled.set()
        return Answer(204)

    def _wait(self, _: Request) -> Answer:
        def body() -> Iterator[bytes]:
            yield b" "
            self.guest.ended.wait(60)
            yield b'{"StatusCode":%d}' % self.guest.code

        return Answer(200, body())

    def _attach(self, _: Request) -> Callable[[Any], None]:
        guest = self.guest

        def stream(sock: Any) -> None:
            guest.started.wait(60)
            sock.sendall(guest.output if guest.tty else frame(1, guest.output))
            if guest.waits_for_input:
                while data := sock.recv(4096):
                    guest.input += data
            if guest.waits_for_signal:
                guest.signalled.wait(60)
            if not guest.tty:
                sock.sendall(frame(2, b"done\n"))
            guest.ended.set()

        return stream
