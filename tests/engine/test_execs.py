"""Further processes in running containers, as the engine keeps them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from tests.engine.kitchen import make

from wherry.engine import Conflict, Engine, InvalidRequest, NotFound, StartFailed
from wherry.engine.containers import Container, Exec, execs
from wherry.engine.exec_config import ExecConfig, decode_exec, decode_exec_start
from wherry.shim.client import TaskClient


async def started(engine: Engine) -> Container:
    container = await make(engine, "/loop.wasm")
    await engine.containers.start(container)
    return container


def prepare(engine: Engine, container: Container, *args: str, **config: object) -> Exec:
    wanted = ExecConfig(cmd=list(args), attach_stdout=True, attach_stderr=True, **config)  # type: ignore[arg-type]
    return engine.containers.execs.create(container, wanted)


async def output(engine: Engine, exec: Exec) -> bytes:
    session = await engine.containers.execs.start(exec, attached=True)
    return b"".join([piece.data async for piece in session])


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def folders(engine: Engine, container: Container) -> list[Path]:
    folder = engine.root / "containers" / container.id / "execs"
    return list(folder.iterdir()) if folder.exists() else []


async def test_the_exit_code_is_there_when_the_output_ends(engine: Engine) -> None:
    container = await started(engine)
    exec = prepare(engine, container, "/exit.wasm", "7")
    assert (exec.inspect().running, exec.inspect().exit_code) == (False, None)
    assert await output(engine, exec) == b""
    assert (exec.inspect().running, exec.inspect().exit_code) == (False, 7)
    assert (await engine.containers.inspect(container)).exec_ids is None


async def test_it_runs_once(engine: Engine) -> None:
    container = await started(engine)
    exec = prepare(engine, container, "/loop.wasm")
    await engine.containers.execs.start(exec, attached=False)
    with pytest.raises(Conflict, match="already running"):
        await engine.containers.execs.start(exec, attached=False)
    await engine.containers.execs.kill(exec)
    await exec.ended.wait()
    assert exec.exit_code == 137
    with pytest.raises(Conflict, match="already run"):
        await engine.containers.execs.start(exec, attached=False)


async def test_two_who_start_it_at_once_start_it_once(engine: Engine) -> None:
    container = await started(engine)
    exec = prepare(engine, container, "/exit.wasm", "0")
    attempts = (engine.containers.execs.start(exec, attached=False) for _ in range(2))
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 1


async def test_nothing_stays_open_or_on_disk(engine: Engine) -> None:
    container = await started(engine)
    await output(engine, prepare(engine, container, "/environ.wasm"))
    before = descriptors()
    for _ in range(5):
        assert await output(engine, prepare(engine, container, "/environ.wasm"))
        with pytest.raises(StartFailed):
            await output(engine, prepare(engine, container, "/nothing.wasm"))
        exec = prepare(engine, container, "/echo.wasm", attach_stdin=True)
        session = await engine.containers.execs.start(exec, attached=True)
        await session.write(b"x" * 1000)
        session.close(at_once=True)
        await session.wait()
    while folders(engine, container):
        await asyncio.sleep(0)
    assert descriptors() == before


async def test_a_client_that_reads_nothing_does_not_hold_up_its_end(engine: Engine) -> None:
    container = await started(engine)
    exec = prepare(engine, container, "/echo.wasm", attach_stdin=True)
    session = await engine.containers.execs.start(exec, attached=True)
    writing = asyncio.create_task(session.write(b"x" * 1_000_000))
    await engine.containers.stop(container)
    await exec.ended.wait()
    await writing
    session.close()
    assert container.state.status == "exited"


async def test_one_that_is_cancelled_while_it_starts_leaves_nothing(engine: Engine) -> None:
    container = await started(engine)
    await output(engine, prepare(engine, container, "/exit.wasm", "0"))
    for steps in range(12):
        exec = prepare(engine, container, "/loop.wasm")
        starting = asyncio.create_task(engine.containers.execs.start(exec, attached=True))
        for _ in range(steps):
            await asyncio.sleep(0)
        starting.cancel()
        outcome = (await asyncio.gather(starting, return_exceptions=True))[0]
        if not isinstance(outcome, BaseException):
            outcome.close(at_once=True)
        if exec.started:
            await exec.ended.wait()
    while folders(engine, container):
        await asyncio.sleep(0)
    top = await engine.containers.top(container)
    assert len(top.processes) == 1


async def test_one_that_fails_leaves_nothing_though_nobody_waits_for_the_failure(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a container is stopped while a health check is about to start in it."""
    container = await started(engine)
    exec = prepare(engine, container, "/nothing.wasm")
    starting = asyncio.create_task(engine.containers.execs.start(exec, attached=True))
    forget = execs._forget_process

    async def cancelled(task: TaskClient, id: str, exec_id: str) -> None:
        starting.cancel()
        await forget(task, id, exec_id)

    monkeypatch.setattr(execs, "_forget_process", cancelled)
    with pytest.raises(asyncio.CancelledError):
        await starting
    await exec.ended.wait()
    assert folders(engine, container) == []


async def test_the_end_of_the_container_ends_what_was_only_planned(engine: Engine) -> None:
    container = await started(engine)
    exec = prepare(engine, container, "/exit.wasm", "0")
    assert (await engine.containers.inspect(container)).exec_ids == [exec.id]
    await engine.containers.stop(container)
    with pytest.raises(NotFound):
        engine.containers.execs.get(exec.id)
    assert (await engine.containers.inspect(container)).exec_ids is None
    with pytest.raises(Conflict, match="not running"):
        prepare(engine, container, "/exit.wasm")


async def test_what_has_ended_is_remembered_within_bounds(engine: Engine) -> None:
    container = await started(engine)
    ended = prepare(engine, container, "/exit.wasm", "3")
    await output(engine, ended)
    running = prepare(engine, container, "/loop.wasm")
    await engine.containers.execs.start(running, attached=False)
    assert engine.containers.execs.get(ended.id).exit_code == 3
    for _ in range(1100):
        prepare(engine, container, "/exit.wasm")
    with pytest.raises(NotFound):
        engine.containers.execs.get(ended.id)
    assert engine.containers.execs.get(running.id).running
    assert len(container.execs) <= 1025


async def test_a_paused_container_takes_none(engine: Engine) -> None:
    container = await started(engine)
    exec = prepare(engine, container, "/exit.wasm", "0")
    await engine.containers.pause(container)
    with pytest.raises(Conflict, match="paused"):
        prepare(engine, container, "/exit.wasm", "0")
    with pytest.raises(Conflict, match="paused"):
        await output(engine, exec)
    await engine.containers.unpause(container)
    await output(engine, exec)
    assert exec.exit_code == 0


async def test_a_terminal_has_the_size_it_is_told(engine: Engine) -> None:
    container = await started(engine)
    exec = prepare(engine, container, "/echo.wasm", tty=True, attach_stdin=True)
    with pytest.raises(Conflict):
        await engine.containers.execs.resize(exec, 10, 20)
    session = await engine.containers.execs.start(exec, attached=True, size=(11, 22))
    await engine.containers.execs.resize(exec, 33, 44)
    for height, width in ((0, 1), (1, 0), (-1, 1), (1 << 16, 1)):
        with pytest.raises(InvalidRequest):
            await engine.containers.execs.resize(exec, height, width)
    session.close(at_once=True)
    await session.wait()


async def test_ids_that_are_made_up_are_unknown(engine: Engine) -> None:
    for id in ("", "x", "../..", "a" * 64):
        with pytest.raises(NotFound, match="No such exec instance"):
            engine.containers.execs.get(id)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b'{"Cmd":[]}', b'{"Cmd":"/a"}', b'{"Cmd":[1]}', b'{"Cmd":["a\\u0000b"]}',
        b'{"Cmd":["/a"],"Env":["=b"]}', b'{"Cmd":["/a"],"Env":[""]}',
        b'{"Cmd":["/a"],"WorkingDir":"relative"}', b'{"Cmd":["/a"],"ConsoleSize":[-1,1]}',
        b'{"Cmd":["/a"],"ConsoleSize":[1]}', b'{"Cmd":["/a"],"ConsoleSize":[99999,1]}',
        b'{"Cmd":["/' + b"a" * (1 << 20) + b'"]}', b"\xff",
    ],
)  # fmt: skip
def test_requests_that_make_no_sense_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_exec(body)


def test_fields_that_are_null_or_unknown_are_no_harm() -> None:
    config = decode_exec(b'{"Cmd":["/a"],"Env":null,"DetachKeys":null,"Future":{"x":1}}')
    assert (config.cmd, config.env, config.detach_keys) == (["/a"], None, "")


def test_a_size_is_for_terminals() -> None:
    assert decode_exec_start(b"").detach is False
    assert decode_exec_start(b'{"Tty":true,"ConsoleSize":[2,3]}').console_size == (2, 3)
    with pytest.raises(InvalidRequest, match="TTY"):
        decode_exec_start(b'{"ConsoleSize":[2,3]}')
