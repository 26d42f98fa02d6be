"""Exec over the API: JSON, then a connection that leaves HTTP behind. The engine is made up."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from tests.api.conftest import Api
from tests.api.test_attach import Program

from wherry.engine import Conflict, NotFound, StartFailed
from wherry.engine.exec_config import ExecConfig

_UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n"


class Session(Program):
    """A program that answers in capitals; tells how its client left it."""

    def __init__(self) -> None:
        super().__init__()
        self.left = ""
        self.gone = asyncio.Event()

    def detach(self) -> None:
        self.left = "detached"

    def close(self) -> None:  # type: ignore[override]
        self.left = self.left or "closed"
        self.gone.set()


class Execs:
    """One exec, `x`."""

    def __init__(self, api: Api, *, tty: bool = False) -> None:
        self.session = Session()
        self.config = ExecConfig(tty=tty, attach_stdout=True, attach_stderr=True)
        self.failure: Exception | None = None
        self.started: dict[str, Any] = {}
        self.made: ExecConfig | None = None
        api.has(containers=SimpleNamespace(get=lambda name: name, execs=self))

    def get(self, id: str) -> object:
        if id != "x":
            raise NotFound(f"No such exec instance: {id}")
        return SimpleNamespace(config=self.config)

    def create(self, container: str, config: ExecConfig) -> object:
        if container == "still":
            raise Conflict("Container still is not running")
        self.made = config
        return SimpleNamespace(id="x")

    async def resize(self, exec: object, height: int, width: int) -> None:
        raise Conflict("exec command x is not running")

    async def start(self, exec: object, **wanted: Any) -> Session:
        if self.failure is not None:
            raise self.failure
        self.started = wanted
        return self.session


async def _start(
    api: Api, body: dict[str, Any], headers: str = _UPGRADE
) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await api.connect()
    text = json.dumps(body).encode()
    writer.write(
        f"POST /v1.45/exec/x/start HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n"
        f"{headers}Content-Length: {len(text)}\r\n\r\n".encode()
        + text
    )
    return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60), reader, writer


async def test_create_answers_an_id(api: Api) -> None:
    execs = Execs(api)
    body = b'{"Cmd":["/tool.wasm","a"],"AttachStdout":true,"Tty":true}'
    status, _, answer = await api.ask("POST", "/containers/c/exec", body)
    assert (status, json.loads(answer)) == (201, {"Id": "x"})
    assert execs.made is not None and execs.made.cmd == ["/tool.wasm", "a"]


@pytest.mark.parametrize(
    ("target", "body", "status"),
    [
        ("/containers/c/exec", b"{}", 400),
        ("/containers/c/exec", b"[1", 400),
        ("/containers/c/exec", b'{"Cmd":["/a"],"DetachKeys":"ctrl-"}', 400),
        ("/containers/still/exec", b'{"Cmd":["/a"]}', 409),
        ("/exec/y/start", b"{}", 404),
        ("/exec/y/resize?h=1&w=1", b"", 404),
        ("/exec/x/resize?h=1&w=1", b"", 409),
        ("/exec/x/start", b'{"Detach":1}', 400),
        ("/exec/x/start", b'{"ConsoleSize":[1,2]}', 400),
        ("/exec/..%2f..%2fx/start", b"{}", 404),
    ],
)
async def test_what_makes_no_sense_is_refused(
    api: Api, target: str, body: bytes, status: int
) -> None:
    Execs(api)
    answered, _, answer = await api.ask("POST", target, body)
    assert answered == status
    assert json.loads(answer)["message"]


async def test_streams_are_told_apart_unless_there_is_a_terminal(api: Api) -> None:
    execs = Execs(api)
    head, reader, writer = await _start(api, {"Tty": False})
    assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n")
    assert b"application/vnd.docker.multiplexed-stream" in head
    writer.write(b"ho")
    assert await reader.readexactly(10) == b"\1\0\0\0\0\0\0\2HO"
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 60) == b"\2\0\0\0\0\0\0\3bye"
    await asyncio.wait_for(execs.session.gone.wait(), 60)
    writer.close()


async def test_without_upgrade_and_with_a_terminal_it_is_raw(api: Api) -> None:
    execs = Execs(api, tty=True)
    head, reader, writer = await _start(api, {"Tty": True, "ConsoleSize": [24, 80]}, "")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    writer.write(b"ho")
    assert await reader.readexactly(2) == b"HO"
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 60) == b"bye"
    assert execs.started == {"attached": True, "size": (24, 80)}
    writer.close()


async def test_detached_there_is_only_an_answer(api: Api) -> None:
    execs = Execs(api)
    status, _, body = await api.ask("POST", "/exec/x/start", b'{"Detach":true}')
    assert (status, body) == (200, b"")
    assert execs.started == {"attached": False, "size": None}


async def test_what_cannot_start_is_told_in_the_stream(api: Api) -> None:
    execs = Execs(api)
    execs.failure = StartFailed("OCI runtime exec failed: /x: no such file or directory", 127)
    _, reader, writer = await _start(api, {})
    told = await asyncio.wait_for(reader.read(), 60)
    assert told[0] == 2
    assert told[8:] == b"OCI runtime exec failed: /x: no such file or directory\r\n"
    writer.close()
    status, _, body = await api.ask("POST", "/exec/x/start", b'{"Detach":true}')
    assert (status, json.loads(body)["exitCode"]) == (400, 127)


async def test_what_may_not_start_is_told_before(api: Api) -> None:
    execs = Execs(api)
    execs.failure = Conflict("exec command x is already running")
    head, _, writer = await _start(api, {})
    assert head.startswith(b"HTTP/1.1 409 ")
    writer.close()


async def test_the_detach_keys_let_it_go(api: Api) -> None:
    execs = Execs(api, tty=True)
    execs.config.detach_keys = "ctrl-a,b"
    _, reader, writer = await _start(api, {"Tty": True})
    writer.write(b"x")
    assert await reader.readexactly(1) == b"X"
    writer.write(b"\x01b")
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 60) == b""
    await asyncio.wait_for(execs.session.gone.wait(), 60)
    assert execs.session.left == "detached"
    writer.close()


@pytest.mark.parametrize("half_closed_before", [False, True])
@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"Tty": False}, "closed"),
        ({"Tty": True}, "detached"),  # Docker's command does that on its detach keys
        ({"Tty": True, "EndWithClient": True}, "closed"),
    ],
)
async def test_a_client_that_vanishes_is_noticed_while_nothing_is_said(
    api: Api, body: dict[str, Any], left: str, half_closed_before: bool
) -> None:
    execs = Execs(api, tty=bool(body["Tty"]))
    ended = asyncio.Event()

    async def go_on() -> None:
        ended.set()

    execs.session.close_stdin = go_on  # type: ignore[method-assign]
    _, _, writer = await _start(api, body)
    if half_closed_before:
        writer.write_eof()
        await asyncio.wait_for(ended.wait(), 60)
        assert not execs.session.gone.is_set()
    writer.transport.abort()
    await asyncio.wait_for(execs.session.gone.wait(), 60)
    assert execs.session.left == left


async def test_a_client_that_vanishes_behind_unread_input_is_noticed(api: Api) -> None:
    execs = Execs(api)
    never = asyncio.Event()

    async def stuck(data: bytes) -> None:
        await never.wait()

    execs.session.write = stuck  # type: ignore[method-assign]
    _, _, writer = await _start(api, {})
    writer.write(b"x" * 2_000_000)
    writer.transport.abort()
    await asyncio.wait_for(execs.session.gone.wait(), 60)
    assert execs.session.left == "closed"
