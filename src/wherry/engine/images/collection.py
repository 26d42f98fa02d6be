"""Images: the image store seen from the loop, with Docker's views, errors and events.

The store's code blocks, so what touches the disk for long runs in threads; finding an image by
name does not, because the store keeps its index in memory.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from importlib import import_module
from typing import TYPE_CHECKING

from msgspec.structs import replace

from wherry.engine.errors import Conflict, InvalidRequest, NotFound
from wherry.engine.filters import Filters
from wherry.engine.images.failures import image_errors
from wherry.engine.images.inspection import (
    HistoryItem,
    ImageDeletion,
    ImageInspect,
    ImagePruneReport,
    ImageSummary,
    inspection,
    seconds,
    steps,
    summary,
)
from wherry.engine.images.platforms import read_platform, summarize
from wherry.engine.worker import read_in_thread, write_in_thread
from wherry.images import Image, ImageError, Removal
from wherry.oci import Digest, MediaType, Platform, parse_reference

if TYPE_CHECKING:
    from wherry.engine.engine import Engine
    from wherry.engine.images.transfers import Transfers

_EPOCH = datetime.fromtimestamp(0, UTC)
_LIST_FILTERS = {"before", "dangling", "label", "label!", "reference", "since", "until"}
_PRUNE_FILTERS = {"dangling", "label", "label!", "until"}


class Images:
    """All images of the engine. Errors are those of `wherry.engine.errors`."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._store = engine.store
        self._transfers: Transfers | None = None

    async def close(self) -> None:
        """End what is being pulled and pushed; the next try goes on from there."""
        if self._transfers is not None:
            await self._transfers.close()

    async def transfers(self) -> "Transfers":
        """What moves between the store and registries; much code, imported when first wanted."""
        if self._transfers is None:
            found = await asyncio.to_thread(import_module, "wherry.engine.images.transfers")
            if self._transfers is None:
                self._transfers = found.Transfers(self._engine)
        return self._transfers

    def resolve(self, name: str, platform: str | None = None) -> Image:
        """The image called `name`, or of that id. Raises NotFound, InvalidRequest."""
        with image_errors():
            return self._store.resolve(name, read_platform(platform))

    def inspect(self, name: str, platform: str | None = None) -> ImageInspect:
        """All that is known of the image; of one of its platforms if one is asked for.

        Raises NotFound, InvalidRequest.
        """
        image = self.resolve(name, platform)
        found = inspection(image)
        if platform:
            found.descriptor = image.descriptor
        return found

    async def add_manifests(self, views: Sequence[ImageInspect | ImageSummary]) -> None:
        """Put into views of images what their indexes have of each platform.

        Raises NotFound, InvalidRequest.
        """
        users: dict[str, list[str]] = {}
        for each in await self._engine.containers.list(all=True):
            users.setdefault(each.image_id, []).append(each.id)
        for view in views:
            with image_errors():
                found = await asyncio.to_thread(self._store.members, view.descriptor)
            view.manifests = summarize(found, users)

    def history(self, name: str, platform: str | None = None) -> list[HistoryItem]:
        """How the image was made, newest step first. Raises NotFound, InvalidRequest."""
        return steps(self.resolve(name, platform))

    async def tag(self, name: str, repository: str, tag: str) -> None:
        """Give the image another name, taking it from whichever has it. Raises NotFound."""
        image = self.resolve(name)
        with image_errors():
            reference = parse_reference(f"{repository}:{tag}" if tag else repository)
            if reference.digest:
                raise InvalidRequest("refusing to create a tag with a digest reference")
            reference = reference.with_default_tag()
            await asyncio.to_thread(self._store.tag, image.target, reference)
        self.tell("tag", image.id, reference.familiar)

    async def remove(self, name: str, *, force: bool = False) -> list[ImageDeletion]:
        """Take the name away, and with the last name the image. Raises NotFound, Conflict."""
        image = self.resolve(name)
        await self._refuse_if_running(name, image)
        await self._engine.builds.let_go(image)
        in_use = await self.in_use()
        with image_errors():
            removal = await asyncio.to_thread(self._store.remove, name, force=force, in_use=in_use)
        return self._removed(removal, image.id)

    async def remove_platforms(self, name: str, platforms: Sequence[str]) -> list[ImageDeletion]:
        """Remove an image for some of its platforms. Raises NotFound, Conflict, InvalidRequest."""
        with image_errors():
            wanted = [one for one in map(read_platform, platforms) if one is not None]
            for platform in wanted:
                await self._engine.builds.let_go(self._store.resolve(name, platform))
            in_use = await self.in_use()
            removal = await asyncio.to_thread(
                self._store.remove_platforms, name, wanted, in_use=in_use
            )
        return self._removed(removal, "")

    async def load(self, source: AsyncIterator[bytes], platform: str | None = None) -> list[str]:
        """Take images from a tar, of all platforms or one; their names, or ids without one."""
        with image_errors():
            wanted = read_platform(platform)
            names = await read_in_thread(
                source, lambda archive: self._store.load(archive, wanted), "image load"
            )
        for name in names:
            # Somebody may have removed it since.
            with suppress(NotFound):
                image = self.resolve(name)
                self.tell("load", image.id, name)
                self._engine.builds.prepare(image)
        return names

    def save(
        self, names: Collection[str], platform: str | None = None
    ) -> AsyncGenerator[bytes, None]:
        """A tar that `docker load` and OCI tools read, of all platforms or one.

        Raises NotFound, InvalidRequest at once.
        """
        if not names:
            raise InvalidRequest("no image was named")
        for name in names:
            self.tell("save", self.resolve(name, platform).id, name)
        with image_errors():
            wanted = read_platform(platform)
        return self._save(names, wanted)

    async def _save(
        self, names: Collection[str], platform: Platform | None
    ) -> AsyncGenerator[bytes, None]:
        with image_errors():
            async for chunk in write_in_thread(
                lambda out: self._store.save(list(names), out, platform), "image save"
            ):
                yield chunk

    async def prune(self, filters: Filters | None = None) -> ImagePruneReport:
        """Remove images without a name; with dangling=false all that no container uses."""
        filters = filters or Filters()
        filters.check(_PRUNE_FILTERS)
        in_use = await self.in_use()
        with image_errors():
            removal = await asyncio.to_thread(
                self._store.prune,
                all=filters.flag("dangling") is False,
                in_use=in_use,
                until=filters.until(),
                labels=filters.get("label"),
                without_labels=filters.get("label!"),
            )
        deletions = self._removed(removal, "")
        self._engine.events.publish("image", "prune", "", {"reclaimed": str(removal.reclaimed)})
        return ImagePruneReport(images_deleted=deletions or None, space_reclaimed=removal.reclaimed)

    async def in_use(self) -> set[Digest]:
        """The ids of images that containers were made from, or have mounted."""
        return {Digest(id) for each in self._engine.containers for id in each.record.images}

    def tell(self, action: str, id: str, name: str) -> None:
        """Tell who listens to events that `action` was done to an image, which was called `name`.

        Its `id` is a reference where it goes to a registry or comes from one, as in Docker.
        """
        self._engine.events.publish("image", action, id, {"name": name})

    def _removed(self, removal: Removal, id: str) -> list[ImageDeletion]:
        for name in removal.untagged:
            self.tell("untag", id, name)
        for digest in removal.deleted:
            self.tell("delete", digest, digest)
        return [
            *(ImageDeletion(untagged=name) for name in removal.untagged),
            *(ImageDeletion(deleted=digest) for digest in removal.deleted),
        ]

    async def _refuse_if_running(self, name: str, image: Image) -> None:
        if len(image.names) > 1 and not image.id.removeprefix("sha256:").startswith(name):
            return
        for each in self._engine.containers:
            if image.id in each.record.images and each.state.running:
                uses = "runs it" if image.id == each.image_id else "has it mounted"
                raise Conflict(
                    f"conflict: unable to remove {name} (cannot be forced): "
                    f"container {each.id[:12]} {uses}; stop that first"
                )

    def _chosen(self, images: list[Image], filters: Filters) -> list[Image]:
        dangling, until = filters.flag("dangling"), filters.until()
        newest = self._created(filters.one("before"))
        oldest = self._created(filters.one("since"))
        return [
            image
            for image in images
            if (dangling is None or dangling is not bool(image.names))
            and _has_labels(image, filters)
            and (until is None or (image.created or _EPOCH) < until)
            and (newest is None or seconds(image.config.created) < newest)
            and (oldest is None or seconds(image.config.created) > oldest)
        ]

    def _created(self, name: str | None) -> int | None:
        return None if name is None else seconds(self.resolve(name).config.created)

    def list(
        self, filters: Filters | None = None, *, shared_size: bool = False
    ) -> list[ImageSummary]:
        """Newest first; with `shared_size`, what each shares with others is counted, in bytes.

        The filter on references chooses names too: an image is shown with those that fit.
        """
        filters = filters or Filters()
        filters.check(_LIST_FILTERS)
        with image_errors():
            images = self._store.list()
        shared = _shared_sizes(images) if shared_size else {}
        chosen = self._chosen(images, filters)
        if patterns := filters.get("reference"):
            named = (_only_named(image, patterns) for image in chosen)
            chosen = [image for image in named if image.names]
        chosen.sort(key=lambda image: (seconds(image.config.created), image.id), reverse=True)
        users = self._users(chosen)
        return [
            summary(image, containers=users[image.target.digest], shared=shared.get(image.id, -1))
            for image in chosen
        ]

    def _users(self, images: Sequence[Image]) -> Counter[str]:
        """How many containers were made from each, whichever platform, by its target's digest."""
        users = Counter(each.image_id for each in self._engine.containers)
        found = Counter({image.target.digest: users.pop(image.id, 0) for image in images})
        for image in images if users else ():
            if image.target.media_type in MediaType.INDEXES:
                with suppress(ImageError):
                    others = {each.id for each in self._store.platforms(image.target.digest)}
                    found[image.target.digest] += sum(users[id] for id in others - {image.id})
        return found


def _has_labels(image: Image, filters: Filters) -> bool:
    labels = (image.config.config and image.config.config.labels) or {}
    return filters.accepts_labels(labels) and not filters.rejects_labels(labels)


def _only_named(image: Image, patterns: list[str]) -> Image:
    """The image with those of its names that fit one of `patterns`."""
    return replace(image, names=[name for name in image.names if _fits(name, patterns)])


def _fits(name: str, patterns: list[str]) -> bool:
    reference = parse_reference(name)
    candidates = (
        reference.familiar, reference.familiar_name, str(reference), reference.name,
    )  # fmt: skip
    return any(_matches(each, pattern) for each in candidates for pattern in patterns)


def _matches(name: str, pattern: str) -> bool:
    """As Go's path.Match: a star ends at a slash."""
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _shared_sizes(images: list[Image]) -> dict[str, int]:
    """By image id, the bytes of layers that other images have too."""
    users: Counter[str] = Counter()
    for image in images:
        users.update({layer.digest for layer in image.manifest.layers})
    return {
        image.id: sum(
            {
                layer.digest: layer.size
                for layer in image.manifest.layers
                if users[layer.digest] > 1
            }.values()
        )
        for image in images
    }
