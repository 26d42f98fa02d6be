"""A container's life: how it is started, how its end is dealt with, how it is started again.

The engine's file is written before a person is told, and the order is such that a kill between any
two steps leaves what the next start (see `recovery`) can tell apart: `config.json` lies in the
bundle from before the task is made until it is deleted.
"""

import asyncio
import time
from contextlib import suppress

from wherry.engine.clock import nanoseconds, timestamp
from wherry.engine.containers.admission import admit_again
from wherry.engine.containers.container import Container, Run
from wherry.engine.containers.context import Context
from wherry.engine.containers.execs import Execs
from wherry.engine.containers.health import HealthMonitors
from wherry.engine.containers.networking import Mending, Networking
from wherry.engine.containers.plumbing import Plumbing
from wherry.engine.containers.restart import delay_before_restart
from wherry.engine.containers.start_failure import start_failed
from wherry.engine.containers.task import delete_task, forget_task, make_task, write_config
from wherry.engine.containers.volume_parts import check_parts
from wherry.engine.errors import (
    Conflict,
    EngineError,
    Forbidden,
    NetworkRefused,
    NotFound,
    NotModified,
)
from wherry.engine.inspection import ContainerState
from wherry.engine.shims import WHERRY
from wherry.shim.client import Exit, TaskClient, TaskError

_NETWORK_ERRORS = (Conflict, Forbidden, NetworkRefused, NotFound)

KILLED = 137
"""Exit status of a container whose shim died: what the kernel does to it then."""


class Lifecycle:
    """Starts containers and watches over those that run."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.execs = Execs(context)
        self.networking = Networking(context)
        self.mending = Mending(context, self.networking)
        self._health = HealthMonitors(context, self.execs)
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._strays: set[asyncio.Task[None]] = set()
        self.recovered = asyncio.Event()
        """Set when what the last engine left has been picked up."""
        context.shims.on_stray = self._found_stray

    @property
    def busy(self) -> bool:
        """Some container runs, or will again."""
        return bool(self._watches or self._timers)

    async def close(self) -> None:
        """Watch no more; containers run on, without what exec has added to them."""
        await self._health.close()
        await self.execs.close()
        tasks = [*self._watches.values(), *self._timers.values(), *self._strays]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for container in self._context.index:
            if container.stdin is not None:
                container.stdin.close()
            if container.plumbing is not None:
                container.plumbing.close()
        await self.mending.close()

    async def start(self, container: Container) -> None:
        """Start it for a person.

        Raises NotModified, Conflict, StartFailed; about its networks NotFound, Forbidden,
        NetworkRefused.
        """
        async with container.lock:
            if container.removed:
                raise NotFound(f"No such container: {container.id}")
            state = container.state
            if state.paused:
                raise Conflict("cannot start a paused container, try unpause instead.")
            if state.running and not state.restarting:
                raise NotModified(f"container {container.name} runs already")
            self.cancel_restart(container)
            container.backoff, container.failures = 0.0, 0
            container.life.restart_count = 0
            container.life.stopped_by_hand = False
            await self._launch(container)

    async def _launch(self, container: Container) -> None:
        context = self._context
        context.shims.expect(container.id)
        since = time.time_ns()
        task = None
        try:
            await admit_again(context, container)
            wiring = await self.networking.plug(container)
            write_config(context, container, wiring)
            task, pid = await make_task(context, container)
            check_parts(context, container, pid)
            await self.networking.attach(container, pid)
            run = Run(since)
            # Who is attached opens the log before the guest can write to it.
            container.task, container.run = task, run
            container.tell_run(run)
            if container.stdin is not None:
                await container.stdin.connect(task)
            pid = await task.start(container.id)
        except (TaskError, EngineError, OSError) as error:
            raise await self._launch_failed(container, task, error) from None
        except asyncio.CancelledError:
            self._abandon_run(container)
            if task is not None:
                await asyncio.shield(forget_task(self._context, container, task))
            await asyncio.shield(self.networking.unplug(container))
            raise
        container.life.state = ContainerState(
            status="running",
            running=True,
            pid=pid,
            started_at=timestamp(),
            finished_at=container.state.finished_at,
        )
        context.note(container)
        context.tell(container, "start")
        self.watch(container, task, run)

    async def _launch_failed(
        self, container: Container, task: TaskClient | None, error: Exception
    ) -> EngineError:
        """Put everything back; what is to be raised."""
        died = isinstance(error, TaskError) and error.code == "UNAVAILABLE"
        if task is not None or died:
            await forget_task(self._context, container, task)
        await self.networking.unplug(container)
        failure = start_failed(error)
        state = container.state
        status = "exited" if state.running else state.status
        container.life.state = ContainerState(
            status=status,
            exit_code=failure.exit_code,
            error=failure.message,
            started_at=state.started_at,
            finished_at=state.finished_at,
        )
        (self._context.bundle(container) / "config.json").unlink(missing_ok=True)
        self._abandon_run(container)
        container.tell_run(None)
        self._context.note(container)
        if container.host.auto_remove:
            self.forget(container, volumes=True)
        # What is wrong with its networks has the status that Docker has for it.
        return error if isinstance(error, _NETWORK_ERRORS) else failure

    def watch(self, container: Container, task: TaskClient, run: Run) -> "asyncio.Task[None]":
        """Deal with the container's end when it comes; done when that has been done."""
        container.task, container.run = task, run
        if container.host.runtime != WHERRY and container.plumbing is None:
            bundle, log = self._context.bundle(container), self._context.log(container)
            container.plumbing = Plumbing(bundle, log, tty=container.config.tty, begin=False)
        self._health.begin(container)
        watching = asyncio.create_task(self._watch(container, task))
        self._watches[container.id] = watching

        def done(finished: "asyncio.Task[None]") -> None:
            if self._watches.get(container.id) is finished:
                del self._watches[container.id]

        watching.add_done_callback(done)
        return watching

    async def _watch(self, container: Container, task: TaskClient) -> None:
        last, exit = await self._await_exit(container, task)
        async with container.lock:
            await self._ended(container, last, exit)

    async def _await_exit(
        self, container: Container, task: TaskClient | None
    ) -> tuple[TaskClient | None, Exit]:
        """Wait for the end; without a shim any more there is only the end."""
        runtime, bundle = container.host.runtime, self._context.bundle(container)
        while task is not None:
            try:
                return task, await task.wait(container.id)
            except TaskError as error:
                if error.code != "UNAVAILABLE":
                    break
            # The connection broke; the shim itself may still be there.
            task = await self._context.shims.find(runtime, bundle)
        return None, Exit(KILLED, time.time_ns())

    async def _ended(self, container: Container, task: TaskClient | None, exit: Exit) -> None:
        context, state = self._context, container.state
        limited = bool(container.host.memory)
        oom_killed = await context.shims.ran_out_of_memory(
            container.id, suspected=limited and exit.status != 0 and task is not None
        )
        self._health.end(container)
        await self.networking.unplug(container)
        ran_for = max(0.0, (exit.at - nanoseconds(state.started_at)) / 1e9)
        container.life.state = ContainerState(
            status="exited",
            exit_code=exit.status,
            oom_killed=oom_killed,
            error="" if task is not None else "the shim that ran the container died",
            started_at=state.started_at,
            finished_at=timestamp(exit.at),
            health=state.health,
        )
        delay = delay_before_restart(container, ran_for)
        if delay is not None:
            self._mark_restarting(container)
        context.note(container)
        if oom_killed:
            context.tell(container, "oom")
        context.tell(container, "die", exitCode=str(exit.status), execDuration=str(int(ran_for)))
        await self.execs.container_ended(container)
        # Whoever attaches from here on waits for the next run.
        run = self._end_run(container)
        container.tell_exit()
        await delete_task(self._context, container, task)
        if run is not None:
            run.over.set()
        if delay is not None:
            self._restart_later(container, delay)
        elif container.host.auto_remove and not container.restarting_by_hand:
            self.forget(container, volumes=True)

    def _end_run(self, container: Container) -> Run | None:
        """The container runs no more; the run that it was, to be told so when all is written."""
        run = container.run
        if container.stdin is not None:
            container.stdin.close()
        container.task = container.run = container.stdin = None
        return run

    def _abandon_run(self, container: Container) -> None:
        """The run has come to nothing."""
        if container.plumbing is not None:
            container.plumbing.close()
            container.plumbing = None
        if (run := self._end_run(container)) is not None:
            run.over.set()

    def _mark_restarting(self, container: Container) -> None:
        # Docker counts a container that waits for its next run as running.
        state = container.state
        state.status, state.running, state.restarting = "restarting", True, True

    def restart_soon(self, container: Container) -> None:
        """Start it as its restart policy wants, without waiting."""
        self._mark_restarting(container)
        self._context.note(container)
        self._restart_later(container, 0)

    def _restart_later(self, container: Container, delay: float) -> None:
        timer = asyncio.create_task(self._restart(container, delay))
        self._timers[container.id] = timer

        def done(finished: "asyncio.Task[None]") -> None:
            if self._timers.get(container.id) is finished:
                del self._timers[container.id]

        timer.add_done_callback(done)

    async def _restart(self, container: Container, delay: float) -> None:
        await asyncio.sleep(delay)
        async with container.lock:
            if container.removed or not container.state.restarting:
                return
            container.life.restart_count += 1
            with suppress(EngineError):
                await self._launch(container)

    def _found_stray(self, id: str) -> None:
        """A task has come to be that an engine asked for and was killed before it heard of it."""
        removing = asyncio.create_task(self._remove_stray(id))
        self._strays.add(removing)
        removing.add_done_callback(self._strays.discard)

    async def _remove_stray(self, id: str) -> None:
        await self.recovered.wait()
        if id not in self._context.index:
            return
        container = self._context.index.get(id)
        async with container.lock:
            task = self._context.shims.own
            if task is not None and container.task is None:
                await forget_task(self._context, container, task)

    def cancel_restart(self, container: Container) -> None:
        """Let a container that waits for its next run be one that has ended."""
        timer = self._timers.pop(container.id, None)
        if timer is not None:
            timer.cancel()
        state = container.state
        if state.restarting:
            state.status, state.running, state.restarting = "exited", False, False
            self._context.note(container)

    def forget(self, container: Container, *, volumes: bool, asked: bool = False) -> None:
        """Remove a container that does not run, with its anonymous volumes if `volumes`.

        If somebody has `asked` for that, raises EngineError on a full disk. One that goes by itself
        has gone even if that can be written only later.
        """
        context = self._context
        self.cancel_restart(container)
        names = [mount.name for mount in container.record.mounts if mount.type == "volume"]
        context.volumes.release(container.id, names)
        doomed = [
            name
            for name in names
            if volumes and context.volumes.is_anonymous(name) and not context.volumes.users(name)
        ]
        remember = context.state.remove_container if asked else context.state.note_removed
        remember(container.id, doomed)
        container.removed = True
        context.index.remove(container)
        self.execs.forget(container)
        self._end_run(container)
        context.trash.discard(context.bundle(container))
        context.volumes.discard(doomed)
        context.tell(container, "destroy")
        container.tell_removed()
