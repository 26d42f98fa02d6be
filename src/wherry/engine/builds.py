"""Builds: images made of Dockerfiles, and the cache that makes the next one quick."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from wherry.engine.build_request import BuildRequest
from wherry.engine.build_secrets import BuildSecrets
from wherry.engine.clock import timestamp
from wherry.engine.errors import InvalidRequest
from wherry.engine.images.failures import image_errors
from wherry.engine.outputs import FETCHED
from wherry.engine.precompile import Precompiler
from wherry.engine.worker import write_in_thread
from wherry.images import Image, ImageStore

if TYPE_CHECKING:
    from wherry.engine.building import BuildEvent
    from wherry.engine.engine import Engine

_ID_LENGTH = 25


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


class Builds:
    """Makes images. Errors are those of `wherry.engine.errors`."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._folder = engine.root / "build"
        self._precompiler = Precompiler(engine.store)
        self.secrets = BuildSecrets()
        """Those of builds that are about to begin."""

    async def close(self) -> None:
        """End what runs in the background."""
        await self._precompiler.close()

    async def build(
        self, request: BuildRequest, context: AsyncIterator[bytes]
    ) -> AsyncGenerator["BuildEvent", None]:
        """Build from a context that comes as a tar; yields what happens until it is done."""
        from wherry.engine.building import run_build

        running = run_build(self._engine, self._folder, request, context, self._finished)
        async with aclosing(running):
            async for event in running:
                yield event

    async def output(
        self, reference: str, type: str, attrs: Mapping[str, str], *, forget: bool
    ) -> AsyncGenerator[bytes, None]:
        """What `--output type=…` wants of an image that was built, as an archive.

        With `forget` the image goes afterwards, unless it has a name. Raises NotFound,
        InvalidRequest.
        """
        write = FETCHED.get(type)
        if write is None:
            raise InvalidRequest(f"{type[:40]!r} is no output that can be fetched")
        images = self._engine.images
        image = images.resolve(reference)
        store = self._engine.store

        def work(out: BinaryIO) -> None:
            with store.hold():
                write(store, image, attrs, out)

        with image_errors():
            async with aclosing(write_in_thread(work, "output")) as chunks:
                async for chunk in chunks:
                    yield chunk
        if forget and not image.names:
            await images.remove(image.id)

    def prepare(self, image: Image) -> None:
        """Have the image's program compiled in the background, so that its first run is quick."""
        self._precompiler.add(image)

    async def prune(self) -> BuildPruneReport:
        """Forget the build cache, and give back the layers that only it had."""
        from wherry.engine.building import clear_cache

        in_use = await self._engine.images.in_use()

        def clear() -> int:
            store = self._engine.store
            return clear_cache(self._folder, store) + store.collect(in_use)

        freed = await asyncio.to_thread(clear)
        self._engine.events.publish("builder", "prune", "", {"reclaimed": str(freed)})
        return BuildPruneReport(caches_deleted=None, space_reclaimed=freed)

    async def cache_records(self, unneeded: Mapping[str, int]) -> list[CacheRecord]:
        """What the build cache takes: its records, and of the layers those that no image needs.

        `unneeded` is what these take, by digest and diff_id.
        """
        return await asyncio.to_thread(
            _records, self._folder / "cache", self._engine.store, unneeded
        )

    def _finished(self, image: Image) -> None:
        for name in image.names:
            self._engine.images.told("tag", image, name)
        self.prepare(image)


def _records(folder: Path, store: ImageStore, unneeded: Mapping[str, int]) -> list[CacheRecord]:
    from wherry.build.cache import BuildCache

    left = dict(unneeded)  # Of several records of one layer the first is told its bytes.
    return [
        CacheRecord(
            id=kept.key[:_ID_LENGTH],
            size=kept.size + sum(left.pop(digest, 0) for digest in kept.layer),
            shared=bool(kept.layer) and unneeded.keys().isdisjoint(kept.layer),
            created_at=timestamp(kept.written),
        )
        for kept in BuildCache(folder, store.blobs).kept()
    ]
