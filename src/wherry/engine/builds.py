"""Builds: a Dockerfile and its context become an image, step by step.

The build itself is blocking code and runs in a thread of its own; what it tells comes out as an
asynchronous iterator. When whoever asked goes away, the build ends with its current step.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from wherry.build import (
    BuildCache,
    BuildError,
    BuildOptions,
    Built,
    Context,
    Event,
    StepFinished,
    StepOutput,
    StepStarted,
    Tagged,
    TriggersFound,
    Warned,
    build,
)
from wherry.engine.clock import timestamp
from wherry.engine.errors import InvalidRequest
from wherry.engine.images import image_errors
from wherry.engine.precompile import Precompiler
from wherry.engine.steps import StepRunner
from wherry.engine.worker import CHUNK, read_in_thread
from wherry.images import Image
from wherry.oci import parse_platform, parse_reference

if TYPE_CHECKING:
    from wherry.engine.engine import Engine

__all__ = [
    "BuildRequest",
    "Builds",
    "Built",
    "Event",
    "StepFinished",
    "StepOutput",
    "StepStarted",
    "Tagged",
    "TriggersFound",
    "Warned",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What a client asks for, in its own words; `dockerfile` is a path in the context."""

    tags: Sequence[str] = ()
    dockerfile: str = "Dockerfile"
    arguments: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    platform: str = ""
    use_cache: bool = True


class BuildPruneReport(msgspec.Struct, kw_only=True, rename="pascal"):
    """`POST /build/prune`. `space_reclaimed` is in bytes."""

    caches_deleted: list[str] | None
    space_reclaimed: int


class CacheRecord(msgspec.Struct, kw_only=True, rename="pascal"):
    """One step kept in the build cache. `size` is in bytes."""

    id: str = msgspec.field(name="ID")
    type: str = "regular"
    description: str = ""
    in_use: bool = False
    shared: bool = False
    size: int
    created_at: str
    last_used_at: str | None = None
    usage_count: int = 0


class _Abandoned(Exception):
    """Nobody waits for this build any more."""


class Builds:
    """Makes images. Errors are those of `wherry.engine.errors`."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._folder = engine.root / "build"
        self._precompiler = Precompiler(engine.store)

    async def close(self) -> None:
        """End what runs in the background."""
        await self._precompiler.close()

    async def build(
        self, request: BuildRequest, context: AsyncIterator[bytes]
    ) -> AsyncGenerator[Event, None]:
        """Build from a context that comes as a tar; yields what happens until it is done."""
        options = _options(request)
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        abandoned = threading.Event()
        steps = StepRunner(self._engine)

        def progress(event: Event) -> None:
            if abandoned.is_set():
                raise _Abandoned
            loop.call_soon_threadsafe(events.put_nowait, event)

        folder = self._folder

        def work(tar: BinaryIO) -> Image:
            with Context(folder) as received:
                while chunk := tar.read(CHUNK):
                    received.write(chunk)
                return build(received, options, self._engine.store, steps, progress, folder)

        working = asyncio.ensure_future(read_in_thread(context, work, "build"))
        working.add_done_callback(lambda _: events.put_nowait(None))
        try:
            with _build_errors(), image_errors():
                while (event := await events.get()) is not None:
                    yield event
                image = await working
        finally:
            abandoned.set()
            steps.abandon()
            working.cancel()
        for name in image.names:
            self._engine.images.told("tag", image, name)
        self.prepare(image)

    async def prune(self) -> BuildPruneReport:
        """Forget the build cache, and give back the layers that only it had."""
        in_use = await self._engine.images.in_use()

        def clear() -> int:
            return self._cache().clear() + self._engine.store.collect(in_use)

        freed = await asyncio.to_thread(clear)
        self._engine.events.publish("builder", "prune", "", {"reclaimed": str(freed)})
        return BuildPruneReport(caches_deleted=None, space_reclaimed=freed)

    async def cache_records(self) -> list[CacheRecord]:
        """What the build cache takes beside its layers, which are counted with the images'."""
        return await asyncio.to_thread(_records, self._folder / "cache")

    def prepare(self, image: Image) -> None:
        """Have the image's program compiled in the background, so that its first run is quick."""
        self._precompiler.add(image)

    def _cache(self) -> BuildCache:
        return BuildCache(self._folder / "cache", self._engine.store.blobs)


def _options(request: BuildRequest) -> BuildOptions:
    with image_errors():
        return BuildOptions(
            dockerfile=request.dockerfile,
            tags=tuple(parse_reference(tag).with_default_tag() for tag in request.tags),
            target=request.target,
            arguments=request.arguments,
            labels=request.labels,
            platform=parse_platform(request.platform) if request.platform else None,
            use_cache=request.use_cache,
        )


@contextmanager
def _build_errors() -> Iterator[None]:
    try:
        yield
    except BuildError as error:
        raise InvalidRequest(str(error)) from None


def _records(folder: Path) -> list[CacheRecord]:
    found = []
    for path in folder.glob("*/*"):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        found.append(
            CacheRecord(
                id=path.name[:25], size=status.st_size, created_at=timestamp(status.st_mtime_ns)
            )
        )
    return found
