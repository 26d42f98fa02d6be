"""Picking up where the last engine ended, however it ended.

A row in the engine's file is a container; a folder without a row never became one. A bundle with
`config.json` may have a task. A task that runs is taken over, one that has ended is dealt with,
one that was created and not started is deleted. What should run and does not is started again.
"""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from wherry.engine.clock import timestamp
from wherry.engine.containers.container import Container, Run
from wherry.engine.containers.context import Context
from wherry.engine.containers.execs import clear_leftovers
from wherry.engine.containers.lifecycle import Lifecycle
from wherry.engine.containers.restart import starts_with_machine
from wherry.engine.inspection import NEVER, ContainerState
from wherry.engine.shims import WHERRY
from wherry.shim.client import TaskError, TaskState

_LOST = 255
"""Exit status of a container that ended while no engine and no shim was there, as in Docker."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


async def recover(context: Context, lifecycle: Lifecycle) -> None:
    """Bring the containers of the engine's file back; before anything else is done with them."""
    boot = _boot()
    rebooted = context.state.fact("boot") != boot
    context.networks.recover(rebooted=rebooted)
    for record, life in context.state.containers():
        container = Container(record, life)
        context.index.add(container)
        context.volumes.settle(
            record.id, [mount.name for mount in record.mounts if mount.type == "volume"]
        )
        lifecycle.networking.recover(container)
    context.volumes.recover()
    await _clear_strangers(context)
    for containers in _batches(list(context.index)):
        await asyncio.gather(
            *(_recover(context, lifecycle, container, rebooted) for container in containers)
        )
    if rebooted:
        context.state.set_fact("boot", boot)
    lifecycle.recovered.set()
    lifecycle.mending.open()


def _boot() -> str:
    """What is different after each start of the machine."""
    return _BOOT_ID.read_text().strip()


def _batches(containers: list[Container]) -> Iterable[list[Container]]:
    return (containers[at : at + 64] for at in range(0, len(containers), 64))


async def _clear_strangers(context: Context) -> None:
    """Remove folders that never became containers, and their tasks if they have any."""
    for bundle in list(context.folder.iterdir()):
        if bundle.name in context.index:
            continue
        if (bundle / "config.json").exists():
            await context.shims.forget(context.shims.own, WHERRY, bundle.name, bundle)
        context.trash.discard(bundle)


async def _recover(
    context: Context, lifecycle: Lifecycle, container: Container, rebooted: bool
) -> None:
    bundle = context.bundle(container)
    if (bundle / "config.json").exists():
        task = await context.shims.find(container.host.runtime, bundle)
        found = None
        if task is not None:
            with suppress(TaskError):
                found = await task.state(container.id)
        if task is not None and found is not None and found.status != "created":
            await clear_leftovers(context, container, task)
            _adopt(context, container, found)
            watching = lifecycle.watch(container, task, Run(0))
            if found.status == "stopped":
                await watching
            return
        known = task if found is not None else None
        await context.shims.forget(known, container.host.runtime, container.id, bundle)
        # A living shim may still be making what the last engine asked for: it tells when it has,
        # and until the container has run again each engine asks for it anew.
        if task is None or found is not None or container.state.running:
            (bundle / "config.json").unlink(missing_ok=True)
    await clear_leftovers(context, container, None)
    if container.life.plugged is not None:
        await lifecycle.networking.unplug(container)
        context.note(container)
    if container.state.running and not container.state.restarting:
        _lost(context, container)
    # Without its folder it was removed, which could not be written.
    begun = container.state.started_at != NEVER or not bundle.is_dir()
    if container.host.auto_remove and begun:
        lifecycle.forget(container, volumes=True)
    elif _should_run(container, rebooted):
        lifecycle.restart_soon(container)


def _adopt(context: Context, container: Container, found: TaskState) -> None:
    """What the shim says is what is: the engine may have been killed before it wrote it down."""
    state, paused = container.state, found.status == "paused"
    if state.running and not state.restarting and state.paused == paused:
        return
    container.life.state = ContainerState(
        status="paused" if paused else "running",
        running=True,
        paused=paused,
        pid=found.pid,
        started_at=state.started_at if state.running and not state.restarting else timestamp(),
        finished_at=state.finished_at,
        health=state.health,
    )
    context.note(container)


def _lost(context: Context, container: Container) -> None:
    container.life.state = ContainerState(
        status="exited",
        exit_code=_LOST,
        error="the container ended while nobody was there to see it",
        started_at=container.state.started_at,
        finished_at=timestamp(time.time_ns()),
        health=container.state.health,
    )
    context.note(container)


def _should_run(container: Container, rebooted: bool) -> bool:
    state = container.state
    if state.restarting:
        return True
    if state.started_at == NEVER:
        return False
    if rebooted:
        return starts_with_machine(container)
    return not container.life.stopped_by_hand and container.host.restart_policy.name in (
        "always",
        "unless-stopped",
    )
