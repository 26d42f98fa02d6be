"""Exec: further processes in running containers, each from its request to its exit code.

They live no longer than the engine that started them: it alone has their streams, and Docker's
API has no way to meet one again that its client has let go of. So an engine that ends takes them
along, one that comes back clears away what a killed one left, and a client that vanishes without
having typed the detach keys ends its process.
"""

import asyncio
import shutil
import signal
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from wherry.engine.containers.container import Container
from wherry.engine.containers.context import Context
from wherry.engine.containers.exec import Exec
from wherry.engine.containers.exec_session import Session
from wherry.engine.containers.exec_streams import ExecStreams
from wherry.engine.containers.process import build_process
from wherry.engine.containers.running import running_task
from wherry.engine.containers.start_failure import start_failed
from wherry.engine.containers.users import User, find_user, mapped
from wherry.engine.errors import Conflict, EngineError, InvalidRequest, NotFound, StartFailed
from wherry.engine.exec_config import ExecConfig
from wherry.oci import encode
from wherry.shim.client import Exit, TaskClient, TaskError

_KILLED = 128 + signal.SIGKILL
_NOT_RUNNABLE = 126
"""Exit code of a process that could not be started, where nothing tells it better, as in Docker."""

_FAILED = "OCI runtime exec failed"
"""As Docker's clients know it; runc and crun say so by themselves."""

_REMEMBERED = 1024
"""How many that do not run are kept to be asked about."""

_TOLD = 1000
"""Characters of a command line."""

_GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL for a process whose client has vanished, as in Docker."""

_GOODBYE = 2.0
"""Seconds for all of them to end when the engine does."""


class Execs:
    """All execs of the engine. Errors are those of `wherry.engine.errors`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._known: dict[str, Exec] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._streams: dict[str, ExecStreams] = {}
        self._errands: set[asyncio.Task[None]] = set()

    def get(self, id: str) -> Exec:
        """The exec of that id, which must be whole. Raises NotFound."""
        found = self._known.get(id)
        if found is None:
            raise NotFound(f"No such exec instance: {id}")
        return found

    def create(self, container: Container, config: ExecConfig) -> Exec:
        """Prepare an exec; `start` runs it. Raises Conflict (does not run, or is paused)."""
        _task(container)
        exec = Exec(token_hex(32), container, config)
        self._known[exec.id] = container.execs[exec.id] = exec
        self._forget_old()
        self._tell(exec, _action("exec_create", exec))
        return exec

    async def start(
        self, exec: Exec, *, attached: bool, size: tuple[int, int] | None = None
    ) -> Session:
        """Run it; with `attached` its streams are in what is returned.

        Raises Conflict (has run, or the container does not), and StartFailed; then its exit code
        is that of the error.
        """
        if exec.exit_code is not None:
            raise Conflict(f"exec command {exec.id} has already run")
        if exec.started:
            raise Conflict(f"exec command {exec.id} is already running")
        container = exec.container
        task = _task(container)
        exec.started = True
        self._tell(exec, _action("exec_start", exec))
        streams = ExecStreams(_folder(self._context, container) / exec.id)
        self._streams[exec.id] = streams
        try:
            streams.open(container.id, exec.id, exec.config, attached=attached)
            launching = asyncio.ensure_future(self._launch(exec, task, streams, size))
            await asyncio.shield(launching)
        except (TaskError, EngineError, OSError) as error:
            failure = start_failed(error, otherwise=_NOT_RUNNABLE)
            # Whoever asked may go meanwhile, but not leave half of it.
            await asyncio.shield(self._run(self._undo(exec, task, failure.exit_code)))
            if isinstance(error, Conflict):
                raise
            message = f"{_FAILED}: {failure.message.removeprefix(_FAILED).lstrip(': ')}"
            raise StartFailed(message, failure.exit_code) from None
        except asyncio.CancelledError:
            # What the shim has begun is not to be stopped half-way.
            self._run(self._undo(exec, task, _KILLED, launching))
            raise
        watching = asyncio.create_task(self._watch(exec, task, streams))
        self._watches[exec.id] = watching
        watching.add_done_callback(lambda _: self._watches.pop(exec.id, None))
        return Session(self, exec, streams)

    async def _launch(
        self, exec: Exec, task: TaskClient, streams: ExecStreams, size: tuple[int, int] | None
    ) -> None:
        container, config = exec.container, exec.config
        process = build_process(
            container.record,
            args=exec.args,
            env=[*(container.config.env or ()), *(config.env or ())],
            cwd=config.working_dir or container.config.working_dir,
            user=self._user(exec),
            tty=config.tty,
            size=size or config.console_size,
            privileged=config.privileged,
        )
        try:
            await task.exec(
                container.id,
                exec.id,
                encode(process),
                stdin=streams.stdin_path,
                stdout=streams.stdout_path,
                stderr=streams.stderr_path,
                terminal=config.tty,
            )
        except TaskError as error:
            if error.code in ("NOT_FOUND", "FAILED_PRECONDITION"):
                raise _refusal(container) from None
            raise
        try:
            exec.pid = await task.start(container.id, exec.id)
        except TaskError as error:
            if error.code == "NOT_FOUND" and not await _is_running(task, container.id):
                raise _refusal(container) from None
            raise
        await streams.started(task)

    def _user(self, exec: Exec) -> User:
        record = exec.container.record
        if not exec.config.user:
            return User(*record.user, record.groups, record.home)
        # What the container has written comes before what its image has.
        upper = str(self._context.bundle(exec.container) / "upper")
        user = find_user(exec.config.user, record.host.group_add or (), [upper, *record.layers])
        return user if record.is_wasm else mapped(user)

    async def _undo(
        self,
        exec: Exec,
        task: TaskClient,
        exit_code: int,
        launching: "asyncio.Future[None] | None" = None,
    ) -> None:
        """It has come to nothing, once `launching` is done: leave none of it."""
        if launching is not None:
            await asyncio.gather(launching, return_exceptions=True)
        self._streams[exec.id].drop()
        await _forget_process(task, exec.container.id, exec.id)
        self._streams.pop(exec.id).remove()
        self._ended(exec, exit_code)

    def _ended(self, exec: Exec, exit_code: int) -> None:
        exec.container.execs.pop(exec.id, None)
        exec.end(exit_code)

    async def _watch(self, exec: Exec, task: TaskClient, streams: ExecStreams) -> None:
        last, exit = await self._await_exit(exec, task)
        self._ended(exec, exit.status)
        self._tell(exec, "exec_die", exitCode=str(exit.status))
        streams.over()
        # A terminal's last output may still be in the shim.
        await streams.finished.wait()
        if last is not None:
            with suppress(TaskError):
                await last.delete(exec.container.id, exec.id)
        self._streams.pop(exec.id).remove()
        self._forget_old()

    async def _await_exit(
        self, exec: Exec, task: TaskClient | None
    ) -> tuple[TaskClient | None, Exit]:
        """Wait for the end; without a shim any more there is only the end."""
        container = exec.container
        while task is not None:
            try:
                return task, await task.wait(container.id, exec.id)
            except TaskError as error:
                if error.code != "UNAVAILABLE":
                    break
            # The connection broke; the shim itself may still be there.
            bundle = self._context.bundle(container)
            task = await self._context.shims.find(container.host.runtime, bundle)
        return None, Exit(_KILLED, time.time_ns())

    async def kill(self, exec: Exec, number: int = signal.SIGKILL) -> None:
        """Send it a signal; one that has ended takes none."""
        container = exec.container
        if exec.running and container.task is not None:
            with suppress(TaskError):
                await container.task.kill(container.id, number, exec_id=exec.id)

    async def resize(self, exec: Exec, height: int, width: int) -> None:
        """Tell its terminal the size. Raises Conflict (does not run), InvalidRequest."""
        if not 0 < height < 1 << 16 or not 0 < width < 1 << 16:
            raise InvalidRequest(f"a terminal cannot have {width} columns and {height} rows")
        task = exec.container.task
        if not exec.running or task is None:
            raise Conflict(f"exec command {exec.id} is not running")
        try:
            await task.resize(exec.container.id, width, height, exec.id)
        except TaskError as error:
            raise Conflict(f"Cannot resize exec {exec.id}: {error.message}") from None

    def detached(self, exec: Exec, streams: ExecStreams) -> None:
        """Its client lets go of it."""
        self._tell(exec, "exec_detach")
        self._run(_drain(streams))

    def end_soon(self, exec: Exec, *, at_once: bool) -> None:
        """Nobody waits for it any more: let it end."""
        if exec.running:
            self._run(self.kill(exec) if at_once else self._end(exec))

    async def _end(self, exec: Exec) -> None:
        await self.kill(exec, signal.SIGTERM)
        try:
            async with asyncio.timeout(_GRACE):
                await exec.ended.wait()
        except TimeoutError:
            await self.kill(exec)

    async def container_ended(self, container: Container) -> None:
        """The container's first process has ended: so do all others, and what was only planned.

        Those that live beside it, where there are no namespaces, are killed.
        """
        for exec in tuple(container.execs.values()):
            if not exec.started:
                self.discard(exec)
                continue
            await self.kill(exec)
            with suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await exec.ended.wait()

    def discard(self, exec: Exec) -> None:
        """Nobody will ask about it any more."""
        self._known.pop(exec.id, None)
        exec.container.execs.pop(exec.id, None)

    def forget(self, container: Container) -> None:
        """The container has been removed."""
        for exec in tuple(self._known.values()):
            if exec.container is container:
                self.discard(exec)

    async def close(self) -> None:
        """End all of them: nobody will be there to hear them."""
        running = [exec for exec in self._known.values() if exec.running]
        await asyncio.gather(*(self.kill(exec) for exec in running))
        for streams in self._streams.values():
            streams.drop()
        tasks = {*self._watches.values(), *self._errands}
        if tasks:
            await asyncio.wait(tasks, timeout=_GOODBYE)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _tell(self, exec: Exec, action: str, **attributes: str) -> None:
        self._context.tell(exec.container, action, execID=exec.id, **attributes)

    def _run(self, errand: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(errand)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
        return task

    def _forget_old(self) -> None:
        """Let go of the oldest that have ended or were never started: memory stays bounded."""
        idle = [exec for exec in self._known.values() if not exec.running]
        idle.sort(key=lambda exec: exec.started, reverse=True)
        for exec in idle[: max(0, len(idle) - _REMEMBERED)]:
            self.discard(exec)


async def clear_leftovers(context: Context, container: Container, task: TaskClient | None) -> None:
    """End what an engine that was killed had started in a container. `task` is its shim."""
    folder = _folder(context, container)
    if not folder.is_dir():
        return
    if task is not None:
        ids = [entry.name for entry in folder.iterdir()]
        await asyncio.gather(*(_forget_process(task, container.id, id) for id in ids))
    shutil.rmtree(folder, ignore_errors=True)


def _action(verb: str, exec: Exec) -> str:
    """As Docker tells it, with the command line; events are kept, so not with all of a long one."""
    return f"{verb}: {' '.join(exec.args)[:_TOLD]}"


def _folder(context: Context, container: Container) -> Path:
    """Below it each exec that the shim may know has a folder."""
    return context.bundle(container) / "execs"


async def _forget_process(task: TaskClient, id: str, exec_id: str) -> None:
    with suppress(TaskError):
        await task.kill(id, signal.SIGKILL, exec_id=exec_id)
        await task.wait(id, exec_id)
    with suppress(TaskError):
        await task.delete(id, exec_id)


async def _drain(streams: ExecStreams) -> None:
    async for _ in streams:
        pass


async def _is_running(task: TaskClient, id: str) -> bool:
    try:
        return (await task.state(id)).status != "stopped"
    except TaskError:
        return False


def _task(container: Container) -> TaskClient:
    """The shim of a container in which something can be started. Raises Conflict."""
    if container.state.paused:
        raise _refusal(container)
    return running_task(container)


def _refusal(container: Container) -> Conflict:
    if container.state.paused:
        return Conflict(f"Container {container.id} is paused, unpause the container before exec")
    return Conflict(f"Container {container.id} is not running")
