"""Further processes of a task: added by Exec, made and run by Start, then as the first one."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from wherry import oci
from wherry.oci import runtime as spec
from wherry.runtime import ContainerProcess, ExecRequest, LaunchError
from wherry.shim.messages import CREATED, STOPPED, ExecProcessRequest
from wherry.shim.server.logs import Logs
from wherry.shim.server.process import TaskProcess
from wherry.shim.server.readers import readers_of
from wherry.shim.server.stdio import Stdio


class ExecLauncher(Protocol):
    """What makes further processes of the containers that it made."""

    async def exec(self, request: ExecRequest) -> ContainerProcess:
        """Make a process, ready to start. Raises LaunchError."""


class Exec:
    """A further process, from when it is added until it is deleted.

    `gone` is called once if it was started: when it has exited, which is known by then.
    """

    def __init__(
        self, request: ExecProcessRequest, process: spec.Process, gone: Callable[["Exec"], None]
    ) -> None:
        self.id = request.exec_id
        self.stdio = Stdio(request.stdin, request.stdout, request.stderr, request.terminal)
        self._spec = process
        self._document = b"" if request.spec is None else request.spec.value
        self._gone = gone
        self._process: TaskProcess | None = None
        self._starting = False
        self._over = asyncio.Event()
        self._failed_with = 0
        self._failed_at = 0

    async def start(
        self,
        launcher: ExecLauncher,
        logs: Logs,
        *,
        container: ContainerProcess,
        bundle: str,
        rootfs: tuple[spec.Mount, ...],
    ) -> None:
        """Make it and let it run; one that cannot be is over. Raises StdioError and LaunchError."""
        self._starting = True
        try:
            self._process = await self._make(launcher, logs, container, bundle, rootfs)
            try:
                await self._process.start(None)
            except LaunchError:
                await self._process.wait()
                raise
        except BaseException as error:
            if self._process is None:
                self._failed_with = error.exit_code if isinstance(error, LaunchError) else 125
                self._failed_at = time.time_ns()
                self._over.set()
            raise
        finally:
            self._starting = False

    @property
    def status(self) -> int:
        """CREATED until it runs, RUNNING, or STOPPED."""
        if self._process is not None:
            return self._process.status
        return STOPPED if self._over.is_set() else CREATED

    @property
    def is_startable(self) -> bool:
        """Whether it was added, and nobody has tried to start it."""
        return self.status == CREATED and not self._starting

    @property
    def is_live(self) -> bool:
        """Whether it runs, or is about to."""
        return self._starting or (self._process is not None and self._process.status != STOPPED)

    @property
    def pid(self) -> int:
        """0 until it was made."""
        return 0 if self._process is None else self._process.pid

    @property
    def exit_status(self) -> int:
        """0 while it lives; of one that could not be started, Docker's code for that."""
        return self._failed_with if self._process is None else self._process.exit_status

    @property
    def exited_at(self) -> int:
        """Nanoseconds since the epoch; 0 while it lives."""
        return self._failed_at if self._process is None else self._process.exited_at

    @property
    def was_killed(self) -> bool:
        """Whether SIGKILL ended it that this shim did not send."""
        return self._process is not None and self._process.was_killed

    def kill(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None:
            self._process.kill(number)

    async def wait(self) -> None:
        """Until it has exited, or could not be started, or was deleted before."""
        await self._over.wait()

    async def close(self) -> None:
        """Once it does not run: release all that it held. Raises LaunchError."""
        self._over.set()
        if self._process is not None:
            await self._process.close()

    async def _make(
        self,
        launcher: ExecLauncher,
        logs: Logs,
        container: ContainerProcess,
        bundle: str,
        rootfs: tuple[spec.Mount, ...],
    ) -> TaskProcess:
        size = self._spec.console_size or spec.ConsoleSize()
        async with readers_of(self.stdio.stdout_address, self.stdio.stderr_address):
            self.stdio.open(logs, (max(0, size.width), max(0, size.height)))
        stdin, stdout, stderr = self.stdio.given
        request = ExecRequest(
            container=container,
            bundle=bundle,
            process=self._spec,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            rootfs=rootfs,
            document=self._document,
        )
        try:
            process = await launcher.exec(request)
        except BaseException:
            self.stdio.close()
            raise
        self.stdio.handed_over(process.terminal)
        return TaskProcess(process, self.stdio, self._exited)

    def _exited(self, process: TaskProcess) -> None:
        process.finish()
        self._over.set()
        self._gone(self)


def read_process(request: ExecProcessRequest) -> spec.Process:
    """What a process is to be. Raises oci.InvalidDocument."""
    document = b"" if request.spec is None else request.spec.value
    process = oci.decode(document, spec.Process, f"the process {request.exec_id}")
    # It is given the streams that were asked for, whatever it says of them itself.
    return msgspec.structs.replace(process, terminal=request.terminal)
