"""What people do to a container while it lives: stop, kill, pause, remove, rename, update."""

import asyncio
import signal
from contextlib import suppress

from msgspec import UNSET, structs

from wherry.engine.config import HostConfig, UpdateConfig
from wherry.engine.containers.admission import admit_again
from wherry.engine.containers.container import Container
from wherry.engine.containers.context import Context
from wherry.engine.containers.lifecycle import Lifecycle
from wherry.engine.containers.limits import check_limits, unkept_limits
from wherry.engine.containers.names import check_name
from wherry.engine.containers.restart import check_policy
from wherry.engine.containers.running import running_task, task_errors
from wherry.engine.containers.signals import parse_signal
from wherry.engine.containers.spec import build_resources
from wherry.engine.errors import Conflict, EngineError, InvalidRequest, NotFound, NotModified
from wherry.engine.inspection import UpdateResult
from wherry.shim.client import TaskError

_GRACE = 10
"""Seconds between a stop signal and SIGKILL, as in Docker."""

_GONE = frozenset({"NOT_FOUND", "UNAVAILABLE"})
"""The shim's answers that mean: its end is on its way to us."""


class Control:
    """Commands for containers."""

    def __init__(self, context: Context, lifecycle: Lifecycle) -> None:
        self._context = context
        self._lifecycle = lifecycle

    async def stop(self, container: Container, grace: int | None, signal_name: str | None) -> None:
        """Raises NotModified, InvalidRequest."""
        if not container.state.running:
            raise NotModified(f"container {container.name} does not run")
        name = signal_name or container.config.stop_signal or "SIGTERM"
        number = parse_signal(str(name))
        if grace is None:
            configured = container.config.stop_timeout
            grace = _GRACE if configured is UNSET else configured
        self._stopped_by_hand(container)
        if container.state.restarting:
            self._lifecycle.cancel_restart(container)
        if container.state.running:
            exited = container.next_exit()
            await self._signal(container, number)
            try:
                async with asyncio.timeout(None if grace < 0 else grace):
                    await asyncio.shield(exited)
            except TimeoutError:
                await self._signal(container, signal.SIGKILL)
                await exited
        self._context.tell(container, "stop")

    async def restart(
        self, container: Container, grace: int | None, signal_name: str | None
    ) -> None:
        """Stop it if it runs, and start it. Raises Forbidden, and then it has not been stopped."""
        await admit_again(self._context, container)
        container.restarting_by_hand = True
        try:
            if container.state.running:
                with suppress(NotModified):  # it ended by itself meanwhile
                    await self.stop(container, grace, signal_name)
            await self._lifecycle.start(container)
        finally:
            container.restarting_by_hand = False
        self._context.tell(container, "restart")

    async def kill(self, container: Container, signal_name: str) -> None:
        """Raises Conflict, InvalidRequest."""
        number = parse_signal(signal_name)
        if not container.state.running:
            raise Conflict(
                f"Cannot kill container: {container.name}: container {container.id} is not running"
            )
        stop_signal = container.config.stop_signal or ""
        if number == signal.SIGKILL or not stop_signal or number == parse_signal(stop_signal):
            self._stopped_by_hand(container)
        if container.state.restarting:
            self._lifecycle.cancel_restart(container)
        else:
            await self._signal(container, number)

    async def pause(self, container: Container) -> None:
        """Raises Conflict."""
        async with container.lock:
            task = running_task(container)
            if container.state.paused:
                raise Conflict(f"Container {container.id} is already paused")
            with task_errors(f"Cannot pause container {container.id}"):
                await task.pause(container.id)
            container.state.paused, container.state.status = True, "paused"
            self._context.note(container)
            self._context.tell(container, "pause")

    async def unpause(self, container: Container) -> None:
        """Raises Conflict."""
        async with container.lock:
            if not container.state.paused:
                raise Conflict(f"Container {container.id} is not paused")
            await self._resume(container)

    async def remove(self, container: Container, force: bool, volumes: bool) -> None:
        """Raises NotFound, Conflict."""
        if container.state.running and not force:
            state = "paused" if container.state.paused else "running"
            raise Conflict(
                f"You cannot remove a {state} container {container.id}. Stop the container before "
                "attempting removal or force remove"
            )
        if container.state.running:
            self._stopped_by_hand(container)
            self._lifecycle.cancel_restart(container)
        if container.state.running:
            exited = container.next_exit()
            await self._signal(container, signal.SIGKILL)
            await exited
        async with container.lock:
            if container.removed:
                if force:
                    return
                raise NotFound(f"No such container: {container.id}")
            if container.state.running:
                raise Conflict(f"container {container.id} was started while it was to be removed")
            self._lifecycle.forget(container, volumes=volumes, asked=True)

    async def rename(self, container: Container, name: str) -> None:
        """Raises Conflict, InvalidRequest, EngineError."""
        new, old = check_name(name), container.name
        if new == old:
            raise InvalidRequest("Renaming a container with the same name as its current name")
        index = self._context.index
        index.reserve(new)
        index.rename(container, new)
        container.record.name = new
        self._context.state.save_record(container.record)
        self._context.tell(container, "rename", oldName=f"/{old}")
        async with container.lock:
            await self._lifecycle.networking.update(container)

    async def update(self, container: Container, changes: UpdateConfig) -> UpdateResult:
        """Raises InvalidRequest, Conflict."""
        async with container.lock:
            if container.removed:
                raise NotFound(f"No such container: {container.id}")
            host = _changed(container, changes)
            check_limits(host)
            warnings = unkept_limits(host, is_wasm=container.record.is_wasm)
            if container.task is not None:
                with task_errors(f"Cannot update container {container.id}"):
                    await container.task.update(container.id, build_resources(host))
            container.record.host = host
            self._context.state.save_record(container.record)
            self._context.tell(container, "update")
            return UpdateResult(warnings=warnings)

    async def resize(self, container: Container, height: int, width: int) -> None:
        """Raises Conflict, InvalidRequest."""
        if not 0 < height < 1 << 16 or not 0 < width < 1 << 16:
            raise InvalidRequest(f"a terminal cannot have {width} columns and {height} rows")
        task = running_task(container)
        with task_errors(f"Cannot resize container {container.id}"):
            await task.resize(container.id, width, height)
        self._context.tell(container, "resize", height=str(height), width=str(width))

    def _stopped_by_hand(self, container: Container) -> None:
        if not container.life.stopped_by_hand:
            container.life.stopped_by_hand = True
            self._context.note(container)

    async def _signal(self, container: Container, number: int) -> None:
        task = container.task
        if task is None:
            return
        self._context.tell(container, "kill", signal=str(int(number)))
        try:
            await task.kill(container.id, number, all=number == signal.SIGKILL)
            if container.state.paused and container.state.running:
                await self._resume(container)
        except TaskError as error:
            # It has ended just now, or its shim has: then the end is what was asked for.
            if error.code not in _GONE:
                raise EngineError(
                    f"Cannot kill container: {container.id}: {error.message}"
                ) from None

    async def _resume(self, container: Container) -> None:
        task = running_task(container)
        with task_errors(f"Cannot unpause container {container.id}"):
            await task.resume(container.id)
        if container.state.paused:
            container.state.paused, container.state.status = False, "running"
            self._context.note(container)
            self._context.tell(container, "unpause")


def _changed(container: Container, changes: UpdateConfig) -> HostConfig:
    given = {
        name: value
        for name in changes.__struct_fields__
        if (value := getattr(changes, name)) not in (0, "", None)
    }
    if "nano_cpus" in given:
        given |= {"cpu_period": 0, "cpu_quota": 0}
    elif "cpu_period" in given or "cpu_quota" in given:
        given["nano_cpus"] = 0
    host = structs.replace(container.host, **given)
    if 0 < host.memory_swap < host.memory and "memory_swap" not in given:
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the "
            "memoryswap at the same time"
        )
    check_policy(host.restart_policy, host)
    return host
