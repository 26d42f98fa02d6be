"""A process of a container that a zygote has made, as who asked for it holds it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from wherry.oci import runtime as spec
from wherry.runtime import messages
from wherry.runtime.sandbox.cgroups import Cgroup

if TYPE_CHECKING:
    from wherry.runtime.hooks import ContainerHooks, Job


class Process:
    """A container's process: a child of this process, created and not yet started."""

    takes_signals = False
    refused_memory = False
    terminal: int | None = None

    def __init__(
        self, pid: int, pidfd: int, cgroup: Cgroup, control: socket.socket, *, first: bool
    ) -> None:
        """`first`: with it goes the container, and so the cgroup."""
        self.pid = pid
        self.pidfd = pidfd
        self.cgroup = cgroup
        self.hooks: ContainerHooks | None = None
        """Of its container, once those of its creation have run."""
        self.control = control
        """Its messages until it is started, the signals that reach it from then on."""
        self._first = first

    async def start(self, on_signal: Callable[[int], None]) -> None:
        """Let the guest run. `on_signal` is called with the number of each signal that reaches the
        process directly; the guest goes on, so whoever listens ends it.

        Raises LaunchError if a hook fails that comes before; then the process is ended.
        """
        if self.hooks is not None:
            await self._run_hooks(self.hooks.starting(self.pid, self.cgroup.procs_files))
        self.go_on()
        asyncio.get_running_loop().add_reader(self.control.fileno(), self._heard, on_signal)
        if self.hooks is not None:
            from wherry.runtime.hooks import finish_and_warn

            await finish_and_warn(self.hooks.started(self.pid), _warn)

    async def _run_hooks(self, jobs: "list[Job]") -> None:
        from wherry.runtime.hooks import finish_jobs

        try:
            await finish_jobs(jobs)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            raise

    def go_on(self) -> None:
        """Let it go on with what it waits for."""
        with contextlib.suppress(OSError):  # it died meanwhile, which its end will tell
            self.control.send(messages.START)

    def _heard(self, on_signal: Callable[[int], None]) -> None:
        try:
            packet = self.control.recv(16)
        except OSError:
            packet = b""
        if not packet:
            self._close_control()
            return
        for number in packet:
            if number == messages.OUT_OF_MEMORY[0]:
                self.refused_memory = True
            else:
                on_signal(number)

    def _close_control(self) -> None:
        if self.control.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self.control.fileno())
            self.control.close()

    async def pause(self) -> None:
        """Freeze the container. Raises CgroupError."""
        self.cgroup.freeze()

    async def resume(self) -> None:
        """Let the container go on. Raises CgroupError."""
        self.cgroup.thaw()

    async def update(self, resources: spec.Resources, document: bytes) -> None:
        """Set other limits, by `resources`. Raises CgroupError."""
        self.cgroup.update(resources)

    def ended(self) -> None:
        """It was reaped: what it said last is heard. It has no children."""
        with contextlib.suppress(OSError):
            while packet := self.control.recv(16):
                self.refused_memory |= messages.OUT_OF_MEMORY in packet

    async def close(self) -> None:
        """After it was reaped: closes its descriptors; the container's first removes the cgroup."""
        self._close_control()
        os.close(self.pidfd)
        if not self._first:
            return
        try:
            self.cgroup.delete()
        finally:
            if self.hooks is not None:
                from wherry.runtime.hooks import finish_and_warn

                await finish_and_warn(self.hooks.deleted(), _warn)


def _warn(line: str) -> None:
    """Into the log of who launches."""
    print(f"warning: {line}", file=sys.stderr, flush=True)
