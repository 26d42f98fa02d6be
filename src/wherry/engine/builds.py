"""Builds: a Dockerfile and its context become an image, step by step.

The build itself is blocking code and runs in a thread of its own; what it tells comes out as an
asynchronous iterator. When whoever asked goes away, the build ends with its current step.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from wherry.build import (
    BuildCache,
    BuildError,
    BuildOptions,
    Built,
    Context,
    Event,
    Tagged,
    build,
)
from wherry.engine.errors import EngineError, InvalidRequest
from wherry.engine.images import image_errors
from wherry.engine.precompile import Precompiler
from wherry.engine.steps import ContainerSteps
from wherry.engine.worker import read_in_thread
from wherry.images import Image
from wherry.oci import Reference, parse_platform, parse_reference

if TYPE_CHECKING:
    from wherry.engine.engine import Engine


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


class _Abandoned(Exception):
    """Nobody waits for this build any more."""


class Builds:
    """Makes images. Errors are those of `wherry.engine.errors`."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._precompiler = Precompiler(engine.store)

    async def build(
        self, request: BuildRequest, context: AsyncIterator[bytes]
    ) -> AsyncGenerator[Event, None]:
        """Build from a context that comes as a tar; yields what happens until it is done."""
        options = _options(request)
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        abandoned = threading.Event()
        steps = ContainerSteps(self._engine, loop)

        def progress(event: Event) -> None:
            if abandoned.is_set():
                raise _Abandoned
            loop.call_soon_threadsafe(events.put_nowait, event)

        def work(tar: BinaryIO) -> Image:
            with Context.from_tar(tar, self._engine.root / "build") as received:
                return build(received, options, self._engine.store, steps, progress)

        working = asyncio.ensure_future(read_in_thread(context, work, "build"))
        working.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                self._tell(event)
                yield event
            with _build_errors():
                image = await working
        finally:
            abandoned.set()
            steps.abandon()
            working.cancel()
        self.prepare(image)

    def prepare(self, image: Image) -> None:
        """Have the image's program compiled in the background, so that its first run is quick."""
        self._precompiler.add(image)

    async def prune(self, *, all: bool = False) -> BuildPruneReport:
        """Forget the build cache: what is not used by an image, or all."""
        ...

    async def close(self) -> None:
        """End what runs in the background."""
        await self._precompiler.close()
