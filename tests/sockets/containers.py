"""Containers with a network of their own, and the peers that tests put into it beside them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable
from ctypes import CDLL, get_errno
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.runtime.bundles import Bundle, reap

from wherry.runtime import Launcher, Process

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000


@dataclass
class Container:
    """A created container: its network is there before its program runs, to put peers into."""

    process: Process
    stdin: int
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader
    namespace: int
    """A descriptor of its network namespace, which stays when its program has ended."""

    @property
    def network(self) -> str:
        """The path of its network; there is nothing in it but a loopback interface."""
        return f"/proc/{os.getpid()}/fd/{self.namespace}"

    def inside(self, *command: str) -> list[str]:
        """A command line that runs a program of the host's in the container's network."""
        return ["nsenter", f"--net={self.network}", "--", *command]

    async def ask(self, *command: str, timeout: float = 60) -> str:
        """Run a program of the host's in the container's network; return what it printed.

        It must succeed.
        """
        process = await asyncio.create_subprocess_exec(
            *self.inside(*command),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), timeout)
        assert process.returncode == 0, f"{command}: {process.returncode} {err.decode()}"
        return out.decode()

    def within(self, function: Callable[[], T]) -> T:
        """What `function` returns, called by a thread that is in the container's network."""
        result: list[T] = []
        failure: list[BaseException] = []

        def run() -> None:
            try:
                if CDLL(None, use_errno=True).setns(self.namespace, _CLONE_NEWNET) != 0:
                    raise OSError(get_errno(), "setns")
                result.append(function())
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return result[0]

    def plug(self, kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET) -> socket.socket:
        """A socket of this process's in the container's network, which waits a minute at most."""
        made = self.within(lambda: socket.socket(family, kind))
        made.settimeout(60)
        return made

    def dial(self, port: int, address: str = "127.0.0.1") -> socket.socket:
        """A connection to a port in the container's network."""
        made = self.plug(family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        made.connect((address, port))
        return made

    def listener(self, port: int = 0) -> socket.socket:
        """A listening socket of this process's in the container's network."""
        made = self.plug()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.listen()
        return made

    async def start(self) -> None:
        """Let its program run."""
        await self.process.start(lambda _signal: None)

    async def line(self) -> str:
        """The next line of its stdout. Fails with what it wrote on stderr when there is none."""
        read = await asyncio.wait_for(self.stdout.readline(), 60)
        if not read:
            raise AssertionError(f"it ended: {(await self.stderr.read()).decode()[-2000:]}")
        return read.decode().rstrip("\n")

    def tell(self, *words: object) -> None:
        """Write a line to its stdin."""
        os.write(self.stdin, (" ".join(str(word) for word in words) + "\n").encode())

    async def do(self, *words: object) -> str:
        """Tell it a line and return the line that it answers, for `tests/guests/puppet.c`."""
        self.tell(*words)
        return await self.line()

    async def open(self, family: int = 4, kind: str = "stream") -> int:
        """The descriptor of a socket that a puppet opened."""
        return number(await self.do("open", family, kind))

    def descriptors(self) -> int:
        """How many descriptors its process has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory(self) -> int:
        """How much memory its process has that is no file's, in bytes.

        Not how much is its own alone: that grows when others end that have the same pages.
        """
        rollup = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        (anonymous,) = re.findall(r"^Anonymous: +(\d+) kB$", rollup, re.MULTILINE)
        return int(anonymous) * 1024


def number(answer: str) -> int:
    """The number in a puppet's "ok NUMBER"."""
    assert answer.startswith("ok "), answer
    return int(answer.split()[1])


@contextlib.asynccontextmanager
async def created(launcher: Launcher, bundle: Bundle) -> AsyncIterator[Container]:
    """A container with pipes for its streams, ended when the block is left."""
    pipes = [os.pipe() for _ in range(3)]
    ours, theirs = (pipes[0][1], pipes[1][0], pipes[2][0]), (pipes[0][0], pipes[1][1], pipes[2][1])
    try:
        process = await launcher.create(bundle.request(*theirs))
    except BaseException:
        for fd in ours:
            os.close(fd)
        raise
    finally:
        for fd in theirs:
            os.close(fd)
    namespace = os.open(f"/proc/{process.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        out, err = await _reader(ours[1]), await _reader(ours[2])
        yield Container(process, ours[0], out, err, namespace)
    finally:
        os.close(namespace)
        signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)
        await reap(process)
        os.close(ours[0])


@contextlib.asynccontextmanager
async def running(launcher: Launcher, bundle: Bundle) -> AsyncIterator[Container]:
    """The same, started."""
    async with created(launcher, bundle) as container:
        await container.start()
        yield container


async def _reader(fd: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    protocol = asyncio.StreamReaderProtocol(reader)
    await loop.connect_read_pipe(lambda: protocol, os.fdopen(fd, "rb", buffering=0))
    return reader
