"""RUN: the steps of a build as containers, with the stage's own filesystem.

They run through the shim like every container, but are none that anybody sees: they have no name,
no volumes and no life beyond the build.
"""

import asyncio
import secrets
import shutil
import threading
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from wherry.engine.builds.step_bundle import root_mount, write_bundle
from wherry.engine.builds.step_network import StepNetwork
from wherry.engine.errors import EngineError
from wherry.engine.linux import obstacle
from wherry.engine.privileges import maps_id
from wherry.engine.shims import WHERRY, Shims
from wherry.shim.client import TaskClient, TaskError
from wherry.shim.client.log import LogReader

if TYPE_CHECKING:
    from wherry.build import BuildError, Step
    from wherry.engine.engine import Engine

_ONE_ID = (
    b"wherry: without root, and without ids for this user in /etc/subuid and /etc/subgid, a step "
    b"has one user: it can give files to no other, nor become one\n"
)
_SHIM_DIED = "the shim that ran the step died: build again"
_A_MOMENT = 0.1
"""Seconds between looks at what another build has in use."""


class StepRunner:
    """Runs the steps of one build; the build calls it from its threads."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._mutex = threading.Lock()
        self._abandoned = threading.Event()
        self._running: set[asyncio.Task[int]] = set()

    def run(self, step: "Step") -> int:
        """Run `step` to its end; its exit code. Raises BuildError when it cannot be started."""
        if reason := obstacle(step.platform):
            raise _refusal(f"RUN cannot run for {step.platform}: {reason}")
        try:
            return asyncio.run_coroutine_threadsafe(self._run_task(step), self._loop).result()
        except CancelledError:
            raise _given_up() from None

    def wait(self) -> None:
        """Wait a moment for something that another step has. Raises BuildError if given up."""
        if self._abandoned.wait(_A_MOMENT):
            raise _given_up()

    def abandon(self) -> None:
        """Kill what runs and start nothing more."""
        with self._mutex:
            # Each once: a second time would meet it while it clears up.
            running = [] if self._abandoned.is_set() else [*self._running]
            self._abandoned.set()
        with suppress(RuntimeError):  # The engine has ended, and its tasks with it.
            for task in running:
                self._loop.call_soon_threadsafe(task.cancel)

    async def _run_task(self, step: "Step") -> int:
        """Run `step` in a task that `abandon` cancels; it is done when all has been cleared up."""
        task = asyncio.current_task()
        assert task is not None
        with self._mutex:
            if self._abandoned.is_set():
                raise _given_up()
            self._running.add(task)
        try:
            return await self._run(step)
        finally:
            with self._mutex:
                self._running.discard(task)

    async def _run(self, step: "Step") -> int:
        engine, id = self._engine, secrets.token_hex(32)
        bundle, private = steps_folder(engine.root) / id, steps_folder(engine.run) / id
        network = StepNetwork(id, step.network, engine.networks, engine.network_client)
        try:
            private.mkdir(mode=0o700, parents=True)
            network.plug(private)
            await asyncio.to_thread(
                write_bundle,
                bundle,
                private,
                step,
                id,
                unprivileged=engine.unprivileged,
                own_network=not network.is_host,
            )
            shim = await engine.shims.connect(WHERRY, id, bundle)
            task = _Task(engine.shims, shim, id, bundle)
            await task.create(step, unprivileged=engine.unprivileged)
            try:
                async with network.attached(task.pid):
                    code = await task.run(step)
                if code and not step.platform.is_wasm and not maps_id("uid", 1):
                    step.output(_ONE_ID)
                return code
            finally:
                await asyncio.shield(task.end())
        except TaskError as error:
            died = error.code == "UNAVAILABLE"
            raise _refusal(_SHIM_DIED if died else error.message) from None
        except EngineError as error:
            raise _refusal(error.message) from None
        except OSError as error:
            raise _refusal(f"the step cannot be made: {error.strerror or error}") from None
        finally:
            try:
                await asyncio.shield(network.unplug())
            finally:
                shutil.rmtree(bundle, ignore_errors=True)
                shutil.rmtree(private, ignore_errors=True)


def steps_folder(root: Path) -> Path:
    """Where the bundles of running steps are: below the data root, and below the run folder."""
    return root / "build" / "steps"


async def sweep(root: Path, run: Path, shims: Shims) -> None:
    """Kill and remove the steps that a build left behind when its engine was killed."""
    folder = steps_folder(root)
    for bundle in folder.iterdir() if folder.is_dir() else ():
        await shims.forget(shims.own, WHERRY, bundle.name, bundle)
        shutil.rmtree(bundle, ignore_errors=True)
    shutil.rmtree(steps_folder(run), ignore_errors=True)


class _Task:
    """The task of a step."""

    def __init__(self, shims: Shims, shim: TaskClient, id: str, bundle: Path) -> None:
        self._shims = shims
        self._shim = shim
        self._id = id
        self._bundle = bundle
        self._log = bundle / "log"
        self.pid = 0

    async def create(self, step: "Step", *, unprivileged: bool) -> None:
        creating = asyncio.ensure_future(
            self._shim.create(
                id=self._id,
                bundle=str(self._bundle),
                rootfs=[root_mount(step, unprivileged=unprivileged)],
                stdout=f"wherry-log://{self._log}?stream=stdout",
                stderr=f"wherry-log://{self._log}?stream=stderr",
            )
        )
        try:
            self.pid = await asyncio.shield(creating)
        except asyncio.CancelledError:
            # The shim makes it all the same: it is there to be ended only when it is made.
            await asyncio.gather(creating, return_exceptions=True)
            await self.end()
            raise

    async def run(self, step: "Step") -> int:
        ended = asyncio.Event()
        telling = asyncio.create_task(_tell(self._log, step, ended))
        try:
            await self._shim.start(self._id)
            exit = await self._shim.wait(self._id)
            # What it wrote last is in the log before its streams are marked as ended.
            await telling
            return exit.status
        finally:
            ended.set()
            telling.cancel()

    async def end(self) -> None:
        """Make sure that it is gone, whatever state it or its shim is in."""
        await self._shims.forget(self._shim, WHERRY, self._id, self._bundle)


async def _tell(log: Path, step: "Step", ended: asyncio.Event) -> None:
    async for record in LogReader(log).follow(stop=ended):
        step.output(record.data)


def _given_up() -> "BuildError":
    return _refusal("the build was given up")


def _refusal(message: str) -> "BuildError":
    # Not imported above: a step is run by the builder, so that is here by now, but not before.
    from wherry.build import BuildError

    return BuildError(message)
