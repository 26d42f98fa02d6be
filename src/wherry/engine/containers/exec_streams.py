"""The streams of an exec: FIFOs in a folder of its own, which also says that there may be one.

The folder is made before the shim is asked for a process and goes after the shim has forgotten
it, so that an engine that comes back knows what it has to clear away. Nothing is kept of the
output: a process whose client does not read waits.
"""

import asyncio
import os
import select
import shutil
import time
from pathlib import Path

from wherry.engine.containers.output import Output
from wherry.engine.containers.stdin import Stdin
from wherry.engine.exec_config import ExecConfig
from wherry.shim.client import TaskClient
from wherry.shim.client.log import STDERR, STDOUT

_CHUNK = 64 << 10
_PATIENCE = 2.0
"""Seconds to wait for more output once the process has ended: it may have left children."""


class ExecStreams:
    """An asynchronous iterator of what the process writes, and the way to its stdin."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.stdin: Stdin | None = None
        self.stdin_path = self.stdout_path = self.stderr_path = ""
        """What the shim is given; empty for what nobody wants."""
        self.finished = asyncio.Event()
        """Set when all output was taken, or is not wanted any more."""
        self._readers: dict[int, int] = {}
        self._writers: list[int] = []
        self._over = False
        self._arrival: asyncio.Future[None] | None = None

    def open(self, container: str, exec_id: str, config: ExecConfig, *, attached: bool) -> None:
        """Make the folder and what is in it. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True)
        if not attached:
            self.finished.set()
            return
        if config.attach_stdin:
            self.stdin_path = self._make("stdin")
            self.stdin = Stdin(Path(self.stdin_path), container, exec_id)
        if config.attach_stdout:
            self.stdout_path = self._connect("stdout", STDOUT)
        if config.attach_stderr and not config.tty:
            self.stderr_path = self._connect("stderr", STDERR)

    def _make(self, name: str) -> str:
        path = self._folder / name
        os.mkfifo(path, 0o600)
        return str(path)

    def _connect(self, name: str, stream: int) -> str:
        path = self._make(name)
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        self._readers[os.open(path, os.O_RDONLY | flags)] = stream
        # Held until the process has it: without a writer the FIFO would be at its end already.
        self._writers.append(os.open(path, os.O_WRONLY | flags))
        return path

    async def started(self, task: TaskClient) -> None:
        """The process has its ends."""
        self._release_writers()
        if self.stdin is not None:
            await self.stdin.connect(task)

    def over(self) -> None:
        """The process has ended: what it wrote is still to be read, and little more comes."""
        self._over = True
        self._release_writers()
        if self.stdin is not None:
            self.stdin.close()
        if self._arrival is not None:
            _wake(self._arrival)

    def drop(self) -> None:
        """Nobody wants the rest."""
        while self._readers:
            self._close(next(iter(self._readers)))
        if self._arrival is not None:
            _wake(self._arrival)
        self.finished.set()

    def remove(self) -> None:
        """The shim has forgotten the process, or never had it: nothing of it stays."""
        self._release_writers()
        if self.stdin is not None:
            self.stdin.close()
        self.drop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __aiter__(self) -> "ExecStreams":
        return self

    async def __anext__(self) -> Output:
        while self._readers:
            for fd, stream in list(self._readers.items()):
                try:
                    data = os.read(fd, _CHUNK)
                except BlockingIOError:
                    continue
                if data:
                    return Output(stream, time.time_ns(), data)
                self._close(fd)
            if self._readers and not await self._more():
                break
        self.drop()
        raise StopAsyncIteration

    async def _more(self) -> bool:
        """Wait until there is something to read, or to find out; False when it took too long."""
        loop = asyncio.get_running_loop()
        arrival = self._arrival = loop.create_future()
        for fd in self._readers:
            loop.add_reader(fd, _wake, arrival)
        try:
            async with asyncio.timeout(_PATIENCE if self._over else None):
                await arrival
        except TimeoutError:
            # Something may have come that a busy loop has not looked at yet.
            return self._has_arrived()
        finally:
            self._arrival = None
            for fd in self._readers:
                loop.remove_reader(fd)
        return True

    def _has_arrived(self) -> bool:
        poll = select.poll()
        for fd in self._readers:
            poll.register(fd, select.POLLIN)
        return bool(poll.poll(0))

    def _close(self, fd: int) -> None:
        asyncio.get_running_loop().remove_reader(fd)
        del self._readers[fd]
        os.close(fd)

    def _release_writers(self) -> None:
        for fd in self._writers:
            os.close(fd)
        self._writers = []


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
