"""The output of containers under other shims than wherry's, which know nothing of its logs.

They write to FIFOs, as under containerd, and the engine puts what comes into the container's log.
While no engine is there such a container waits as soon as a FIFO is full.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from wherry.shim.client.log import STDERR, STDOUT, LogWriter

_CHUNK = 64 << 10
_PATIENCE = 2.0
"""Seconds to wait for the last output after the container's task is gone."""


class Plumbing:
    """The FIFOs of one run of a container, and its log."""

    def __init__(self, bundle: Path, log: Path, *, tty: bool, begin: bool) -> None:
        self._writer = LogWriter(str(log))
        self._open: dict[int, int] = {}
        self._dry = asyncio.Event()
        if begin:
            self._writer.begin()
        # Shims write their own log to this FIFO, and wait at their start until it is there.
        _make_fifo(bundle / "log")
        self._shim_log = os.open(bundle / "log", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        asyncio.get_running_loop().add_reader(self._shim_log, os.read, self._shim_log, _CHUNK)
        self.stdout = self._connect(bundle / "stdout", STDOUT)
        self.stderr = "" if tty else self._connect(bundle / "stderr", STDERR)

    def _connect(self, path: Path, stream: int) -> str:
        _make_fifo(path)
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._open[fd] = stream
        asyncio.get_running_loop().add_reader(fd, self._read, fd)
        return str(path)

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        if data:
            self._writer.write(self._open[fd], data)
        else:
            self._disconnect(fd)

    def _disconnect(self, fd: int) -> None:
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)
        del self._open[fd]
        if not self._open:
            self._dry.set()

    async def finish(self) -> None:
        """The container is gone: take what it has still to say, and mark the end in the log."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self._dry.wait()
        for fd in list(self._open):  # a busy loop may not have looked at what came last
            self._read(fd)
        self.close()
        self._writer.end(STDOUT)
        self._writer.end(STDERR)
        self._writer.release()

    def close(self) -> None:
        """Take no more; the container may still write."""
        for fd in list(self._open):
            self._disconnect(fd)
        if self._shim_log >= 0:
            asyncio.get_running_loop().remove_reader(self._shim_log)
            os.close(self._shim_log)
            self._shim_log = -1


def _make_fifo(path: Path) -> None:
    with suppress(FileExistsError):
        os.mkfifo(path, 0o600)
