"""A launcher whose containers are shell scripts, so that the shim is tested without the runtime.

The bundle's file `script` is what runs; everything else of the runtime's interface is as small as
it can be.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

from wherry.oci.runtime import Resources
from wherry.runtime import CreateRequest, ExecRequest, LaunchError

_WAIT_THEN_RUN = 'read -r _ <&3; exec 3<&-; . "$0"'
_WAIT_THEN_EVAL = 'read -r _ <&3; exec 3<&-; eval "$0"'


class FakeStats(NamedTuple):
    oom_kills: int = 0


class FakeCgroup:
    """Counts what is asked of it."""

    def __init__(self, pid: int) -> None:
        self.path = f"/fake/{pid}"
        self.pid = pid
        self.further: list[int] = []
        self.frozen = False
        self.updates: list[Resources] = []
        self.oom_kills = 0
        self.deleted = False

    def stats(self) -> FakeStats:
        return FakeStats(self.oom_kills)

    def freeze(self) -> None:
        self.frozen = True
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        self.frozen = False
        os.kill(self.pid, signal.SIGCONT)

    def pids(self) -> list[int]:
        return [pid for pid in (self.pid, *self.further) if Path(f"/proc/{pid}/exe").exists()]

    def kill(self) -> None:
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)

    def delete(self) -> None:
        self.deleted = True


class FakeProcess:
    """A shell that waits for `start`."""

    takes_signals = False
    refused_memory = False
    terminal: int | None = None

    def __init__(self, pid: int, go: int, cgroup: FakeCgroup | None = None) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.cgroup = cgroup or FakeCgroup(pid)
        self._first = cgroup is None
        self.on_signal: Callable[[int], None] | None = None
        self.closed = False
        self._go = go

    async def start(self, on_signal: Callable[[int], None]) -> None:
        self.on_signal = on_signal
        os.write(self._go, b"\n")

    async def pause(self) -> None:
        self.cgroup.freeze()

    async def resume(self) -> None:
        self.cgroup.thaw()

    async def update(self, resources: Resources, document: bytes) -> None:
        self.cgroup.updates.append(resources)

    def ended(self) -> None:
        pass

    async def close(self) -> None:
        self.closed = True
        os.close(self._go)
        os.close(self.pidfd)
        if self._first:
            self.cgroup.delete()


class FakeLauncher:
    """Remembers the processes it made, and what it was asked for."""

    def __init__(self) -> None:
        self.made: dict[str, FakeProcess] = {}
        self.requests: list[CreateRequest] = []
        self.exec_requests: list[ExecRequest] = []
        self.refuse: LaunchError | None = None
        self.hold: asyncio.Event | None = None

    async def create(self, request: CreateRequest) -> FakeProcess:
        self.requests.append(request)
        if self.hold is not None:
            await self.hold.wait()
        if self.refuse is not None:
            raise self.refuse
        pid, go = _spawn([_WAIT_THEN_RUN, f"{request.bundle}/script"], request)
        process = self.made[request.id] = FakeProcess(pid, go)
        assert request.on_made is not None
        request.on_made(pid, process.cgroup.path)
        return process

    async def exec(self, request: ExecRequest) -> FakeProcess:
        """The process's first argument is its script."""
        self.exec_requests.append(request)
        if self.hold is not None:
            await self.hold.wait()
        if self.refuse is not None:
            raise self.refuse
        (script,) = request.process.args or ("",)
        pid, go = _spawn([_WAIT_THEN_EVAL, script], request)
        cgroup = cast(FakeCgroup, request.container.cgroup)
        cgroup.further.append(pid)
        return FakeProcess(pid, go, cgroup)

    def close(self) -> None:
        pass


def _spawn(arguments: list[str], request: CreateRequest | ExecRequest) -> tuple[int, int]:
    """A shell with the request's streams; returns its pid and what lets it run when written to."""
    reader, writer = os.pipe()
    given = ((request.stdin, 0), (request.stdout, 1), (request.stderr, 2), (reader, 3))
    pid = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", *arguments],
        {"PATH": os.environ["PATH"]},
        file_actions=[(os.POSIX_SPAWN_DUP2, fd, target) for fd, target in given],
        setsid=True,
    )
    os.close(reader)
    return pid, writer
