"""The tasks of one shim: made, started, stopped, watched and forgotten."""

import signal
from collections.abc import Callable
from dataclasses import replace

from wherry import oci
from wherry.oci.runtime import Mount, Resources
from wherry.runtime import (
    ContainerEnded,
    ContainerProcess,
    CreateRequest,
    Launcher,
    LaunchError,
    NotWasm,
)
from wherry.runtime.exits import NOT_FOUND
from wherry.runtime.sandbox.cgroups import CgroupError
from wherry.shim import messages
from wherry.shim.containerd import Images
from wherry.shim.messages import (
    CREATED,
    PAUSED,
    RUNNING,
    STOPPED,
    CreateTaskRequest,
    ExecProcessRequest,
    TaskEvent,
)
from wherry.shim.server.bundle import BundleError, leave_note, read_wishes, remove_note
from wherry.shim.server.execs import Exec, ExecLauncher, read_process
from wherry.shim.server.linux import LinuxContainers
from wherry.shim.server.logs import Logs
from wherry.shim.server.oom import OomWatch
from wherry.shim.server.process import TaskProcess
from wherry.shim.server.readers import readers_of
from wherry.shim.server.stdio import Stdio, StdioError
from wherry.shim.server.task import Task
from wherry.shim.ttrpc import CallError, Code

_LAUNCH_CODES = {126: Code.INVALID_ARGUMENT, 127: Code.NOT_FOUND}
"""How a container that cannot be run is told from an engine that failed, by exit code."""

_DOCKERS_WORDS = {126: "permission denied", 127: "no such file or directory"}
"""By these words in a message, and nothing else, Docker knows which exit code to give."""


class Tasks:
    """All tasks of this shim. Its methods raise CallError."""

    def __init__(
        self,
        launcher: Launcher,
        linux: LinuxContainers,
        publish: Callable[[TaskEvent], None],
        report: Callable[[str], None],
        images: Images | None = None,
    ) -> None:
        """`images` is whom to ask for the image of a container without its program."""
        self._launcher = launcher
        self._images = images
        self._linux = linux
        self._publish = publish
        self._report = report
        self._logs = Logs()
        self._tasks: dict[str, Task | None] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def find(self, id: str) -> Task:
        """The task of a container."""
        task = self._tasks.get(id)
        if task is None:
            raise CallError(Code.NOT_FOUND, f"container {id} has no task")
        return task

    async def create(self, request: CreateTaskRequest) -> Task:
        """Make a container, ready to start."""
        if request.id in self._tasks:
            raise CallError(Code.ALREADY_EXISTS, f"container {request.id} has a task already")
        if request.checkpoint:
            raise CallError(Code.UNIMPLEMENTED, "checkpoints cannot be restored")
        self._tasks[request.id] = None
        try:
            task = await self._create(request)
        except BaseException:
            del self._tasks[request.id]
            raise
        self._tasks[request.id] = task
        self._publish(
            messages.TaskCreate(
                container_id=request.id,
                bundle=request.bundle,
                rootfs=request.rootfs,
                io=messages.TaskIO(
                    stdin=request.stdin,
                    stdout=request.stdout,
                    stderr=request.stderr,
                    terminal=request.terminal,
                ),
                pid=task.init.pid,
            )
        )
        return task

    async def _create(self, request: CreateTaskRequest) -> Task:
        try:
            wishes = read_wishes(request.bundle)
            stdio = Stdio(request.stdin, request.stdout, request.stderr, request.terminal)
            async with readers_of(request.stdout, request.stderr):
                stdio.open(self._logs, wishes.size)
        except (BundleError, StdioError) as error:
            raise CallError(Code.INVALID_ARGUMENT, str(error)) from None
        stdin, stdout, stderr = stdio.given
        rootfs = tuple(
            Mount(destination="", type=m.type, source=m.source, options=list(m.options))
            for m in request.rootfs
        )
        wanted = CreateRequest(
            id=request.id,
            bundle=request.bundle,
            rootfs=rootfs,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            on_made=lambda pid, cgroup: self._leave_note(request.bundle, pid, cgroup),
            exposed=lambda: self._exposed_ports(request.id),
        )
        launcher: ExecLauncher = self._launcher
        process: ContainerProcess
        try:
            try:
                process = await self._create_wasm(wanted, wishes.program)
            except NotWasm as error:
                if wishes.wasm_only:
                    raise
                process, launcher = await self._linux.create(wanted, request.options, error)
                self._leave_note(request.bundle, process.pid, process.cgroup.path)
        except LaunchError as error:
            remove_note(request.bundle)
            stdio.close()
            raise _refusal(error) from None
        except BaseException:
            remove_note(request.bundle)
            stdio.close()
            raise
        stdio.handed_over(process.terminal)
        init = TaskProcess(process, stdio, lambda _: self._init_gone(task))
        task = Task(request, wishes, init, launcher, rootfs)
        if init.takes_signals:
            # Of several processes one that is not the first may be the one that is killed.
            task.oom_watch = OomWatch(process.cgroup, lambda: self._look_for_oom(task))
        return task

    def _leave_note(self, bundle: str, pid: int, cgroup: str) -> None:
        try:
            leave_note(bundle, pid, cgroup)
        except OSError as error:
            # Only a shim that dies by force misses it: a cgroup stays behind, and what hooks made.
            self._report(f"{bundle}: {error.strerror}")

    async def _create_wasm(self, request: CreateRequest, program: str) -> ContainerProcess:
        try:
            return await self._launcher.create(request)
        except LaunchError as error:
            if error.exit_code != NOT_FOUND or self._images is None:
                raise
            from wherry.shim.containerd.artifact import Artifacts

            artifacts = Artifacts(self._images, self._report)
            module = await artifacts.module_of(request.id, program)
            if module is None:
                raise
        return await self._launcher.create(replace(request, rootfs=(*request.rootfs, module)))

    async def _exposed_ports(self, container: str) -> list[str]:
        if self._images is None:
            return []
        # Here, for shims whose modules have no use for it.
        from wherry.shim.containerd.image import exposed_ports

        return await exposed_ports(self._images, container, self._report)

    def exec(self, request: ExecProcessRequest) -> None:
        """Add a process to a container; `start` makes it."""
        task = self.find(request.id)
        if request.exec_id in task.execs:
            reason = f"container {task.id} has a process {request.exec_id} already"
            raise CallError(Code.ALREADY_EXISTS, reason)
        if not request.exec_id:
            raise CallError(Code.INVALID_ARGUMENT, "a process that is added needs an id")
        _refuse_exec(task)
        try:
            process = read_process(request)
        except oci.InvalidDocument as error:
            raise CallError(Code.INVALID_ARGUMENT, str(error)) from None
        task.execs[request.exec_id] = Exec(
            request, process, lambda exec: self._exec_gone(task, exec)
        )
        self._publish(messages.TaskExecAdded(container_id=task.id, exec_id=request.exec_id))

    async def start(self, id: str, exec_id: str) -> TaskProcess | Exec:
        """Let a process run."""
        task = self.find(id)
        process = task.process(exec_id)
        if not process.is_startable:
            what = f"process {exec_id} of container {id}" if exec_id else f"container {id}"
            reason = f"{what} cannot be started: it was started already"
            raise CallError(Code.FAILED_PRECONDITION, reason)
        try:
            if isinstance(process, Exec):
                await self._start_exec(task, process)
            else:
                await process.start(task.seconds)
                self._publish(messages.TaskStart(container_id=id, pid=process.pid))
        except LaunchError as error:
            raise _refusal(error) from None
        return process

    async def _start_exec(self, task: Task, exec: Exec) -> None:
        _refuse_exec(task)
        try:
            await exec.start(
                task.launcher,
                self._logs,
                container=task.init.made,
                bundle=task.bundle,
                rootfs=task.rootfs,
            )
        except ContainerEnded:
            raise _no_exec(task, "has ended") from None
        except StdioError as error:
            raise CallError(Code.INVALID_ARGUMENT, str(error)) from None
        else:
            self._publish(
                messages.TaskExecStarted(container_id=task.id, exec_id=exec.id, pid=exec.pid)
            )
        finally:
            self._tell_end(task)

    def kill(self, id: str, exec_id: str, number: int, everything: bool) -> None:
        """Send a signal to a process, or to everything in the container."""
        task = self.find(id)
        process = task.process(exec_id)
        if process.status == STOPPED:
            raise CallError(Code.NOT_FOUND, f"container {id}: process already finished")
        if exec_id and process.status == CREATED:
            reason = f"process {exec_id} of container {id} does not run yet"
            raise CallError(Code.FAILED_PRECONDITION, reason)
        process.kill(number)
        if everything and process is task.init:
            if process.takes_signals:
                process.kill_others(number)
            for exec in () if process.takes_signals else task.execs.values():
                exec.kill(number)

    async def delete(self, id: str, exec_id: str) -> TaskProcess | Exec:
        """Forget a process that has exited or was never started."""
        task = self.find(id)
        process = task.process(exec_id)
        if process.status in (RUNNING, PAUSED) or (isinstance(process, Exec) and process.is_live):
            what = f"process {exec_id} of container {id}" if exec_id else f"container {id}"
            reason = f"{what} cannot be deleted: it is still running"
            raise CallError(Code.FAILED_PRECONDITION, reason)
        if process.status == CREATED and not exec_id:
            process.kill(signal.SIGKILL)
            await process.wait()
            if self._tasks.get(id) is not task:
                raise CallError(Code.NOT_FOUND, f"container {id} has no task")
        if exec_id:
            del task.execs[exec_id]
        else:
            del self._tasks[id]
        for one in (process,) if exec_id else (*task.execs.values(), process):
            try:
                await one.close()
            except (LaunchError, OSError) as error:
                self._report(f"container {id}: {error}")
        if not exec_id:
            # Not before: should this process die now, its last hooks are still owed.
            remove_note(task.bundle)
            self._publish(
                messages.TaskDelete(
                    container_id=id,
                    pid=process.pid,
                    exit_status=process.exit_status,
                    exited_at=process.exited_at,
                )
            )
        return process

    def pids(self, id: str) -> list[int]:
        """The processes in a container.

        A stopped one is still answered with its first: a containerd that restarted takes a task
        without processes for leaked, and would delete it with its exit status.
        """
        task = self.find(id)
        return task.init.cgroup.pids() or [task.init.pid]

    async def pause(self, id: str) -> None:
        """Freeze a container."""
        process = self._running(id, RUNNING, "paused")
        try:
            await process.pause()
        except (CgroupError, LaunchError) as error:
            raise CallError(Code.UNKNOWN, str(error)) from None
        self._publish(messages.TaskPaused(container_id=id))

    async def resume(self, id: str) -> None:
        """Thaw a container."""
        process = self._running(id, PAUSED, "resumed")
        try:
            await process.resume()
        except (CgroupError, LaunchError) as error:
            raise CallError(Code.UNKNOWN, str(error)) from None
        self._publish(messages.TaskResumed(container_id=id))

    async def update(self, id: str, document: bytes) -> None:
        """Set other limits: `document` is an OCI resources object as JSON."""
        try:
            resources = oci.decode(document, Resources, "the new limits")
            await self.find(id).init.update(resources, document)
        except (CgroupError, LaunchError, oci.InvalidDocument) as error:
            raise CallError(Code.INVALID_ARGUMENT, str(error)) from None

    def _running(self, id: str, status: int, verb: str) -> TaskProcess:
        process = self.find(id).init
        if process.status != status:
            word = ("unknown", "created", "running", "stopped", "paused")[process.status]
            reason = f"container {id} cannot be {verb}: it is {word}"
            raise CallError(Code.FAILED_PRECONDITION, reason)
        return process

    def _init_gone(self, task: Task) -> None:
        task.has_ended = True
        if task.oom_watch is not None:
            task.oom_watch.close()
        if task.has_live_execs:
            # Those of its pid namespace die with it; but it may have none of its own.
            task.init.cgroup.kill()
        self._tell_end(task)

    def _exec_gone(self, task: Task, exec: Exec) -> None:
        self._tell_exit(task, exec, exec.id)
        self._tell_end(task)

    def _tell_end(self, task: Task) -> None:
        """The first process is the last whose exit is told."""
        if task.has_ended and task.init.status != STOPPED and not task.has_live_execs:
            task.init.finish()
            self._tell_exit(task, task.init, task.id)

    def _tell_exit(self, task: Task, process: TaskProcess | Exec, id: str) -> None:
        if process.was_killed:
            self._look_for_oom(task)
        elif process is task.init and task.init.was_refused_memory:
            self._publish(messages.TaskOOM(container_id=task.id))
        self._publish(
            messages.TaskExit(
                container_id=task.id,
                id=id,
                pid=process.pid,
                exit_status=process.exit_status,
                exited_at=process.exited_at,
            )
        )

    def _look_for_oom(self, task: Task) -> bool:
        kills = task.init.cgroup.stats().oom_kills
        if kills <= task.oom_kills:
            return False
        task.oom_kills = kills
        self._publish(messages.TaskOOM(container_id=task.id))
        return True

    def close(self) -> None:
        """Make no more containers; those there are live on."""
        self._launcher.close()
        self._linux.close()


def _refuse_exec(task: Task) -> None:
    if task.has_ended:
        raise _no_exec(task, "has ended")
    if task.init.status == PAUSED:
        raise _no_exec(task, "is paused: resume it first")


def _no_exec(task: Task, why: str) -> CallError:
    reason = f"no process can be added to container {task.id}: it {why}"
    return CallError(Code.FAILED_PRECONDITION, reason)


def _refusal(error: LaunchError) -> CallError:
    word = _DOCKERS_WORDS.get(error.exit_code, "")
    message = error.message if word in error.message else f"{error.message}: {word}"
    return CallError(_LAUNCH_CODES.get(error.exit_code, Code.UNKNOWN), message)
