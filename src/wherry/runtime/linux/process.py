"""Processes of Linux containers: their first, and those added later."""

import os
from collections.abc import Callable
from contextlib import suppress

from wherry.oci.runtime import Resources
from wherry.runtime.exits import LaunchError
from wherry.runtime.linux import rootfs
from wherry.runtime.linux.note import forget
from wherry.runtime.linux.runtime import OciRuntime, memory_file
from wherry.runtime.sandbox.cgroups import Cgroup


class LinuxProcess:
    """A process of a Linux container (see `ContainerProcess`). It gets signals as they are."""

    takes_signals = True
    refused_memory = False

    def __init__(
        self,
        pid: int,
        cgroup: Cgroup,
        terminal: int | None,
        released: Callable[[int], None],
    ) -> None:
        """`released` is called with the pid when that may belong to another process."""
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.cgroup = cgroup
        self.terminal = terminal
        self._released = released

    async def start(self, on_signal: Callable[[int], None]) -> None:
        """Nothing to do: it runs since it was made."""

    async def pause(self) -> None:
        """Only a container as a whole is paused."""
        raise LaunchError("only a container as a whole can be paused")

    async def resume(self) -> None:
        """Only a container as a whole goes on."""
        raise LaunchError("only a container as a whole can be resumed")

    async def update(self, resources: Resources, document: bytes) -> None:
        """Only a container as a whole has limits."""
        raise LaunchError("only a container as a whole has limits")

    def ended(self) -> None:
        """It was reaped: its pid may be another's soon."""
        self._released(self.pid)

    async def close(self) -> None:
        """Give up its pidfd."""
        os.close(self.pidfd)


class LinuxInit(LinuxProcess):
    """The first process of a Linux container, and with it the container."""

    def __init__(
        self,
        pid: int,
        cgroup: Cgroup,
        terminal: int | None,
        released: Callable[[int], None],
        *,
        runtime: OciRuntime,
        id: str,
        bundle: str,
        root: str | None,
        alone: bool,
    ) -> None:
        """`root` is to be unmounted in the end; `alone`: all processes end with this one."""
        super().__init__(pid, cgroup, terminal, released)
        self.runtime = runtime
        self.id = id
        self.bundle = bundle
        self._root = root
        self._alone = alone

    async def start(self, on_signal: Callable[[int], None]) -> None:
        """Let it run."""
        await self.runtime.call("start", self.id)

    async def pause(self) -> None:
        """Freeze the container."""
        await self.runtime.call("pause", self.id)

    async def resume(self) -> None:
        """Let it go on."""
        await self.runtime.call("resume", self.id)

    async def update(self, resources: Resources, document: bytes) -> None:
        """Set the limits of `document`, of which `resources` is what wherry knows."""
        with memory_file(document) as file:
            await self.runtime.call("update", "--resources", file.path, self.id)

    def ended(self) -> None:
        """It was reaped: end what the kernel did not end with it."""
        super().ended()
        if not self._alone:
            self.cgroup.kill()

    async def close(self) -> None:
        """Delete the container: its cgroup, its state, its root filesystem. Raises LaunchError."""
        await super().close()
        try:
            await self.runtime.call("delete", "--force", self.id)
        finally:
            if self._root is not None:
                with suppress(OSError):
                    rootfs.unmount(self._root)
        forget(self.bundle)
