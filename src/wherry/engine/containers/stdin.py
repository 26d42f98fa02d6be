"""A process's standard input: a FIFO that whoever is attached may write to.

It is opened for reading and writing, so that a client may write before the container has started
and nobody meets a broken pipe; the shim holds it open until it is told to close it.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from wherry.shim.client import TaskClient, TaskError


class Stdin:
    """The open FIFO of a container for one run, or with `exec_id` of a process added to it."""

    def __init__(self, path: Path, id: str, exec_id: str = "") -> None:
        self._id = id
        self._exec_id = exec_id
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._turn = asyncio.Lock()
        self._ended = False
        self._task: TaskClient | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        """Write all of it, waiting while the FIFO is full; to nobody once it is closed."""
        view = memoryview(data)
        async with self._turn:
            while view and self._fd >= 0 and not self._ended:
                try:
                    view = view[os.write(self._fd, view) :]
                except BlockingIOError:
                    await self._writable()

    async def end(self) -> None:
        """Nothing more comes: the process sees the end once it has read what was written."""
        async with self._turn:
            self._ended = True
            await self._tell_shim()

    def join(self, task: TaskClient) -> None:
        """The container's task is there already."""
        self._task = task

    async def connect(self, task: TaskClient) -> None:
        """The container's task has been made and has the FIFO open."""
        self._task = task
        if self._ended:
            await self._tell_shim()

    def close(self) -> None:
        """The run is over."""
        if self._waiter is not None:
            _wake(self._waiter)
        if self._fd >= 0:
            asyncio.get_running_loop().remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1

    async def _tell_shim(self) -> None:
        if self._task is None:
            return
        task, self._task = self._task, None
        self.close()
        with suppress(TaskError):
            await task.close_io(self._id, self._exec_id)

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        loop.add_writer(self._fd, _wake, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if self._fd >= 0:
                loop.remove_writer(self._fd)


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
