"""RUN: the steps of a build as containers, with the stage's own filesystem and no network.

They run through the shim like every container, but are none that anybody sees: they have no name,
no volumes and no life beyond the build.
"""

import asyncio
import secrets
import shutil
import signal
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from wherry.engine.containers.users import find_user
from wherry.engine.errors import EngineError
from wherry.engine.shims import WHERRY
from wherry.oci import encode
from wherry.oci import runtime as oci
from wherry.shim.client import TaskClient, TaskError
from wherry.shim.client.log import LogReader

if TYPE_CHECKING:
    from wherry.build import BuildError, Step
    from wherry.engine.engine import Engine

_NAMESPACES = ("pid", "mount", "ipc", "uts", "network")
_GONE = "NOT_FOUND"


class StepRunner:
    """Runs the steps of one build, one after the other; the build calls it from its thread."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._mutex = threading.Lock()
        self._abandoned = False
        self._running: Future[int] | None = None

    def run(self, step: "Step") -> int:
        """Run `step` to its end; its exit code. Raises BuildError when it cannot be started."""
        with self._mutex:
            if self._abandoned:
                raise _refusal("the build was given up")
            self._running = asyncio.run_coroutine_threadsafe(self._run(step), self._loop)
        return self._running.result()

    def abandon(self) -> None:
        """Kill what runs and start nothing more."""
        with self._mutex:
            self._abandoned = True
            if self._running:
                self._running.cancel()

    async def _run(self, step: "Step") -> int:
        id = secrets.token_hex(32)
        bundle = steps_folder(self._engine.root) / id
        try:
            _write_bundle(bundle, step, id)
            shim = await self._engine.shims.connect(WHERRY, id, bundle)
            root = _overlay(step, unprivileged=self._engine.unprivileged)
            return await _run_task(shim, id, bundle, root, step)
        except (TaskError, EngineError) as error:
            raise _refusal(error.message) from None
        finally:
            shutil.rmtree(bundle, ignore_errors=True)


def steps_folder(root: Path) -> Path:
    """Where the bundles of running steps are."""
    return root / "build" / "steps"


async def sweep(root: Path, shim: TaskClient | None) -> None:
    """Kill and remove the steps that a build left behind when its engine was killed."""
    folder = steps_folder(root)
    if not folder.is_dir():
        return
    for bundle in folder.iterdir():
        if shim is not None:
            await _end(shim, bundle.name)
        shutil.rmtree(bundle, ignore_errors=True)


async def _run_task(shim: TaskClient, id: str, bundle: Path, root: oci.Mount, step: "Step") -> int:
    log = bundle / "log"
    await shim.create(
        id=id,
        bundle=str(bundle),
        rootfs=[root],
        stdout=f"wherry-log://{log}?stream=stdout",
        stderr=f"wherry-log://{log}?stream=stderr",
    )
    ended = asyncio.Event()
    telling = asyncio.create_task(_tell(log, step, ended))
    try:
        await shim.start(id)
        exit = await shim.wait(id)
        # What it wrote last is in the log before its streams are marked as ended.
        await telling
        return exit.status
    finally:
        ended.set()
        telling.cancel()
        await asyncio.shield(_end(shim, id))


async def _tell(log: Path, step: "Step", ended: asyncio.Event) -> None:
    async for record in LogReader(log).follow(stop=ended):
        step.output(record.data)


async def _end(shim: TaskClient, id: str) -> None:
    """Make sure that the task is gone, whatever state it is in."""
    try:
        state = await shim.state(id)
        if state.status != "stopped":
            await shim.kill(id, signal.SIGKILL, all=True)
            await shim.wait(id)
        await shim.delete(id)
    except TaskError as error:
        if error.code != _GONE:
            raise


def _write_bundle(bundle: Path, step: "Step", id: str) -> None:
    user = find_user(step.user, (), [str(layer) for layer in step.lowerdirs])
    (bundle / "rootfs").mkdir(parents=True)
    spec = oci.Spec(
        oci_version="1.1.0",
        root=oci.Root(path="rootfs"),
        process=oci.Process(
            args=step.argv,
            cwd=step.cwd,
            env=step.env,
            user=oci.User(uid=user.uid, gid=user.gid, additional_gids=user.groups or None),
            no_new_privileges=True,
        ),
        hostname="build",
        annotations={oci.NETWORK: "none", oci.PROGRAMS: "wasm"},
        linux=oci.Linux(
            namespaces=[oci.Namespace(type=kind) for kind in _NAMESPACES],
            cgroups_path=f"/wherry/{id}",
        ),
    )
    (bundle / "config.json").write_bytes(encode(spec))


def _overlay(step: "Step", *, unprivileged: bool) -> oci.Mount:
    options = [
        f"lowerdir={':'.join(str(layer) for layer in step.lowerdirs)}",
        f"upperdir={step.upperdir}",
        f"workdir={step.workdir}",
    ]
    if unprivileged:
        options.append("userxattr")
    return oci.Mount(destination="/", type="overlay", source="overlay", options=options)


def _refusal(message: str) -> "BuildError":
    # Not imported above: a step is run by the builder, so that is here by now, but not before.
    from wherry.build import BuildError

    return BuildError(message)
