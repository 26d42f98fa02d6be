"""containerd's task service: messages in, calls of `Tasks`, messages out (task v2 and v3)."""

import os
from collections.abc import Callable

from wherry.shim.messages import (
    CloseIORequest,
    ConnectResponse,
    CreateTaskRequest,
    CreateTaskResponse,
    DeleteResponse,
    ExecProcessRequest,
    KillRequest,
    PidsResponse,
    ProcessDetails,
    ProcessInfo,
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
from wherry.shim.protobuf import Any, Empty
from wherry.shim.server.execs import Exec
from wherry.shim.server.tasks import Tasks
from wherry.shim.ttrpc import CallError, Code
from wherry.shim.ttrpc.server import Handler


class TaskService:
    """The methods of containerd.task.v2.Task, which are those of v3."""

    def __init__(self, tasks: Tasks, shutdown: Callable[[bool], None]) -> None:
        self._tasks = tasks
        self._shutdown = shutdown

    def methods(self) -> dict[str, Handler]:
        """Handlers by method. A method that is absent answers UNIMPLEMENTED (Checkpoint)."""
        return {
            "Create": self.create,
            "Exec": self.exec,
            "Start": self.start,
            "State": self.state,
            "Wait": self.wait,
            "Kill": self.kill,
            "Delete": self.delete,
            "Pids": self.pids,
            "Pause": self.pause,
            "Resume": self.resume,
            "Stats": self.stats,
            "Update": self.update,
            "CloseIO": self.close_io,
            "ResizePty": self.resize_pty,
            "Connect": self.connect,
            "Shutdown": self.shutdown,
        }

    async def create(self, payload: bytes) -> CreateTaskResponse:
        """Make a container, ready to start."""
        task = await self._tasks.create(CreateTaskRequest.decode(payload))
        return CreateTaskResponse(pid=task.init.pid)

    async def exec(self, payload: bytes) -> Empty:
        """Add a process to a container; `start` makes it."""
        self._tasks.exec(ExecProcessRequest.decode(payload))
        return Empty()

    async def start(self, payload: bytes) -> StartResponse:
        """Let a process run."""
        request = ProcessRequest.decode(payload)
        process = await self._tasks.start(request.id, request.exec_id)
        return StartResponse(pid=process.pid)

    async def state(self, payload: bytes) -> StateResponse:
        """What a process is doing."""
        request = ProcessRequest.decode(payload)
        task = self._tasks.find(request.id)
        process = task.process(request.exec_id)
        return StateResponse(
            id=request.id,
            bundle=task.bundle,
            pid=process.pid,
            status=task.status_of(process),
            stdin=process.stdio.stdin_address,
            stdout=process.stdio.stdout_address,
            stderr=process.stdio.stderr_address,
            terminal=process.stdio.terminal,
            exit_status=process.exit_status,
            exited_at=process.exited_at,
            exec_id=request.exec_id,
        )

    async def wait(self, payload: bytes) -> WaitResponse:
        """Answer when a process has exited."""
        request = ProcessRequest.decode(payload)
        process = self._tasks.find(request.id).process(request.exec_id)
        await process.wait()
        return WaitResponse(exit_status=process.exit_status, exited_at=process.exited_at)

    async def kill(self, payload: bytes) -> Empty:
        """Send a signal."""
        request = KillRequest.decode(payload)
        if request.signal > 64:
            raise CallError(Code.INVALID_ARGUMENT, f"there is no signal {request.signal}")
        self._tasks.kill(request.id, request.exec_id, request.signal, request.all)
        return Empty()

    async def delete(self, payload: bytes) -> DeleteResponse:
        """Forget a process that has exited."""
        request = ProcessRequest.decode(payload)
        process = await self._tasks.delete(request.id, request.exec_id)
        return DeleteResponse(
            pid=process.pid, exit_status=process.exit_status, exited_at=process.exited_at
        )

    async def pids(self, payload: bytes) -> PidsResponse:
        """The processes in a container."""
        id = TaskRequest.decode(payload).id
        execs = {exec.pid: exec for exec in self._tasks.find(id).execs.values()}
        return PidsResponse(
            processes=[
                ProcessInfo(pid=pid, info=_details(execs[pid]) if pid in execs else None)
                for pid in self._tasks.pids(id)
            ]
        )

    async def pause(self, payload: bytes) -> Empty:
        """Freeze a container."""
        await self._tasks.pause(TaskRequest.decode(payload).id)
        return Empty()

    async def resume(self, payload: bytes) -> Empty:
        """Thaw a container."""
        await self._tasks.resume(TaskRequest.decode(payload).id)
        return Empty()

    async def stats(self, payload: bytes) -> StatsResponse:
        """What a container has used."""
        from wherry.shim.server.statistics import measure

        cgroup = self._tasks.find(TaskRequest.decode(payload).id).init.cgroup
        return StatsResponse(stats=measure(cgroup))

    async def update(self, payload: bytes) -> Empty:
        """Set other limits."""
        request = UpdateTaskRequest.decode(payload)
        if request.resources is not None:
            await self._tasks.update(request.id, request.resources.value)
        return Empty()

    async def close_io(self, payload: bytes) -> Empty:
        """End a process's stdin."""
        request = CloseIORequest.decode(payload)
        process = self._tasks.find(request.id).process(request.exec_id)
        if request.stdin:
            process.stdio.close_stdin()
        return Empty()

    async def resize_pty(self, payload: bytes) -> Empty:
        """Set the size of a terminal."""
        request = ResizePtyRequest.decode(payload)
        process = self._tasks.find(request.id).process(request.exec_id)
        process.stdio.resize(request.width, request.height)
        return Empty()

    async def connect(self, payload: bytes) -> ConnectResponse:
        """Who is there: asked of a shim before and after it has the task."""
        try:
            pid = self._tasks.find(TaskRequest.decode(payload).id).init.pid
        except CallError:
            pid = 0
        return ConnectResponse(shim_pid=os.getpid(), task_pid=pid, version="v2")

    async def shutdown(self, payload: bytes) -> Empty:
        """The caller needs this shim no more; others may."""
        self._shutdown(ShutdownRequest.decode(payload).now)
        return Empty()


def _details(exec: Exec) -> Any:
    """Under which id a process was added, in the words of containerd's own shim."""
    return Any(
        type_url="containerd.runc.v1.ProcessDetails",
        value=ProcessDetails(exec_id=exec.id).encode(),
    )
