"""Attach: a connection that leaves HTTP behind."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from tests.api.conftest import Api

from wherry.engine.containers import Output

_UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n"


class Program:
    """A container that answers what it is told, in capitals, and ends with its input."""

    def __init__(self, *, tty: bool = False) -> None:
        self.tty = tty
        self.output: asyncio.Queue[Output | None] = asyncio.Queue()
        self.closed = asyncio.Event()
        self.heard = b""

    def __aiter__(self) -> Program:
        return self

    async def __anext__(self) -> Output:
        output = await self.output.get()
        if output is None:
            raise StopAsyncIteration
        return output

    async def write(self, data: bytes) -> None:
        self.heard += data
        self.say(1, data.upper())

    async def close_stdin(self) -> None:
        self.say(2, b"bye")
        self.output.put_nowait(None)

    async def close(self) -> None:
        self.closed.set()

    def say(self, stream: int, data: bytes) -> None:
        self.output.put_nowait(Output(stream, 0, data))


def _runs(api: Api, program: Program) -> None:
    api.has(
        containers=SimpleNamespace(
            get=lambda name: name, attach=lambda container, **wanted: program
        )
    )


async def _attach(
    api: Api, headers: str, query: str = "stream=1&stdin=1&stdout=1"
) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await api.connect()
    head = f"POST /v1.45/containers/x/attach?{query} HTTP/1.1\r\nHost: d\r\n{headers}\r\n"
    writer.write(head.encode())
    return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60), reader, writer


async def test_output_goes_on_after_the_input_has_ended(api: Api) -> None:
    _runs(api, Program())
    head, reader, writer = await _attach(api, _UPGRADE)
    assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n")
    assert b"Content-Type: application/vnd.docker.multiplexed-stream\r\n" in head
    writer.write(b"hello")
    assert await reader.readexactly(13) == b"\1\0\0\0\0\0\0\5HELLO"
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 60) == b"\2\0\0\0\0\0\0\3bye"
    writer.close()


async def test_without_upgrade_the_answer_is_200_and_then_raw(api: Api) -> None:
    _runs(api, Program(tty=True))
    head, reader, writer = await _attach(api, "Content-Length: 0\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: application/vnd.docker.raw-stream\r\n" in head
    assert b"Upgrade" not in head
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"HELLO"
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 60) == b"bye"
    writer.close()


async def test_the_detach_keys_end_the_stream_and_leave_the_container(api: Api) -> None:
    program = Program(tty=True)
    _runs(api, program)
    _, reader, writer = await _attach(api, _UPGRADE)
    writer.write(b"a\x10\x11b")
    writer.write_eof()
    assert b"bye" not in await asyncio.wait_for(reader.read(), 60)
    assert program.heard == b"a"
    assert program.closed.is_set()
    writer.close()


async def test_detach_keys_that_are_none_are_refused(api: Api) -> None:
    _runs(api, Program())
    status, _, body = await api.ask("POST", "/containers/x/attach?detachKeys=ctrl-")
    assert status == 400
    assert b"detach keys" in body


async def test_the_end_of_the_container_ends_the_connection(api: Api) -> None:
    program = Program()
    _runs(api, program)
    _, reader, writer = await _attach(api, _UPGRADE)
    program.output.put_nowait(None)
    assert await asyncio.wait_for(reader.read(), 60) == b""
    writer.close()
    await asyncio.wait_for(program.closed.wait(), 60)


async def test_input_that_nobody_took_does_not_break_the_connection(api: Api) -> None:
    program = Program()
    _runs(api, program)
    _, reader, writer = await _attach(api, _UPGRADE)
    program.say(1, b"last words")
    program.output.put_nowait(None)
    writer.write(b"too late " * 100_000)
    # A connection that was reset would raise here.
    assert await asyncio.wait_for(reader.read(), 60) == b"\1\0\0\0\0\0\0\x0alast words"
    writer.close()


async def test_a_client_that_goes_is_detached(api: Api) -> None:
    program = Program()
    _runs(api, program)
    _, _, writer = await _attach(api, _UPGRADE)
    writer.transport.abort()
    await asyncio.wait_for(program.closed.wait(), 60)
    while api.server.connections:
        await asyncio.sleep(0)


@pytest.mark.parametrize("upgrade", [_UPGRADE, ""])
async def test_much_output_arrives_whole_at_a_slow_client(api: Api, upgrade: str) -> None:
    program = Program(tty=True)
    _runs(api, program)
    pieces = [bytes([number]) * 100_000 for number in range(50)]
    for piece in pieces:
        program.say(1, piece)
    program.output.put_nowait(None)
    _, reader, writer = await _attach(api, upgrade)
    assert await asyncio.wait_for(reader.read(), 60) == b"".join(pieces)
    writer.close()


async def test_much_input_waits_until_it_is_taken(api: Api) -> None:
    program = Program(tty=True)
    _runs(api, program)
    _, reader, writer = await _attach(api, _UPGRADE)
    data = b"x" * 3_000_000
    writer.write(data)
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 60) == data.upper() + b"bye"
    writer.close()
