"""Builds: a Dockerfile and its context become an image, step by step.

The build itself is blocking code and runs in a thread of its own; what it tells comes out as an
asynchronous iterator. When whoever asked goes away, the build ends with its current step.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from wherry.build import (
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
from wherry.engine.errors import InvalidRequest
from wherry.engine.images import image_errors
from wherry.engine.precompile import Precompiler
from wherry.engine.steps import StepRunner, sweep
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


class _Abandoned(Exception):
    """Nobody waits for this build any more."""


class Builds:
    """Makes images. Errors are those of `wherry.engine.errors`."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._precompiler = Precompiler(engine.store)

    async def open(self) -> None:
        """Clear away what builds of an engine that was killed left running."""
        await sweep(self._engine.root, self._engine.shims.own)

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

        folder = self._engine.root / "build"

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

    def prepare(self, image: Image) -> None:
        """Have the image's program compiled in the background, so that its first run is quick."""
        self._precompiler.add(image)


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
