"""Running containers: output, input, exit codes."""

from tests.engine.kitchen import interactive, logged, make, run

from wherry.engine import Engine


async def test_output_and_exit_code_come_through(engine: Engine) -> None:
    container = await make(engine, "/exit.wasm", "7")
    assert await run(engine, container) == (7, "")
    assert (container.state.status, container.state.exit_code) == ("exited", 7)


async def test_stdin_is_piped_to_its_end(engine: Engine) -> None:
    container = await make(engine, config=interactive("/echo.wasm"))
    assert await run(engine, container, stdin=b"words\n" * 50_000) == (0, "words\n" * 50_000)
    assert await logged(engine, container, tail=2) == "words\n" * 2
