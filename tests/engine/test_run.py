"""Running containers: output, input, exit codes, what is inside."""

import asyncio
from contextlib import aclosing

import pytest
from tests.engine.kitchen import interactive, logged, make, run

from wherry.engine import Engine, NotModified
from wherry.engine.config import ContainerConfig, HostConfig
from wherry.engine.containers import Container


async def test_output_and_exit_code_come_through(engine: Engine) -> None:
    container = await make(engine, "/exit.wasm", "7")
    assert await run(engine, container) == (7, "")
    assert (container.state.status, container.state.exit_code) == ("exited", 7)


async def test_stdin_is_piped_to_its_end(engine: Engine) -> None:
    container = await make(engine, config=interactive("/echo.wasm"))
    assert await run(engine, container, stdin=b"words\n" * 50_000) == (0, "words\n" * 50_000)
    assert await logged(engine, container, tail=2) == "words\n" * 2


async def test_arguments_environment_and_names_are_as_asked(engine: Engine) -> None:
    config = ContainerConfig(cmd=["/environ.wasm", "a b", ""], env=["LANG=C.UTF-8", "EMPTY=", "NO"])
    container = await make(engine, config=config)
    _, output = await run(engine, container)
    lines = output.splitlines()
    assert lines[:3] == ["/environ.wasm", "a b", ""]
    assert {"LANG=C.UTF-8", "EMPTY=", f"HOSTNAME={container.id[:12]}", "HOME=/"} < set(lines)
    assert not any(line.startswith("NO") for line in lines)


async def test_each_attached_client_gets_all_output(engine: Engine) -> None:
    container = await make(engine, config=interactive("/echo.wasm"))
    first = engine.containers.attach(container, stdin=True, stdout=True)
    second = engine.containers.attach(container, stdout=True)
    await engine.containers.start(container)
    await first.write(b"hello\n")
    await first.close_stdin()
    assert b"".join([data async for _, _, data in first]) == b"hello\n"
    assert b"".join([data async for _, _, data in second]) == b"hello\n"


async def test_who_attaches_late_sees_only_what_comes_then(engine: Engine) -> None:
    container = await make(engine, config=interactive("/echo.wasm", once=False))
    early = engine.containers.attach(container, stdin=True, stdout=True)
    await engine.containers.start(container)
    await early.write(b"before\n")
    assert (await anext(early)).data == b"before\n"
    late = engine.containers.attach(container, stdin=True, stdout=True)
    replay = engine.containers.attach(container, stdout=True, logs=True)
    waiting = asyncio.create_task(_all(late))
    await asyncio.sleep(0)
    await late.write(b"after\n")
    assert (await anext(early)).data == b"after\n"
    await engine.containers.stop(container)
    assert await waiting == b"after\n"
    assert await _all(replay) == b"before\nafter\n"


async def test_a_client_that_leaves_ends_stdin_only_with_stdin_once(engine: Engine) -> None:
    stays = await make(engine, config=interactive("/echo.wasm", once=False))
    attachment = engine.containers.attach(stays, stdin=True, stdout=True)
    await engine.containers.start(stays)
    await attachment.close()
    ends = await make(engine, config=interactive("/echo.wasm", once=True))
    attachment = engine.containers.attach(ends, stdin=True, stdout=True)
    ending = engine.containers.wait(ends, "next-exit")
    await engine.containers.start(ends)
    await attachment.close()
    assert (await ending).status_code == 0
    assert stays.state.running


async def test_a_terminal_echoes_and_is_one_stream(engine: Engine) -> None:
    container = await make(engine, config=interactive("/echo.wasm", tty=True))
    attachment = engine.containers.attach(container, stdin=True, stdout=True, stderr=True)
    assert attachment.tty
    await engine.containers.start(container)
    await engine.containers.resize(container, 30, 100)
    await attachment.write(b"typed\n")
    output = b""
    while output.count(b"typed") < 2:
        output += (await anext(attachment)).data
    await attachment.write(b"\x04")
    assert {stream async for stream, _, _ in attachment} <= {1}
    assert container.state.exit_code == 0


async def test_logs_follow_to_the_end_of_the_run(engine: Engine) -> None:
    container = await make(engine, config=interactive("/echo.wasm"))
    attachment = engine.containers.attach(container, stdin=True)
    await engine.containers.start(container)
    following = asyncio.create_task(logged(engine, container, follow=True))
    await attachment.write(b"one\n")
    await attachment.write(b"two\n")
    await attachment.close_stdin()
    assert await following == "one\ntwo\n"


async def test_logs_of_several_runs_are_kept_and_cut_by_time(engine: Engine) -> None:
    container = await make(engine, "/trap.wasm")
    await run(engine, container)
    first = [output async for output in engine.containers.logs(container)]
    code, output = await run(engine, container)
    assert code == 134
    assert output.startswith("wherry: trap: ")
    assert await logged(engine, container) == output * 2
    assert await logged(engine, container, since=first[-1].time / 1e9 + 0.001) == output
    assert await logged(engine, container, stderr=False) == ""


async def test_a_follower_that_goes_leaves_nothing(engine: Engine) -> None:
    container = await make(engine, config=interactive("/echo.wasm"))
    attachment = engine.containers.attach(container, stdin=True)
    await engine.containers.start(container)
    await attachment.write(b"one\n")
    logs = engine.containers.logs(container, follow=True)
    async with aclosing(logs):
        assert (await anext(logs))[::2] == (1, b"one\n")


async def test_a_start_when_it_runs_changes_nothing(engine: Engine) -> None:
    container = await running(engine)
    with pytest.raises(NotModified):
        await engine.containers.start(container)


async def test_a_hundred_containers_run_at_once(engine: Engine) -> None:
    containers = [
        await make(engine, "/exit.wasm", str(n), host=HostConfig(auto_remove=True))
        for n in range(100)
    ]
    results = await asyncio.gather(*(run(engine, container) for container in containers))
    assert [code for code, _ in results] == list(range(100))


async def running(engine: Engine) -> Container:
    container = await make(engine, "/loop.wasm")
    await engine.containers.start(container)
    return container


async def _all(attachment: "object") -> bytes:
    return b"".join([data async for _, _, data in attachment])  # type: ignore[attr-defined]
