"""What a container writes, and what it is told on stdin.

All output goes through the container's log, which the shim writes: whoever is attached follows
that file. So nothing is lost when the engine goes away, and nobody who reads slowly holds up a
container.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing
from typing import NamedTuple

from wherry.engine.containers.container import Container, Run
from wherry.engine.containers.stdin import Stdin
from wherry.shim.client.log import MESSAGE, STDERR, LogReader, Record


class Output(NamedTuple):
    """A piece of output as it was written: 1 stdout, 2 stderr; nanoseconds since the epoch."""

    stream: int
    time: int
    data: bytes


class Attachment:
    """A client's hold on a container's streams: an asynchronous iterator of Output."""

    def __init__(
        self, outputs: AsyncGenerator[Output, None], stdin: Stdin | None, container: Container
    ) -> None:
        self.tty = container.config.tty
        self._outputs = outputs
        self._stdin = stdin
        # A terminal's end of input is a character, not a closed file.
        self._once = container.config.stdin_once and not self.tty

    def __aiter__(self) -> "Attachment":
        return self

    async def __anext__(self) -> Output:
        return await anext(self._outputs)

    async def write(self, data: bytes) -> None:
        """To the container's stdin; waits while its pipe is full."""
        if self._stdin is not None:
            await self._stdin.write(data)

    async def close_stdin(self) -> None:
        """The client's input has ended: with StdinOnce the container sees the end of its input."""
        if self._stdin is not None and self._once:
            await self._stdin.end()

    async def close(self) -> None:
        """Detach; the container goes on."""
        await self.close_stdin()
        await self._outputs.aclose()


async def read_log(
    log: LogReader,
    container: Container,
    streams: frozenset[int],
    *,
    follow: bool,
    tail: int | None = None,
    since: float | None = None,
    until: float | None = None,
) -> AsyncGenerator[Output, None]:
    """What is in the log and passes; with `follow` also what still comes, until the run ends."""
    start = int((since or 0) * 1e9)
    end = None if until is None else int(until * 1e9)
    run = container.run
    if follow and run is not None:
        following = log.follow(since=start, until=end, tail=tail, stop=run.over)
        async with aclosing(_select(following, streams)) as outputs:
            async for output in outputs:
                yield output
        return
    for record in log.records(since=start, until=end, tail=tail):
        output = _output(record)
        if output.stream in streams:
            yield output


async def attach(
    log: LogReader,
    run: Run | None,
    run_to_come: Awaitable[Run | None] | None,
    streams: frozenset[int],
    *,
    replay: bool,
) -> AsyncGenerator[Output, None]:
    """Follow the run that is under way, or else the next one, to its end.

    With `replay` what was written before comes first.
    """
    if run is not None:
        following = log.follow(tail=None if replay else 0, stop=run.over)
    else:
        if replay:
            for record in log.records():
                if (output := _output(record)).stream in streams:
                    yield output
        run = await run_to_come if run_to_come is not None else None
        if run is None:
            return
        following = log.follow(since=run.since, stop=run.over)
    async with aclosing(_select(following, streams)) as outputs:
        async for output in outputs:
            yield output


async def _select(
    records: AsyncIterator[Record], streams: frozenset[int]
) -> AsyncGenerator[Output, None]:
    try:
        async for record in records:
            if (output := _output(record)).stream in streams:
                yield output
    finally:
        if isinstance(records, AsyncGenerator):
            await records.aclose()


def _output(record: Record) -> Output:
    """What wherry itself has to say belongs to stderr."""
    stream = STDERR if record.stream == MESSAGE else record.stream
    return Output(stream, record.time, record.data)
