"""One container: what is kept of it, and what lives only while the engine does."""

import asyncio
from typing import TYPE_CHECKING, TypeVar

from wherry.engine.config import ContainerConfig, HostConfig
from wherry.engine.inspection import ContainerState, WaitResult
from wherry.engine.record import Life, Record

if TYPE_CHECKING:
    from wherry.engine.containers.exec import Exec
    from wherry.engine.containers.plumbing import Plumbing
    from wherry.engine.containers.stdin import Stdin
    from wherry.shim.client import TaskClient


T = TypeVar("T")


class Run:
    """One run of a container: from its task's creation to its end."""

    def __init__(self, since: int) -> None:
        self.since = since
        """Nanoseconds since the epoch; nothing of this run was written before."""
        self.over = asyncio.Event()
        """Set when nothing more will be written."""


class Container:
    """A container. Change it through `Containers` only."""

    def __init__(self, record: Record, life: Life) -> None:
        self.record = record
        self.life = life
        self.lock = asyncio.Lock()
        """Held while it is started, removed, or its end is dealt with."""
        self.removed = False
        self.task: TaskClient | None = None
        """The shim that runs it, while it runs."""
        self.run: Run | None = None
        self.backoff = 0.0
        """Seconds before the latest restart; see `restart`."""
        self.failures = 0
        """Runs in a row that failed."""
        self.restarting_by_hand = False
        """Its end is not the time to remove it: somebody restarts it."""
        self.stdin: Stdin | None = None
        self.plumbing: Plumbing | None = None
        self.execs: dict[str, Exec] = {}
        """Processes that were added to it and have not ended, by their ids."""
        self._awaiting_run: set[asyncio.Future[Run | None]] = set()
        self._awaiting_exit: set[asyncio.Future[WaitResult]] = set()
        self._awaiting_removal: set[asyncio.Future[WaitResult]] = set()

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        return self.record.id

    @property
    def name(self) -> str:
        """Without the leading slash that Docker's JSON has."""
        return self.record.name

    @property
    def config(self) -> ContainerConfig:
        """What does not depend on the host."""
        return self.record.config

    @property
    def host(self) -> HostConfig:
        """What depends on the host."""
        return self.record.host

    @property
    def state(self) -> ContainerState:
        """Where it is in its life."""
        return self.life.state

    @property
    def image_id(self) -> str:
        """The digest of the image's config."""
        return self.record.image_id

    def attributes(self) -> dict[str, str]:
        """What events tell of it."""
        return {"image": self.config.image, "name": self.name} | self.config.labels

    def next_run(self) -> "asyncio.Future[Run | None]":
        """Fulfilled when a run begins; None when the start fails or the container goes."""
        return _register(self._awaiting_run)

    def next_exit(self) -> "asyncio.Future[WaitResult]":
        """Fulfilled when a run has ended."""
        return _register(self._awaiting_exit)

    def removal(self) -> "asyncio.Future[WaitResult]":
        """Fulfilled when the container is gone."""
        return _register(self._awaiting_removal)

    def tell_run(self, run: Run | None) -> None:
        """Fulfil `next_run`."""
        _fulfil(self._awaiting_run, run)

    def tell_exit(self) -> None:
        """Fulfil `next_exit`."""
        _fulfil(self._awaiting_exit, self.result())

    def tell_removed(self) -> None:
        """Fulfil everything that is still waited for."""
        _fulfil(self._awaiting_run, None)
        _fulfil(self._awaiting_exit, self.result())
        _fulfil(self._awaiting_removal, self.result())

    @property
    def awaited(self) -> bool:
        """Somebody waits for something to happen to it."""
        return bool(self._awaiting_run or self._awaiting_exit or self._awaiting_removal)

    def result(self) -> WaitResult:
        """How the latest run ended."""
        return WaitResult(status_code=self.state.exit_code)


def _register(waiting: "set[asyncio.Future[T]]") -> "asyncio.Future[T]":
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    waiting.add(future)
    future.add_done_callback(waiting.discard)
    return future


def _fulfil(waiting: "set[asyncio.Future[T]]", result: T) -> None:
    for future in tuple(waiting):
        if not future.done():
            future.set_result(result)
