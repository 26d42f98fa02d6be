"""One task: a container with its first process and further ones."""

from wherry.oci.runtime import Mount
from wherry.shim.messages import PAUSED, RUNNING, CreateTaskRequest
from wherry.shim.server.bundle import Wishes
from wherry.shim.server.execs import Exec, ExecLauncher
from wherry.shim.server.oom import OomWatch
from wherry.shim.server.process import TaskProcess
from wherry.shim.ttrpc import CallError, Code


class Task:
    """A container that was created and is not deleted. `init` is its first process."""

    def __init__(
        self,
        request: CreateTaskRequest,
        wishes: Wishes,
        init: TaskProcess,
        launcher: ExecLauncher,
        rootfs: tuple[Mount, ...],
    ) -> None:
        self.id = request.id
        self.bundle = request.bundle
        self.init = init
        self.launcher = launcher
        """What made it, and makes further processes of it."""
        self.rootfs = rootfs
        self.execs: dict[str, Exec] = {}
        self.seconds = wishes.seconds
        self.oom_kills = 0
        self.oom_watch: OomWatch | None = None
        self.has_ended = False
        """Whether `init` is gone; it is told once all `execs` are."""

    def process(self, exec_id: str) -> TaskProcess | Exec:
        """The first process, or the one that was added under `exec_id`."""
        if not exec_id:
            return self.init
        process = self.execs.get(exec_id)
        if process is None:
            raise CallError(Code.NOT_FOUND, f"container {self.id} has no process {exec_id}")
        return process

    def status_of(self, process: TaskProcess | Exec) -> int:
        """What one of its processes does; a container that is paused is so as a whole."""
        if process.status == RUNNING and self.init.status == PAUSED:
            return PAUSED
        return process.status

    @property
    def has_live_execs(self) -> bool:
        """Whether a further process runs, or is being made."""
        return any(exec.is_live for exec in self.execs.values())
