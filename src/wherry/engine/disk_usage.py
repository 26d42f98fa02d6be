"""What everything takes on disk: `GET /system/df`.

Counted is what is allocated, as `du` counts it, not the length of files: so the kinds of things
together are what `du` says of the data root, and what a kind has to give back is what its `prune`
frees. Docker's fields tell of each thing; `Disk`, which Docker has not, of each kind.
"""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from wherry import shelf
from wherry.disk import allocated, below
from wherry.engine.builds.records import CacheRecord
from wherry.engine.errors import InvalidRequest
from wherry.engine.images.inspection import ImageSummary
from wherry.engine.inspection import ContainerSummary, Volume
from wherry.images import Usage as StoreUsage
from wherry.oci import Digest

if TYPE_CHECKING:
    from wherry.engine.engine import Engine

_KINDS = ("container", "image", "volume", "build-cache")
_ALIVE = ("running", "paused", "restarting")


class KindUsage(msgspec.Struct, kw_only=True, rename="pascal"):
    """All things of one kind: how many, how many in use; bytes on disk, and of those not in use."""

    type: str
    total_count: int
    active: int
    size: int
    reclaimable: int


class Usage(msgspec.Struct, kw_only=True, rename="pascal"):
    """`GET /system/df`. Sizes are bytes on disk; `layers_size` is what all images need.

    `disk` is there when everything was asked for.
    """

    layers_size: int | UnsetType = UNSET
    images: list[ImageSummary] | UnsetType = UNSET
    containers: list[ContainerSummary] | UnsetType = UNSET
    volumes: list[Volume] | UnsetType = UNSET
    build_cache: list[CacheRecord] | UnsetType = UNSET
    builder_size: int | UnsetType = UNSET
    disk: list[KindUsage] | UnsetType = UNSET


async def disk_usage(engine: "Engine", kinds: Collection[str] = ()) -> Usage:
    """How much room the things of `kinds` (all by default) take. Raises InvalidRequest."""
    for kind in kinds:
        if kind not in _KINDS:
            raise InvalidRequest(f"unknown object type: {kind}; known: {', '.join(_KINDS)}")
    wanted = frozenset(kinds or _KINDS)
    usage = Usage()
    if "container" in wanted:
        usage.containers = await engine.containers.list(all=True, size=True)
    if "volume" in wanted:
        usage.volumes = await engine.volumes.usage()
    if wanted & {"image", "build-cache"}:
        in_use = await engine.images.in_use()
        store = await asyncio.to_thread(engine.store.usage, in_use)
        if "image" in wanted:
            usage.layers_size = store.total - sum(store.unneeded.values())
            usage.images = _images(engine, store)
        if "build-cache" in wanted:
            usage.build_cache = await engine.builds.cache_records(store.unneeded)
            builds = engine.root / "build"
            folders = builds.iterdir() if builds.is_dir() else ()  # nothing was built yet
            usage.builder_size = sum(store.unneeded.values()) + sum(map(below, folders))
        if wanted.issuperset(_KINDS):
            usage.disk = await asyncio.to_thread(_disk, engine, usage, store)
    return usage


def _images(engine: "Engine", store: StoreUsage) -> list[ImageSummary]:
    targets = {image.id: Digest(image.target.digest) for image in engine.store.list()}
    images = engine.images.list()
    for image in images:
        if found := store.images.get(targets[Digest(image.id)]):
            image.size, image.shared_size = found.size, found.shared
    return images


def _disk(engine: "Engine", usage: Usage, store: StoreUsage) -> list[KindUsage]:
    """Each kind, and last what is the engine's own; together they are the whole data root."""
    root = engine.root
    kinds = [
        _of_images(usage, store),
        _of_containers(root / "containers", usage),
        _of_volumes(root / "volumes", usage),
        _of_builds(usage),
        _of_code(root, engine.store.modules()),
    ]
    counted = sum(kind.size for kind in kinds)
    return [*kinds, _kind("Engine", 1, 1, allocated(root) - counted, 0)]


def _of_images(usage: Usage, store: StoreUsage) -> KindUsage:
    images = usage.images or []
    unneeded = sum(store.unneeded.values())
    return _kind(
        "Images",
        len(images),
        sum(image.containers > 0 for image in images),
        store.total - unneeded + store.unfinished,
        store.reclaimable - unneeded + store.unfinished,
    )


def _of_containers(folder: Path, usage: Usage) -> KindUsage:
    """With their logs, of which Docker does not tell: removing a container frees them as well."""
    containers = usage.containers or []
    stopped = [each for each in containers if each.state not in _ALIVE]
    free = sum(allocated(folder / each.id) for each in stopped)
    alive = len(containers) - len(stopped)
    return _kind("Containers", len(containers), alive, below(folder), free)


def _of_volumes(folder: Path, usage: Usage) -> KindUsage:
    volumes = usage.volumes or []
    unused = [each for each in volumes if each.usage_data and not each.usage_data.ref_count]
    free = sum(allocated(folder / each.name) for each in unused)
    return _kind("Local Volumes", len(volumes), len(volumes) - len(unused), below(folder), free)


def _of_builds(usage: Usage) -> KindUsage:
    records, size = usage.build_cache or [], usage.builder_size or 0
    busy = sum(record.size for record in records if record.in_use)
    return _kind("Build Cache", len(records), sum(r.in_use for r in records), size, size - busy)


def _of_code(root: Path, modules: frozenset[str]) -> KindUsage:
    """Compiled code; what no image's module needs is of containers elsewhere, or of volumes."""
    sizes = shelf.sizes(root / "cache")
    active = sizes.keys() & modules
    free = sum(size for name, size in sizes.items() if name not in active)
    return _kind("Compiled Code", len(sizes), len(active), below(root / "cache"), free)


def _kind(type: str, total: int, active: int, size: int, reclaimable: int) -> KindUsage:
    return KindUsage(
        type=type, total_count=total, active=active, size=size, reclaimable=reclaimable
    )
