"""Blocking work beside the loop: a thread of its own, and bytes that flow to it and from it.

Images, builds and archives are read and written by blocking code. The default executor has few
threads and is for short calls; what may take minutes gets its own.
"""

import asyncio
import io
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from concurrent.futures import Future
from contextlib import closing
from typing import BinaryIO, TypeVar, cast

T = TypeVar("T")

CHUNK = 256 << 10
"""Bytes that pass between a thread and the loop at once."""
_CHUNKS_AHEAD = 4


async def run_in_thread(work: Callable[[], T], name: str) -> T:
    """Run `work` in a daemon thread called `name` and return its result or raise its error.

    Cancelling the caller does not end the thread; close what it reads from or writes to.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(cast("T", result))
        else:
            done.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done


class _Source(io.RawIOBase):
    """A file for a thread, filled from an asynchronous iterator of the loop."""

    def __init__(self, chunks: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._chunks = chunks
        self._loop = loop
        self._left = memoryview(b"")
        self._waiting: Future[bytes] | None = None
        self._cut = False
        self._mutex = threading.Lock()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        target = memoryview(cast("bytearray", buffer)).cast("B")
        if not self._left:
            with self._mutex:
                if self._cut:
                    raise ConnectionResetError("the sender has gone")
                self._waiting = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            self._left = memoryview(self._waiting.result())
        size = min(len(target), len(self._left))
        target[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    async def _next(self) -> bytes:
        async for chunk in self._chunks:
            if chunk:
                return chunk
        return b""

    def cut(self) -> None:
        """Let the thread see a broken connection instead of waiting for ever."""
        with self._mutex:
            self._cut = True
            if self._waiting:
                self._waiting.cancel()


async def read_in_thread(
    chunks: AsyncIterator[bytes], work: Callable[[BinaryIO], T], name: str
) -> T:
    """Run `work` in a thread with a file from which it reads `chunks`."""
    source = _Source(chunks, asyncio.get_running_loop())
    try:
        reader = io.BufferedReader(source, CHUNK)
        return await run_in_thread(lambda: work(cast("BinaryIO", reader)), name)
    finally:
        source.cut()


class _Sink(io.RawIOBase):
    """A file for a thread, whose bytes come out in the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._room = threading.Semaphore(_CHUNKS_AHEAD)
        self._cut = False
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        chunk = bytes(cast("bytes", data))
        self._room.acquire()
        if self._cut:
            raise BrokenPipeError("the receiver has gone")
        self._loop.call_soon_threadsafe(self.chunks.put_nowait, chunk)
        return len(chunk)

    def taken(self) -> None:
        self._room.release()

    def cut(self) -> None:
        """Let the thread see a broken pipe instead of waiting for ever."""
        self._cut = True
        self._room.release()


async def write_in_thread(
    work: Callable[[BinaryIO], None], name: str
) -> AsyncGenerator[bytes, None]:
    """Run `work` in a thread with a file, and yield what it writes to it.

    What `work` raises is raised here, after what it wrote before.
    """
    sink = _Sink(asyncio.get_running_loop())

    def run() -> None:
        with io.BufferedWriter(sink, CHUNK) as writer:
            work(cast("BinaryIO", writer))

    working = asyncio.ensure_future(run_in_thread(run, name))
    working.add_done_callback(lambda _: sink.chunks.put_nowait(None))
    try:
        while (chunk := await sink.chunks.get()) is not None:
            yield chunk
            sink.taken()
        await working
    finally:
        sink.cut()
        working.cancel()


async def iterate_in_thread(steps: Generator[T, None, None], name: str) -> AsyncGenerator[T, None]:
    """Yield what a blocking generator does, which runs in a thread; it is left at its next step.

    What it raises is raised here.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[T | None] = asyncio.Queue()
    left = threading.Event()

    def work() -> None:
        with closing(steps):
            for step in steps:
                if left.is_set():
                    return
                loop.call_soon_threadsafe(queue.put_nowait, step)

    working = asyncio.ensure_future(run_in_thread(work, name))
    working.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (step := await queue.get()) is not None:
            yield step
        await working
    finally:
        left.set()
        working.cancel()
