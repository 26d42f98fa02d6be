"""A client's hold on an exec: its streams, and whether it goes on without its client."""

from typing import TYPE_CHECKING

from wherry.engine.containers.exec import Exec
from wherry.engine.containers.exec_streams import ExecStreams
from wherry.engine.containers.output import Output

if TYPE_CHECKING:
    from wherry.engine.containers.execs import Execs


class Session:
    """A client's hold on the streams of an exec: an asynchronous iterator of Output."""

    def __init__(self, execs: "Execs", exec: Exec, streams: ExecStreams) -> None:
        self._execs = execs
        self._exec = exec
        self._streams = streams
        self._detached = False

    @property
    def tty(self) -> bool:
        """It has a terminal."""
        return self._exec.config.tty

    def __aiter__(self) -> "Session":
        return self

    async def __anext__(self) -> Output:
        """What it wrote next. The end comes once the process has ended and has its exit code."""
        async for output in self._streams:
            return output
        await self._exec.ended.wait()
        raise StopAsyncIteration

    async def write(self, data: bytes) -> None:
        """To its stdin; waits while the pipe is full."""
        if self._streams.stdin is not None:
            await self._streams.stdin.write(data)

    async def close_stdin(self) -> None:
        """The client's input has ended, and so does the process's; a terminal's never does."""
        if self._streams.stdin is not None and not self.tty:
            await self._streams.stdin.end()

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        await self._exec.ended.wait()
        return self._exec.exit_code or 0

    def detach(self) -> None:
        """The client lets go; the process goes on, and what it writes is lost."""
        self._detached = True
        self._execs.detached(self._exec, self._streams)

    def close(self, *, at_once: bool = False) -> None:
        """The client has gone. A process that still runs, and was not let go, is told to end.

        With `at_once` it is not asked.
        """
        if not self._detached:
            self._streams.drop()
            self._execs.end_soon(self._exec, at_once=at_once)
