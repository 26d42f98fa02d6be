"""Builds: images made of Dockerfiles, and the cache that makes the next one quick."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, BinaryIO

from msgspec.structs import replace

from wherry.engine.builds.bounds import Bounds
from wherry.engine.builds.outputs import FETCHED
from wherry.engine.builds.records import BuildPruneReport, CacheRecord
from wherry.engine.builds.request import BuildRequest
from wherry.engine.builds.secrets import BuildSecrets
from wherry.engine.errors import InvalidRequest
from wherry.engine.filters import Filters
from wherry.engine.images.failures import image_errors
from wherry.engine.precompile import Precompiler
from wherry.engine.worker import write_in_thread
from wherry.images import Image, ImageError
from wherry.oci import parse_reference

if TYPE_CHECKING:
    from wherry.engine.builds.building import BuildEvent
    from wherry.engine.builds.cache import Keeping
    from wherry.engine.engine import Engine


class Builds:
    """Makes images. Errors are those of `wherry.engine.errors`."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._folder = engine.root / "build"
        self._precompiler = Precompiler(engine.store)
        self._bounding: asyncio.Task[None] | None = None
        self.secrets = BuildSecrets()
        """Those of builds that are about to begin."""

    async def close(self) -> None:
        """End what runs in the background."""
        await self._precompiler.close()
        if self._bounding is not None:
            await self._bounding

    async def build(
        self, request: BuildRequest, context: AsyncIterator[bytes]
    ) -> AsyncGenerator["BuildEvent", None]:
        """Build from a context that comes as a tar; yields what happens until it is done."""
        from wherry.engine.builds.building import run_build

        running = run_build(self._engine, self._folder, request, context, self._finished)
        async with aclosing(running):
            async for event in running:
                yield event

    async def output(
        self, reference: str, type: str, names: Sequence[str] = (), *, forget: bool
    ) -> AsyncGenerator[bytes, None]:
        """What `--output type=…` wants of an image that was built, as an archive.

        Of the image's names it has those among `names`. With `forget` the image goes afterwards,
        unless it has a name. Raises NotFound, InvalidRequest.
        """
        write = FETCHED.get(type)
        if write is None:
            raise InvalidRequest(f"{type[:40]!r} is no output that can be fetched")
        images = self._engine.images
        image = images.resolve(reference)
        with image_errors():
            wanted = {parse_reference(name).with_default_tag().familiar for name in names}
        named = replace(image, names=[name for name in image.names if name in wanted])
        store = self._engine.store

        def work(out: BinaryIO) -> None:
            with store.hold():
                write(store, named, out)

        with image_errors():
            async with aclosing(write_in_thread(work, "output")) as chunks:
                async for chunk in chunks:
                    yield chunk
        if forget and not image.names:
            await images.remove(image.id)

    def prepare(self, image: Image) -> None:
        """Have the image's program compiled in the background, so that its first run is quick."""
        self._precompiler.add(image)

    async def let_go(self, image: Image) -> None:
        """Have no image compiled that is to be removed: it would be kept meanwhile."""
        await self._precompiler.let_go(image.id)

    async def prune(
        self, filters: Filters | None = None, bounds: Bounds | None = None
    ) -> BuildPruneReport:
        """Forget what builds keep, and give back the layers that only it had.

        Within `bounds` stays what was used last. Filters: until. Raises InvalidRequest.
        """
        bounds = bounds or Bounds()
        filters = filters or Filters()
        filters.check(("until",))
        until = filters.until()
        before = None if until is None else int(until.timestamp() * 1e9)
        keeping, in_use = await self._keeping(), await self._engine.images.in_use()
        gone, freed = await asyncio.to_thread(keeping.prune, in_use, bounds, before=before)
        self._engine.events.publish("builder", "prune", "", {"reclaimed": str(freed)})
        return BuildPruneReport(caches_deleted=gone or None, space_reclaimed=freed)

    async def cache_records(self, unneeded: Mapping[str, int]) -> list[CacheRecord]:
        """What the build cache takes: its records, and of the layers those that no image needs.

        `unneeded` is what these take, by digest and diff_id.
        """
        keeping = await self._keeping()
        return await asyncio.to_thread(keeping.records, unneeded)

    async def _keeping(self) -> "Keeping":
        def get() -> "Keeping":
            from wherry.engine.builds.cache import Keeping

            return Keeping(self._folder, self._engine.store)

        return await asyncio.to_thread(get)

    def _bound(self) -> None:
        """Have the cache brought back to its bound, if that is not being done already."""
        if self._bounding is None or self._bounding.done():
            self._bounding = asyncio.create_task(self._shrink())

    async def _shrink(self) -> None:
        from wherry.engine.builds.cache import ROOM

        with suppress(ImageError, OSError):  # what cannot go now goes after the next build
            await asyncio.to_thread(
                (await self._keeping()).prune, await self._engine.images.in_use(), ROOM
            )

    def _finished(self, image: Image) -> None:
        self._engine.images.tell("create", image.id, image.id)
        for name in image.names:
            self._engine.images.tell("tag", image.id, name)
        self.prepare(image)
        self._bound()
