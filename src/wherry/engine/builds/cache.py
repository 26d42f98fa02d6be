"""What builds keep: results of steps, and the folders of cache mounts; how it is bounded.

Imported with the first build, or when somebody asks.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from wherry.build.cache import BuildCache, Kept
from wherry.build.cache_mounts import CacheFolder, CacheMounts
from wherry.engine.builds.bounds import Bounds
from wherry.engine.builds.records import CacheRecord
from wherry.engine.clock import timestamp
from wherry.images import ImageStore, Layer
from wherry.oci import Digest

ROOM = Bounds(most=10 << 30)
"""Bytes that are kept; beyond that goes what was not used for longest."""

_ID_LENGTH = 25


class Keeping:
    """What builds keep in the data root's `build`. Blocking."""

    def __init__(self, folder: Path, store: ImageStore) -> None:
        self._root = folder.parent
        self._store = store
        self._cache = BuildCache(folder / "cache", store.blobs)
        self._mounts = CacheMounts(folder / "mounts")

    def records(self, unneeded: Mapping[str, int]) -> list[CacheRecord]:
        """All of it, that used last first. `unneeded` is what layers take that no image needs."""
        left = dict(unneeded)  # Of several records of one layer the last used is told its bytes.
        found = [
            CacheRecord(
                id=kept.key[:_ID_LENGTH],
                size=kept.size + sum(left.pop(digest, 0) for digest in kept.layer),
                shared=bool(kept.layer) and unneeded.keys().isdisjoint(kept.layer),
                created_at=kept.written or timestamp(kept.used),
                last_used_at=timestamp(kept.used),
            )
            for kept in sorted(self._cache.kept(), key=lambda kept: -kept.used)
        ]
        return found + [_of_mount(each) for each in self._mounts.folders()]

    def prune(
        self, in_use: Collection[Digest], bounds: Bounds, *, before: int | None = None
    ) -> tuple[list[str], int]:
        """Remove what was not used for longest until what is left is within `bounds`.

        Only what was last used `before` (nanoseconds) goes, and nothing that a build uses.
        `in_use` are blobs that are to stay. Returns what went, and the bytes given back.
        """
        unneeded = dict(self._store.usage(in_use).unneeded)
        gone: list[str] = []
        layers: list[Layer] = []
        freed = kept_bytes = 0
        stays: set[str] = set()
        things: list[Kept | CacheFolder] = [*self._cache.kept(), *self._mounts.folders()]
        total = sum(thing.size for thing in things) + sum(unneeded.values())
        disk = os.statvfs(self._root)
        keep = bounds.keep(total, disk.f_bavail * disk.f_frsize)
        for thing in sorted(things, key=_used, reverse=True):
            digests = () if isinstance(thing, CacheFolder) else thing.layer
            size = thing.size + sum(unneeded.get(digest, 0) for digest in set(digests) - stays)
            spared = before is not None and _used(thing) >= before
            if spared or kept_bytes + size <= keep:
                kept_bytes += size
                stays.update(digests)
            elif isinstance(thing, CacheFolder):
                if self._mounts.remove(thing.key):
                    gone.append(thing.key[:_ID_LENGTH])
                    freed += thing.size
            else:
                self._cache.forget(thing.key)
                gone.append(thing.key[:_ID_LENGTH])
                freed += thing.size
                if thing.stacked is not None and stays.isdisjoint(digests):
                    layers.append(thing.stacked)
        if not bounds.given and before is None:
            return gone, freed + self._store.collect(in_use)
        return gone, freed + self._store.discard_layers(layers, in_use)


def _used(thing: Kept | CacheFolder) -> int:
    return thing.last_used if isinstance(thing, CacheFolder) else thing.used


def _of_mount(folder: CacheFolder) -> CacheRecord:
    return CacheRecord(
        id=folder.key[:_ID_LENGTH],
        type="exec.cachemount",
        description=f"cache mount {folder.id}",
        in_use=folder.in_use,
        size=folder.size,
        created_at=timestamp(folder.last_used),
        last_used_at=timestamp(folder.last_used),
    )
