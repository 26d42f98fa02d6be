"""Blocking work beside the loop."""

import asyncio
import threading
from collections.abc import AsyncIterator, Generator
from contextlib import aclosing
from typing import BinaryIO

import pytest

from wherry.engine.worker import (
    CHUNK,
    iterate_in_thread,
    read_in_thread,
    run_in_thread,
    write_in_thread,
)


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_a_thread_reads_what_the_loop_receives() -> None:
    data = await read_in_thread(_pieces(b"ab", b"", b"c" * CHUNK * 3), lambda f: f.read(), "test")
    assert data == b"ab" + b"c" * CHUNK * 3


async def test_an_error_of_the_sender_reaches_the_reader() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        await read_in_thread(broken(), lambda f: f.read(), "test")


async def test_a_cancelled_reader_lets_its_thread_end() -> None:
    never: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    waits = asyncio.Event()
    ended = threading.Event()

    async def silent() -> AsyncIterator[bytes]:
        waits.set()
        yield await never

    def read(file: BinaryIO) -> None:
        try:
            file.read()
        finally:
            ended.set()

    task = asyncio.create_task(read_in_thread(silent(), read, "test"))
    await waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, 10)


async def test_the_loop_receives_what_a_thread_writes() -> None:
    def write(file: BinaryIO) -> None:
        for _ in range(20):
            file.write(b"x" * CHUNK)

    received = [len(chunk) async for chunk in write_in_thread(write, "test")]
    assert sum(received) == 20 * CHUNK


async def test_an_error_of_the_writer_comes_after_its_bytes() -> None:
    def write(file: BinaryIO) -> None:
        file.write(b"some")
        file.flush()
        raise ValueError("no more")

    stream = write_in_thread(write, "test")
    assert await anext(stream) == b"some"
    with pytest.raises(ValueError, match="no more"):
        await anext(stream)


async def test_a_writer_ends_when_nobody_reads_on() -> None:
    ended = threading.Event()

    def write(file: BinaryIO) -> None:
        try:
            while True:
                file.write(b"x" * CHUNK)
        finally:
            ended.set()

    stream = write_in_thread(write, "test")
    await anext(stream)
    await stream.aclose()
    assert await asyncio.to_thread(ended.wait, 10)


async def test_the_result_of_a_thread_is_returned_and_its_error_raised() -> None:
    assert await run_in_thread(lambda: 7, "test") == 7
    with pytest.raises(KeyError):
        await run_in_thread(lambda: dict[str, str]()["x"], "test")


async def test_what_a_generator_in_a_thread_yields_and_raises_comes_in_order() -> None:
    def steps() -> Generator[int, None, None]:
        yield from (1, 2)
        raise KeyError("three")

    seen = []
    with pytest.raises(KeyError, match="three"):
        async for step in iterate_in_thread(steps(), "test"):
            seen.append(step)
    assert seen == [1, 2]


async def test_a_generator_in_a_thread_is_closed_when_nobody_listens() -> None:
    closed, left = threading.Event(), threading.Event()

    def steps() -> Generator[int, None, None]:
        try:
            yield 1
            left.wait()
            yield 2
        finally:
            closed.set()

    async with aclosing(iterate_in_thread(steps(), "test")) as stream:
        assert await anext(stream) == 1
    left.set()
    assert await asyncio.to_thread(closed.wait, 60)
