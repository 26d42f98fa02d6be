"""Removing images, and everything that no image needs any more.

First the catalog changes, then what nobody can reach from it is deleted: killed in between, a
store holds too much but never too little.
"""

from collections import Counter
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from wherry import shelf
from wherry.images.blobs import BlobStore
from wherry.images.catalog import Catalog, Entry
from wherry.images.errors import ImageInUse
from wherry.images.holds import Holds
from wherry.images.image import Image
from wherry.images.layer import Layer
from wherry.images.lookup import Found, Lookup
from wherry.images.narrowing import belonging, of_platform
from wherry.images.reach import Reach
from wherry.images.rootfs import RootFilesystems
from wherry.oci import Descriptor, Digest, Platform

if TYPE_CHECKING:
    from wherry.images.checking import Fault, Progress

_EPOCH = datetime.fromtimestamp(0, UTC)


class Removal(msgspec.Struct, frozen=True):
    """What went: familiar names, ids of images, and bytes on disk."""

    untagged: list[str] = []
    deleted: list[Digest] = []
    reclaimed: int = 0


class ImageUsage(msgspec.Struct, frozen=True):
    """Bytes on disk of one image, blobs and unpacked layers; and of these what others need too."""

    size: int
    shared: int


class Usage(msgspec.Struct, frozen=True):
    """Bytes on disk: of blobs, of unpacked layers, and what removing unused images frees.

    `images` tells of each by the digest of its target. `unneeded` of the blobs and layers that no
    image needs, by digest and diff_id: they are the build cache's, or garbage. `unfinished` is what
    is half-made, which `prune` gives back; the catalog and the store's own folders are not counted.
    """

    blobs: int
    layers: int
    reclaimable: int
    unfinished: int = 0
    unneeded: Mapping[str, int] = {}
    images: Mapping[Digest, ImageUsage] = {}

    @property
    def total(self) -> int:
        """All that is whole."""
        return self.blobs + self.layers


class Housekeeping:
    """Removal and collection for one store."""

    def __init__(
        self,
        catalog: Catalog,
        lookup: Lookup,
        blobs: BlobStore,
        rootfs: RootFilesystems,
        holds: Holds,
        code: Path,
    ) -> None:
        self._catalog = catalog
        self._lookup = lookup
        self._blobs = blobs
        self._rootfs = rootfs
        self._holds = holds
        self._code = code
        self.reach = Reach(catalog, blobs, rootfs)

    def remove(self, name: str, force: bool, in_use: frozenset[Digest]) -> Removal:
        """See `ImageStore.remove`."""
        with self._catalog.locked():
            found = self._lookup.find(name)
            entries = self._catalog.entries()
            named = [e for e in entries if e.digest == found.target.digest and e.reference]
            going = _going(found, named, name, force)
            last = len(going) == len(named)
            if last and not force and _is_any(found.images, in_use):
                raise ImageInUse(
                    f"image {name} is used by a container: remove the container first, or force it"
                )
            kept = [entry for entry in entries if entry not in going]
            reached = self.reach.with_attachments(found.target)
            with self._holds.collecting() as spared:
                stays = spared is None or _is_any(found.images, in_use | spared)
                if last:
                    kept = [entry for entry in kept if entry.digest != found.target.digest]
                if last and stays:
                    kept.append(Entry(found.target))
                self._catalog.replace(kept)
        untagged = [entry.reference.familiar for entry in going if entry.reference]
        if stays or not last:
            return Removal(untagged)
        ids = [*dict.fromkeys(image.id for image in found.images)]
        return Removal(untagged, ids, self.discard(reached, in_use))

    def remove_platforms(
        self, name: str, platforms: Sequence[Platform], in_use: frozenset[Digest]
    ) -> Removal:
        """See `ImageStore.remove_platforms`."""
        found = self._lookup.find(name)
        going = {i.digest: i for i in (of_platform(found.images, p, name) for p in platforms)}
        if len(going) == len(found.images):
            raise ImageInUse(f"image {name} has nothing else here: remove it without a platform")
        for image in going.values():
            if _is_any([image], in_use):
                raise ImageInUse(
                    f"image {name} for {image.platform} is used by a container: remove the "
                    "container first"
                )
        manifests = belonging(self._blobs, found.target, going)
        gone, reclaimed = self.drop(manifests, in_use)
        for image in going.values():
            if image.digest not in gone:
                raise ImageInUse(
                    f"image {name} for {image.platform} has a name of its own, or is being worked "
                    "with: remove it by that name, or try again"
                )
        return Removal([], sorted(gone), reclaimed)

    def drop(
        self, manifests: Sequence[Descriptor], in_use: frozenset[Digest] = frozenset()
    ) -> tuple[set[Digest], int]:
        """Delete manifests that indexes name, and what nobody else needs of what they need.

        One that is in the catalog by itself stays, and one that a hold spares. Returns which have
        gone, and the bytes given back. First the manifests go: killed in between, a store holds
        too much, which `collect` finds.
        """
        needs = {Digest(each.digest): self.reach.of(each) for each in manifests}
        with self._catalog.locked():
            own = {entry.digest for entry in self._catalog.entries()}
            with self._holds.collecting() as spared:
                if spared is None:
                    return set(), 0
                gone = needs.keys() - own - spared
                reclaimed = sum(self._blobs.delete(digest) for digest in gone)
        self.reach.forget({*gone})
        self._lookup.forget()
        rest = {name for digest in gone for name in needs[digest]} - gone
        return {*gone}, reclaimed + self.discard(rest, in_use)

    def prune(
        self,
        *,
        all: bool,
        in_use: frozenset[Digest],
        until: datetime | None,
        labels: Sequence[str],
        without_labels: Sequence[str],
    ) -> Removal:
        """See `ImageStore.prune`."""

        def fits(image: Image) -> bool:
            if image.names and not all:
                return False
            if until and (image.created or _EPOCH) >= until:
                return False
            return _has_labels(image, labels, without_labels)

        with self._catalog.locked():
            images = [image for image in self._lookup.images() if fits(image)]
            entries = self._catalog.entries()
            with self._holds.collecting() as spared:
                going = []
                if spared is not None:
                    going = [i for i in images if not _is_any([i], in_use | spared)]
                targets = {image.target.digest for image in going}
                self._catalog.replace(e for e in entries if e.digest not in targets)
        untagged = [name for image in going for name in image.names]
        return Removal(untagged, [image.id for image in going], self.collect(in_use))

    def collect(self, in_use: frozenset[Digest]) -> int:
        """Delete every blob and layer that no image in the catalog needs; returns the bytes."""
        names = [*self._blobs.digests(), *self._rootfs.names()]
        return self.discard(names, in_use) + self.sweep(downloads=True)

    def sweep(self, *, downloads: bool = False) -> int:
        """Delete what somebody who was killed has left half-made; returns the bytes of blobs.

        Downloads that could be gone on with stay for a day, unless `downloads`.
        """
        reclaimed = 0
        with self._catalog.locked(), self._holds.collecting() as spared:
            if spared is None:
                return 0
            for path in self._blobs.leftovers(downloads=downloads):
                if path.name not in spared:
                    reclaimed += path.stat().st_size
                    path.unlink(missing_ok=True)
            leftovers = [name for name in self._rootfs.leftovers() if name not in spared]
        self._rootfs.sweep(leftovers)
        return reclaimed

    def discard(self, candidates: Iterable[str], in_use: frozenset[Digest] = frozenset()) -> int:
        """Delete those of `candidates` that no image needs and no hold spares."""
        reclaimed = 0
        trash = []
        with self._catalog.locked():
            live = self._live(in_use)
            unneeded = set(candidates) - live
            layers = set(self._rootfs.names())
            with self._holds.collecting() as spared:
                if spared is None:
                    return 0
                going = unneeded - spared
                self._detach(live | spared)
                self._forget_code(layers & going, layers - going)
                for name in going:
                    if ":" in name:
                        reclaimed += self._blobs.delete(Digest(name))
                        self.reach.forget({name})
                    elif name in layers:
                        size, discarded = self._rootfs.discard(name)
                        reclaimed += size
                        trash.append(discarded)
        self._rootfs.sweep(trash)
        return reclaimed

    def usage(self, in_use: frozenset[Digest]) -> Usage:
        """See `ImageStore.usage`."""
        sizes: dict[str, int] = {name: self._rootfs.size(name) for name in self._rootfs.names()}
        sizes |= {digest: self._blobs.allocated(digest) for digest in self._blobs.digests()}
        targets = {entry.digest: entry.target for entry in self._catalog.entries()}
        reach = {
            digest: self.reach.with_attachments(target) & sizes.keys()
            for digest, target in targets.items()
        }
        users = Counter(name for names in reach.values() for name in names)
        kept: set[str] = set(in_use)
        for image in self._lookup.images():
            if _is_any([image], in_use):
                kept |= reach.get(Digest(image.target.digest), frozenset())
        total = sum(sizes.values())
        layers = sum(sizes[name] for name in sizes if ":" not in name)
        return Usage(
            total - layers,
            layers,
            reclaimable=total - sum(sizes[name] for name in sizes.keys() & kept),
            unfinished=self._blobs.unfinished() + self._rootfs.unfinished(),
            unneeded=self._by_digest({n: size for n, size in sizes.items() if n not in users}),
            images={
                digest: ImageUsage(
                    sum(sizes[name] for name in names),
                    sum(sizes[name] for name in names if users[name] > 1),
                )
                for digest, names in reach.items()
            },
        )

    def check(
        self, *, repair: bool, busy: Collection[Path], layers: Collection[Layer]
    ) -> "Generator[Fault | Progress, None, None]":
        """See `ImageStore.check`."""
        from wherry.images.checking import Checking

        checking = Checking(
            self._catalog,
            self._blobs,
            self._rootfs,
            self.reach,
            self._holds,
            repair=repair,
            busy=busy,
            layers=layers,
        )
        yield from checking.run()

    def forget_code(self, modules: Collection[str]) -> None:
        """See `ImageStore.forget_code`."""
        with self._catalog.locked():
            unneeded = frozenset(modules) - self._rootfs.modules(self._rootfs.names())
            if unneeded:
                shelf.forget(self._code, unneeded)

    def _by_digest(self, sizes: Mapping[str, int]) -> Mapping[str, int]:
        found: Counter[str] = Counter()
        for name, size in sizes.items():
            found[name if ":" in name else self._rootfs.key(name)] += size
        return found

    def _forget_code(self, going: Collection[str], staying: Collection[str]) -> None:
        """Remove the code of modules that are in the layers `going` and in none of `staying`.

        Before the layers go: killed in between, code is missing, which is made again when it is
        wanted; the other way round nobody would know any more whose it was.
        """
        modules = self._rootfs.modules(going)
        if modules:
            shelf.forget(self._code, modules - self._rootfs.modules(staying))

    def _live(self, in_use: frozenset[Digest]) -> set[str]:
        live: set[str] = set(in_use)
        for target in {entry.digest: entry.target for entry in self._catalog.entries()}.values():
            live |= self.reach.with_attachments(target)
        return live | self._rootfs.formerly(live)

    def _detach(self, staying: Collection[str]) -> None:
        """Take out of the catalog what hangs on nothing any more; under its lock.

        Before its blobs go: killed in between, a store holds too much.
        """
        attachments = self._catalog.attachments()
        self._catalog.detach([each for each in attachments if each.subject not in staying])


def _going(found: Found, named: Sequence[Entry], name: str, force: bool) -> list[Entry]:
    """The entries that lose their name: the one asked for, or by id all of them."""
    if found.reference:
        return [entry for entry in named if entry.reference == found.reference]
    repositories = {entry.reference.familiar_name for entry in named if entry.reference}
    if len(repositories) > 1 and not force:
        raise ImageInUse(
            f"image {name} has several names ({', '.join(sorted(repositories))}): "
            "remove them by name, or force it"
        )
    return [*named]


def _is_any(images: Iterable[Image], digests: Collection[str]) -> bool:
    return any(image.id in digests or image.digest in digests for image in images)


def _has_labels(image: Image, wanted: Sequence[str], unwanted: Sequence[str]) -> bool:
    labels = (image.config.config and image.config.config.labels) or {}

    def has(text: str) -> bool:
        key, equals, value = text.partition("=")
        return key in labels and (not equals or labels[key] == value)

    return all(map(has, wanted)) and not any(map(has, unwanted))
