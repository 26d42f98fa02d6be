"""Connections to shims: wherry's own, which serves all containers, and others, one for each.

wherry's shim is asked to start once; its address is kept in a file, so that an engine that comes
back finds it. Whatever a shim tells by itself (a container that ran out of memory) is remembered
until its exit is dealt with.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from pathlib import Path

from wherry.engine.errors import EngineError
from wherry.shim.client import (
    EventsServer,
    ShimError,
    TaskClient,
    TaskError,
    delete_shim,
    start_shim,
)
from wherry.shim.messages import TaskCreate, TaskExit, TaskOOM

WHERRY = "io.containerd.wherry.v1"
"""The runtime that is taken when none is named."""

NAMESPACE = "wherry"
"""containerd's word for a set of containers; the engine has this one."""

_LATE = 2.0
"""Seconds to wait for an event that should have come with the exit it belongs to."""


class Shims:
    """All shims that run containers of this engine."""

    def __init__(self, run: Path) -> None:
        self._home = run / "shim-home"
        self._events = EventsServer(run / "events.sock")
        self._address = str(run / "events.sock")
        self._own: TaskClient | None = None
        self._turn = asyncio.Lock()
        self._listening: asyncio.Task[None] | None = None
        self._out_of_memory: set[str] = set()
        self._exited: dict[str, asyncio.Event] = {}
        self.on_stray: Callable[[str], None] | None = None
        """Called with the id of a container whose task this engine has not asked for."""

    async def open(self) -> None:
        """Listen to events, and to wherry's shim if it is there. Raises OSError."""
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._events.open()
        self._listening = asyncio.create_task(self._listen())
        self._own = await _reconnect(self._home)

    async def close(self, *, idle: bool) -> None:
        """Let go of all shims; containers live on. When nothing runs (`idle`), wherry's ends."""
        if self._listening is not None:
            self._listening.cancel()
        if self._own is not None:
            if idle:
                with contextlib.suppress(TaskError):
                    await self._own.shutdown(now=True)
            self._own.close()
        self._events.close()

    @property
    def own(self) -> TaskClient | None:
        """wherry's shim, if it is there."""
        return self._own if self._own is not None and not self._own.closed.is_set() else None

    async def warm_up(self) -> None:
        """Start wherry's shim before it is needed. A failure shows when it is."""
        with contextlib.suppress(EngineError):
            await self.connect(WHERRY, "warm-up", self._home)

    async def connect(self, runtime: str, id: str, bundle: Path) -> TaskClient:
        """The shim for a container that is to be started. Raises EngineError."""
        try:
            if runtime != WHERRY:
                return await self._start(runtime, id, bundle)
            async with self._turn:
                if self.own is None:
                    self._own = await self._start(runtime, "warm-up", self._home)
                assert self._own is not None
                return self._own
        except (ShimError, TaskError) as error:
            raise EngineError(str(error)) from None

    async def find(self, runtime: str, bundle: Path) -> TaskClient | None:
        """The shim of a container that is said to run; None if there is none any more."""
        if runtime != WHERRY:
            return await _reconnect(bundle)
        async with self._turn:
            if self.own is None:
                self._own = await _reconnect(self._home)
        return self.own

    async def clean_up(self, runtime: str, id: str, bundle: Path) -> None:
        """Remove what a dead shim left of a container."""
        with contextlib.suppress(ShimError):
            await delete_shim(
                runtime=runtime, namespace=NAMESPACE, id=id, bundle=bundle, address=self._address
            )

    async def forget(self, task: TaskClient | None, runtime: str, id: str, bundle: Path) -> None:
        """Make sure that nothing is left of a container's task, in whatever state that is.

        `task` is its shim, None if that has no such task or is dead; it may be dying.
        """
        if task is not None:
            with contextlib.suppress(TaskError):
                await task.kill(id, signal.SIGKILL, all=True)
                await task.wait(id)
            with contextlib.suppress(TaskError):
                await task.delete(id)
        if task is None or task.closed.is_set():
            await self.clean_up(runtime, id, bundle)

    def expect(self, id: str) -> None:
        """A container begins to run: collect what is told of it."""
        self._exited[id] = asyncio.Event()
        self._out_of_memory.discard(id)

    async def ran_out_of_memory(self, id: str, *, suspected: bool) -> bool:
        """Whether a container that has ended did so for lack of memory.

        Events come on a connection of their own: if it is `suspected`, wait for the one that tells
        of the end, which comes after the one that tells of the lack.
        """
        exited = self._exited.pop(id, None)
        if suspected and exited is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LATE):
                    await exited.wait()
        found = id in self._out_of_memory
        self._out_of_memory.discard(id)
        return found

    async def _start(self, runtime: str, id: str, bundle: Path) -> TaskClient:
        address = await start_shim(
            runtime=runtime,
            namespace=NAMESPACE,
            id=id,
            bundle=bundle,
            events_address=self._address,
        )
        (bundle / "address").write_text(address)
        return await TaskClient.connect(address)

    async def _listen(self) -> None:
        async for _, event, namespace, _ in self._events:
            if namespace != NAMESPACE:
                continue
            if isinstance(event, TaskCreate):
                if event.container_id not in self._exited and self.on_stray is not None:
                    self.on_stray(event.container_id)
            elif isinstance(event, TaskOOM):
                self._out_of_memory.add(event.container_id)
            elif isinstance(event, TaskExit) and event.container_id in self._exited:
                self._exited[event.container_id].set()


async def _reconnect(bundle: Path) -> TaskClient | None:
    try:
        address = (bundle / "address").read_text()
        return await TaskClient.connect(address.strip())
    except (OSError, TaskError):
        return None
