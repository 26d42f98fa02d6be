"""The task service of a shim, from the caller's side."""

import asyncio
from collections.abc import Sequence
from typing import Literal, NamedTuple, Self

from wherry.oci import encode
from wherry.oci.runtime import Mount, Resources
from wherry.shim import messages
from wherry.shim.messages import (
    CloseIORequest,
    ConnectResponse,
    CreateTaskRequest,
    CreateTaskResponse,
    DeleteResponse,
    ExecProcessRequest,
    KillRequest,
    PidsResponse,
    ProcessRequest,
    ResizePtyRequest,
    ShutdownRequest,
    StartResponse,
    StateResponse,
    StatsResponse,
    TaskRequest,
    UpdateTaskRequest,
    WaitResponse,
)
from wherry.shim.protobuf import Any, Empty, InvalidMessage, M, Message
from wherry.shim.ttrpc.client import Client
from wherry.shim.ttrpc.status import CallError

Status = Literal["unknown", "created", "running", "stopped", "paused", "pausing"]
_STATUS: tuple[Status, ...] = ("unknown", "created", "running", "stopped", "paused", "pausing")

_SPEC = "types.containerd.io/opencontainers/runtime-spec/1/Process"
_RESOURCES = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"


class TaskError(Exception):
    """The shim refused a call. `code` is the name of a gRPC status: NOT_FOUND, UNAVAILABLE…"""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class TaskState(NamedTuple):
    """A task as the shim sees it; `exited_at` is nanoseconds since the epoch, 0 while it lives."""

    status: Status
    pid: int
    exit_status: int
    exited_at: int
    bundle: str


class Exit(NamedTuple):
    """How a process ended: its exit status, and when (nanoseconds since the epoch)."""

    status: int
    at: int


class TaskClient:
    """A connection to a shim. Every call raises TaskError."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @classmethod
    async def connect(cls, address: str) -> Self:
        """Connect to a shim at `unix:///path`. Raises TaskError (UNAVAILABLE)."""
        try:
            return cls(await Client.connect(address.removeprefix("unix://")))
        except OSError as error:
            reason = f"the shim at {address} does not answer: {error.strerror or error}"
            raise TaskError("UNAVAILABLE", reason) from None

    @property
    def closed(self) -> asyncio.Event:
        """Set when the connection has broken or was closed."""
        return self._client.closed

    def close(self) -> None:
        """Close the connection; the shim and its tasks live on."""
        self._client.close()

    async def create(
        self,
        *,
        id: str,
        bundle: str,
        rootfs: Sequence[Mount] = (),
        stdin: str = "",
        stdout: str = "",
        stderr: str = "",
        terminal: bool = False,
    ) -> int:
        """Make the task of a bundle, ready to start; its pid.

        `stdin` is the path of a FIFO, or empty. `stdout` and `stderr` are each the path of a FIFO,
        `file:///path`, `wherry-log:///path?stream=stdout` (or `=stderr`), or empty. With
        `terminal`, `stderr` is unused.
        """
        mounts = [
            messages.Mount(type=m.type, source=m.source, target="", options=m.options or ())
            for m in rootfs
        ]
        request = CreateTaskRequest(
            id=id,
            bundle=bundle,
            rootfs=mounts,
            terminal=terminal,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        return (await self._call("Create", request, CreateTaskResponse)).pid

    async def start(self, id: str, exec_id: str = "") -> int:
        """Let the task, or a process added by `exec`, run; its pid."""
        request = ProcessRequest(id=id, exec_id=exec_id)
        return (await self._call("Start", request, StartResponse)).pid

    async def exec(
        self,
        id: str,
        exec_id: str,
        spec: bytes,
        *,
        stdin: str = "",
        stdout: str = "",
        stderr: str = "",
        terminal: bool = False,
    ) -> None:
        """Add a process to the task, under an id that no other process of it has.

        `start(id, exec_id)` makes and runs it, and is refused (NOT_FOUND, INVALID_ARGUMENT) if
        there is no such program in the container or it cannot be run; `delete(id, exec_id)` then
        forgets it. `spec` is an OCI process as JSON (`oci.encode(runtime.Process(…))`); the streams
        are addressed as for `create`, and opened by `start`. Further calls take `exec_id`. When
        the task ends its further processes have ended before it.

        Raises TaskError: ALREADY_EXISTS for an id in use, FAILED_PRECONDITION while the task is
        paused or after it has ended, NOT_FOUND if there is no task.
        """
        request = ExecProcessRequest(
            id=id,
            exec_id=exec_id,
            terminal=terminal,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            spec=Any(type_url=_SPEC, value=spec),
        )
        await self._call("Exec", request, Empty)

    async def state(self, id: str, exec_id: str = "") -> TaskState:
        """The state of the task or of one of its further processes."""
        request = ProcessRequest(id=id, exec_id=exec_id)
        answer = await self._call("State", request, StateResponse)
        status = _STATUS[answer.status] if 0 <= answer.status < len(_STATUS) else "unknown"
        return TaskState(status, answer.pid, answer.exit_status, answer.exited_at, answer.bundle)

    async def wait(self, id: str, exec_id: str = "") -> Exit:
        """Wait until the process has ended. A process that ended already answers at once."""
        request = ProcessRequest(id=id, exec_id=exec_id)
        answer = await self._call("Wait", request, WaitResponse)
        return Exit(answer.exit_status, answer.exited_at)

    async def kill(self, id: str, signal: int, all: bool = False, exec_id: str = "") -> None:
        """Send a signal: to the one process, or with `all` to everything in the container."""
        request = KillRequest(id=id, exec_id=exec_id, signal=signal, all=all)
        await self._call("Kill", request, Empty)

    async def delete(self, id: str, exec_id: str = "") -> Exit:
        """Forget a process that has ended, and what it used."""
        request = ProcessRequest(id=id, exec_id=exec_id)
        answer = await self._call("Delete", request, DeleteResponse)
        return Exit(answer.exit_status, answer.exited_at)

    async def pids(self, id: str) -> list[int]:
        """The processes in the container, as the host numbers them."""
        answer = await self._call("Pids", TaskRequest(id=id), PidsResponse)
        return [process.pid for process in answer.processes]

    async def pause(self, id: str) -> None:
        """Freeze the container."""
        await self._call("Pause", TaskRequest(id=id), Empty)

    async def resume(self, id: str) -> None:
        """Thaw the container."""
        await self._call("Resume", TaskRequest(id=id), Empty)

    async def stats(self, id: str) -> Message:
        """Metrics of the container's cgroup: `metrics.MetricsV1` or `metrics.MetricsV2`."""
        from wherry.shim.metrics import decode_metrics

        answer = await self._call("Stats", TaskRequest(id=id), StatsResponse)
        if answer.stats is None:
            raise TaskError("INTERNAL", "the shim answered without statistics")
        try:
            return decode_metrics(answer.stats)
        except InvalidMessage as error:
            raise TaskError("INTERNAL", f"statistics: {error}") from None

    async def update(self, id: str, resources: Resources) -> None:
        """Set other limits."""
        value = Any(type_url=_RESOURCES, value=encode(resources))
        await self._call("Update", UpdateTaskRequest(id=id, resources=value), Empty)

    async def close_io(self, id: str, exec_id: str = "") -> None:
        """Let the process see the end of its stdin, once what was written is read."""
        await self._call("CloseIO", CloseIORequest(id=id, exec_id=exec_id, stdin=True), Empty)

    async def resize(self, id: str, width: int, height: int, exec_id: str = "") -> None:
        """Set the size of the terminal, in columns and rows."""
        request = ResizePtyRequest(id=id, exec_id=exec_id, width=width, height=height)
        await self._call("ResizePty", request, Empty)

    async def shim_pid(self, id: str) -> int:
        """The pid of the shim itself."""
        return (await self._call("Connect", TaskRequest(id=id), ConnectResponse)).shim_pid

    async def shutdown(self, id: str = "", now: bool = False) -> None:
        """Ask the shim to end, if it serves no task any more; with `now` in any case."""
        await self._call("Shutdown", ShutdownRequest(id=id, now=now), Empty)

    async def _call(self, method: str, request: Message, answer: type[M]) -> M:
        try:
            return await self._client.call(messages.TASK_SERVICES[0], method, request, answer)
        except CallError as error:
            raise TaskError(error.code.name, error.message) from None
        except InvalidMessage as error:
            raise TaskError("INTERNAL", f"{method}: {error}") from None
