"""What containerd and a shim say to each other: the task service, events and bootstrap.

Field numbers are those of containerd's `api/runtime/task`, `api/events`, `api/types`,
`api/services/ttrpc/events` and `api/runtime/bootstrap`. Task service v2 and v3 share them.
Cgroup metrics are in `wherry.shim.metrics`.
"""

from collections.abc import Mapping, Sequence

from wherry.shim.protobuf import (
    Any,
    Message,
    boolean,
    embedded,
    messages,
    sint,
    string,
    strings,
    text_map,
    timestamp,
    uint,
)

TASK_SERVICES = ("containerd.task.v2.Task", "containerd.task.v3.Task")
EVENTS_SERVICE = "containerd.services.events.ttrpc.v1.Events"

UNKNOWN, CREATED, RUNNING, STOPPED, PAUSED, PAUSING = range(6)
"""containerd.v1.types.Status."""


class Mount(Message):
    type: str = string(1)
    source: str = string(2)
    target: str = string(3)
    options: Sequence[str] = strings(4)


class ProcessInfo(Message):
    pid: int = uint(1)
    info: Any | None = embedded(2, Any)


class ProcessDetails(Message):
    """What `ProcessInfo.info` holds (containerd.runc.v1), for a process added by Exec."""

    exec_id: str = string(1)


class CreateTaskRequest(Message):
    id: str = string(1)
    bundle: str = string(2)
    rootfs: Sequence[Mount] = messages(3, Mount)
    terminal: bool = boolean(4)
    stdin: str = string(5)
    stdout: str = string(6)
    stderr: str = string(7)
    checkpoint: str = string(8)
    parent_checkpoint: str = string(9)
    options: Any | None = embedded(10, Any)


class CreateTaskResponse(Message):
    pid: int = uint(1)


class ProcessRequest(Message):
    """Start, Delete, State and Wait: a task, or one of its further processes."""

    id: str = string(1)
    exec_id: str = string(2)


class StartResponse(Message):
    pid: int = uint(1)


class DeleteResponse(Message):
    pid: int = uint(1)
    exit_status: int = uint(2)
    exited_at: int = timestamp(3)


class ExecProcessRequest(Message):
    id: str = string(1)
    exec_id: str = string(2)
    terminal: bool = boolean(3)
    stdin: str = string(4)
    stdout: str = string(5)
    stderr: str = string(6)
    spec: Any | None = embedded(7, Any)


class ResizePtyRequest(Message):
    id: str = string(1)
    exec_id: str = string(2)
    width: int = uint(3)
    height: int = uint(4)


class StateResponse(Message):
    id: str = string(1)
    bundle: str = string(2)
    pid: int = uint(3)
    status: int = sint(4)
    stdin: str = string(5)
    stdout: str = string(6)
    stderr: str = string(7)
    terminal: bool = boolean(8)
    exit_status: int = uint(9)
    exited_at: int = timestamp(10)
    exec_id: str = string(11)


class KillRequest(Message):
    id: str = string(1)
    exec_id: str = string(2)
    signal: int = uint(3)
    all: bool = boolean(4)


class CloseIORequest(Message):
    id: str = string(1)
    exec_id: str = string(2)
    stdin: bool = boolean(3)


class TaskRequest(Message):
    """Pids, Pause, Resume, Stats and Connect."""

    id: str = string(1)


class PidsResponse(Message):
    processes: Sequence[ProcessInfo] = messages(1, ProcessInfo)


class UpdateTaskRequest(Message):
    id: str = string(1)
    resources: Any | None = embedded(2, Any)
    annotations: Mapping[str, str] = text_map(3)


class WaitResponse(Message):
    exit_status: int = uint(1)
    exited_at: int = timestamp(2)


class StatsResponse(Message):
    stats: Any | None = embedded(1, Any)


class ConnectResponse(Message):
    shim_pid: int = uint(1)
    task_pid: int = uint(2)
    version: str = string(3)


class ShutdownRequest(Message):
    id: str = string(1)
    now: bool = boolean(2)


class TaskIO(Message):
    stdin: str = string(1)
    stdout: str = string(2)
    stderr: str = string(3)
    terminal: bool = boolean(4)


class TaskCreate(Message):
    container_id: str = string(1)
    bundle: str = string(2)
    rootfs: Sequence[Mount] = messages(3, Mount)
    io: TaskIO | None = embedded(4, TaskIO)
    checkpoint: str = string(5)
    pid: int = uint(6)


class TaskStart(Message):
    container_id: str = string(1)
    pid: int = uint(2)


class TaskDelete(Message):
    container_id: str = string(1)
    pid: int = uint(2)
    exit_status: int = uint(3)
    exited_at: int = timestamp(4)
    id: str = string(5)


class TaskExit(Message):
    container_id: str = string(1)
    id: str = string(2)
    pid: int = uint(3)
    exit_status: int = uint(4)
    exited_at: int = timestamp(5)


class TaskOOM(Message):
    container_id: str = string(1)


class TaskExecAdded(Message):
    container_id: str = string(1)
    exec_id: str = string(2)


class TaskExecStarted(Message):
    container_id: str = string(1)
    exec_id: str = string(2)
    pid: int = uint(3)


class TaskPaused(Message):
    container_id: str = string(1)


class TaskResumed(Message):
    container_id: str = string(1)


TaskEvent = (
    TaskCreate
    | TaskStart
    | TaskDelete
    | TaskExit
    | TaskOOM
    | TaskExecAdded
    | TaskExecStarted
    | TaskPaused
    | TaskResumed
)

TOPICS: dict[str, type[TaskEvent]] = {
    "/tasks/create": TaskCreate,
    "/tasks/start": TaskStart,
    "/tasks/delete": TaskDelete,
    "/tasks/exit": TaskExit,
    "/tasks/oom": TaskOOM,
    "/tasks/exec-added": TaskExecAdded,
    "/tasks/exec-started": TaskExecStarted,
    "/tasks/paused": TaskPaused,
    "/tasks/resumed": TaskResumed,
}


class Envelope(Message):
    timestamp: int = timestamp(1)
    namespace: str = string(2)
    topic: str = string(3)
    event: Any | None = embedded(4, Any)


class ForwardRequest(Message):
    envelope: Envelope | None = embedded(1, Envelope)


class RuntimeVersion(Message):
    version: str = string(1)
    revision: str = string(2)


class RuntimeInfo(Message):
    """What `-info` prints (containerd 2.2)."""

    name: str = string(1)
    version: RuntimeVersion | None = embedded(2, RuntimeVersion)
    options: Any | None = embedded(3, Any)
    features: Any | None = embedded(4, Any)
    annotations: Mapping[str, str] = text_map(5)


class BootstrapParams(Message):
    """What `start` reads on stdin (containerd 2.3)."""

    instance_id: str = string(1)
    namespace: str = string(2)
    log_level: int = sint(3)
    containerd_version: str = string(4)
    containerd_ttrpc_address: str = string(5)
    containerd_grpc_address: str = string(6)
    containerd_binary: str = string(7)
    socket_dir: str = string(9)
