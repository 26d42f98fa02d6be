"""A container's task: how its shim is asked for it, and how it is let go of."""

import os
from contextlib import suppress
from functools import partial
from urllib.parse import quote

from wherry.engine.containers.container import Container
from wherry.engine.containers.context import Context
from wherry.engine.containers.networking import Wiring
from wherry.engine.containers.plumbing import Plumbing
from wherry.engine.containers.spec import build_root, build_spec
from wherry.engine.containers.volume_parts import mounted_path
from wherry.engine.errors import EngineError
from wherry.engine.shims import WHERRY
from wherry.oci import encode
from wherry.shim.client import TaskClient, TaskError


def write_config(context: Context, container: Container, wiring: Wiring) -> None:
    """Describe in its bundle what its process is to be. Raises EngineError, OSError."""
    for mount in container.record.mounts:
        source = context.source(mount)
        if mount.type == "bind" and not os.path.exists(source):
            if not mount.create_source:
                raise EngineError(f"bind source path does not exist: {source}")
            os.makedirs(source, mode=0o755)
    spec = build_spec(
        container.record,
        wiring,
        partial(mounted_path, context),
        unprivileged=context.unprivileged,
    )
    (context.bundle(container) / "config.json").write_bytes(encode(spec))


async def make_task(context: Context, container: Container) -> tuple[TaskClient, int]:
    """The task, created and not started, and the pid of its process. Raises TaskError."""
    shims, runtime, bundle = context.shims, container.host.runtime, context.bundle(container)
    if runtime != WHERRY:
        log = context.log(container)
        container.plumbing = Plumbing(bundle, log, tty=container.config.tty, begin=True)
    task = await shims.connect(runtime, container.id, bundle)
    try:
        return task, await _create(context, container, task)
    except TaskError as error:
        if error.code != "UNAVAILABLE":
            raise
        # The shim has died since it was last heard of: another takes its place.
        task = await shims.connect(runtime, container.id, bundle)
        return task, await _create(context, container, task)


async def delete_task(context: Context, container: Container, task: TaskClient | None) -> None:
    """Let go of the task of a container that has ended; `task` is None if its shim is gone."""
    bundle, runtime = context.bundle(container), container.host.runtime
    if task is not None:
        with suppress(TaskError):
            await task.delete(container.id)
    died = task is None or task.closed.is_set()
    if task is not None and runtime != WHERRY:
        with suppress(TaskError):
            await task.shutdown(container.id)
        task.close()
    if died or runtime != WHERRY:
        await context.shims.clean_up(runtime, container.id, bundle)
    if container.plumbing is not None:
        await container.plumbing.finish()
        container.plumbing = None
    (bundle / "config.json").unlink(missing_ok=True)


async def forget_task(context: Context, container: Container, task: TaskClient | None) -> None:
    """Undo whatever is left of a task that is not to run."""
    bundle = context.bundle(container)
    await context.shims.forget(task, container.host.runtime, container.id, bundle)


async def _create(context: Context, container: Container, task: TaskClient) -> int:
    bundle, config = context.bundle(container), container.config
    if container.plumbing is not None:
        stdout, stderr = container.plumbing.stdout, container.plumbing.stderr
    else:
        log = f"wherry-log://{quote(str(context.log(container)))}"
        stdout, stderr = f"{log}?stream=stdout", f"{log}?stream=stderr"
    create = partial(
        task.create,
        id=container.id,
        bundle=str(bundle),
        rootfs=[build_root(container.record.layers, bundle, unprivileged=context.unprivileged)],
        stdin=str(bundle / "stdin") if config.open_stdin else "",
        stdout=stdout,
        stderr="" if config.tty else stderr,
        terminal=config.tty,
    )
    try:
        return await create()
    except TaskError as error:
        if error.code != "ALREADY_EXISTS":
            raise
        # An engine that was killed had asked for it.
        await forget_task(context, container, task)
        return await create()
