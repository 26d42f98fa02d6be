"""The engine: everything that wherryd does, behind a few nouns."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from wherry import linux_runtime
from wherry.engine.builds import Builds
from wherry.engine.builds.steps import sweep
from wherry.engine.containers import Containers
from wherry.engine.containers.context import Context
from wherry.engine.containers.index import Index
from wherry.engine.contents import Contents
from wherry.engine.errors import EngineError, StateInUse
from wherry.engine.events import Events
from wherry.engine.images import Images
from wherry.engine.networks import Networks
from wherry.engine.privileges import maps_ids
from wherry.engine.shims import Shims
from wherry.engine.state import State
from wherry.engine.system import System
from wherry.engine.trash import Trash
from wherry.engine.trust import Gate
from wherry.engine.trust.signatures import Signatures
from wherry.engine.volumes import Volumes
from wherry.images import ImageError, ImageStore
from wherry.locks import try_lock
from wherry.network import NetworkClient


class Engine:
    """An open engine; make one with `open`. There is one for each data root.

    `store`, `gate` and `shims` are for its own parts; `unprivileged` tells whether everything
    happens inside a user namespace.
    """

    def __init__(self, root: Path, run: Path, lock: int) -> None:
        self.root = root
        self.run = run
        self.unprivileged = maps_ids()
        self._lock = lock
        self._state = State(root / "engine.db")
        self._trash = Trash(root / "trash")
        self.store = ImageStore(root, linux_runtime.is_there)
        self.gate = Gate(self.store)
        self.shims = Shims(run)
        self.events = Events()
        self.volumes = Volumes(root / "volumes", self._state, self.events, self._trash)
        index, client = Index(), NetworkClient(run)
        self.network_client = client
        self.networks = Networks(self._state, self.events, client, index)
        self.containers = Containers(
            Context(
                folder=root / "containers",
                state=self._state,
                events=self.events,
                shims=self.shims,
                trash=self._trash,
                volumes=self.volumes,
                networks=self.networks,
                network_client=client,
                store=self.store,
                gate=self.gate,
                index=index,
                unprivileged=self.unprivileged,
            )
        )
        self.images = Images(self)
        self.signatures = Signatures(self)
        self.contents = Contents(self)
        self.builds = Builds(self)
        self.system = System(self)
        self._warming: asyncio.Task[None] | None = None
        self._sweeping: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, root: Path, run: Path) -> "Engine":
        """Open the state below `root`, pick up running containers, and warm up the shim.

        `run` is for sockets. Raises StateInUse, EngineError.
        """
        if set(":,\\") & set(str(root)):
            raise EngineError(f"the data root {root} must not have ':', ',' or a backslash in it")
        try:
            lock = _prepare(root, run)
        except OSError as error:
            raise EngineError(
                f"the data root {error.filename} cannot be used: {error.strerror}"
            ) from None
        try:
            engine = cls(root, run, lock)
            await engine._recover()
        except ImageError as error:
            os.close(lock)
            raise EngineError(str(error)) from None
        except BaseException:
            os.close(lock)
            raise
        return engine

    async def _recover(self) -> None:
        await self.shims.open()
        self._warming = asyncio.create_task(self.shims.warm_up())
        self._trash.empty()
        await self.containers.recover()
        await sweep(self.root, self.run, self.shims)
        self._sweeping = asyncio.create_task(self._sweep_store())

    async def _sweep_store(self) -> None:
        # What cannot be removed now is tried again at the next start.
        with suppress(ImageError, OSError):
            await asyncio.to_thread(self.store.sweep)

    async def close(self) -> None:
        """Let go of everything; containers run on."""
        self.events.close()
        if self._warming is not None:
            # A shim that is being started could not be told to end.
            await self._warming
        if self._sweeping is not None:
            await self._sweeping
        await self.builds.close()
        await self.images.close()
        await self.containers.close()
        idle = not any(container.state.running for container in self.containers)
        await self.shims.close(idle=idle)
        await self._trash.close()
        self._state.close()
        os.close(self._lock)

    @property
    def state(self) -> State:
        """The engine's file, for its own parts."""
        return self._state

    @property
    def busy(self) -> bool:
        """Something runs, is being made or is waited for: no time to go away."""
        return self.containers.busy


def _prepare(root: Path, run: Path) -> int:
    """Make the folders and take the lock. Raises StateInUse, OSError."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Closed even where somebody has made the root, and left it open: what containers write may be
    # set-id programs, for anybody who gets there.
    containers = root / "containers"
    containers.mkdir(mode=0o700, exist_ok=True)
    containers.chmod(0o700)
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _lock(root)


def _lock(root: Path) -> int:
    """The lock that one engine for each root holds. Raises StateInUse, OSError."""
    fd = os.open(root / "engine.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not try_lock(fd):
        os.close(fd)
        raise StateInUse(
            f"another wherryd works on {root}: stop it, or set WHERRY_ROOT to another folder"
        )
    return fd
