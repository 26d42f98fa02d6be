"""Finding images: by name, digest, id or a part of the id."""

import re
from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from wherry.images.blobs import BlobStore
from wherry.images.catalog import Catalog, Entry
from wherry.images.choice import choose, none_suits, not_here, told
from wherry.images.errors import (
    AmbiguousImage,
    ImageNotFound,
    InvalidImage,
    NoSuchPlatform,
)
from wherry.images.image import Image, images_below, images_named
from wherry.oci import (
    Descriptor,
    Digest,
    InvalidReference,
    MediaType,
    Platform,
    Reference,
    parse_reference,
)

_ID = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})")
_WHOLE = 64


class Found(msgspec.Struct, frozen=True):
    """What a person's text stands for: a target, and the name it was found by, if by name."""

    target: Descriptor
    images: tuple[Image, ...]
    reference: Reference | None = None
    exact: bool = False
    """It was named by its own id or digest, not by that of its index."""


class Selected(msgspec.Struct, frozen=True):
    """The image that a name means here, and in a line how it was chosen, if there was a choice."""

    image: Image
    told: str = ""


class Lookup:
    """Reads images through the catalog, each manifest and config once.

    `linux` tells whether this machine has a runtime for Linux programs.
    """

    def __init__(self, catalog: Catalog, blobs: BlobStore, linux: Callable[[], bool]) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._linux = linux
        self._known: dict[str, tuple[Image, ...]] = {}
        self._listed: tuple[tuple[Entry, ...], bool, tuple[Image, ...]] = ((), False, ())
        self._forgotten = 0

    def forget(self) -> None:
        """Look again at what is in the store: another image of an index may have come."""
        self._listed = ((), False, ())
        self._forgotten += 1

    def images(self) -> tuple[Image, ...]:
        """One image for each target in the catalog; ones that cannot be read are left out."""
        forgotten = self._forgotten
        entries, linux = self._catalog.entries(), self._linux()
        if self._listed[0] is entries and self._listed[1] == linux:
            return self._listed[2]
        targets = {entry.digest: entry.target for entry in entries}
        names = _names(entries)
        images = []
        for digest, target in targets.items():
            chosen = prefer(self._readable(target), None, linux=linux)
            if chosen:
                images.append(replace(chosen, names=names[digest], target=target))
        self._known = {digest: known for digest, known in self._known.items() if digest in names}
        if forgotten == self._forgotten:
            self._listed = (entries, linux, tuple(images))
        return tuple(images)

    def resolve(self, name: str, platform: Platform | None) -> Image:
        """The image `name` stands for, to be looked at: of an index, one that is in the store.

        Raises what `find` does, and NoSuchPlatform.
        """
        found, linux = self.find(name), self._linux()
        image = prefer(found.images, platform, linux=linux)
        if image is None:
            raise lacking(self._blobs, found, name, platform, linux=linux)
        # If it was removed before it could be kept, the name may mean another.
        return self._kept(found, image) or self.resolve(name, platform)

    def select(self, name: str, platform: Platform | None) -> Selected:
        """The image that `name` means on this machine, to be run.

        Of an index it is chosen from all that the index names. Raises what `find` does, and
        NoSuchPlatform, also where the one to run is not in the store.
        """
        found, linux = self.find(name), self._linux()
        here = {image.digest: image for image in found.images}
        offers = [*here]
        platforms = [image.platform for image in found.images]
        if found.target.media_type in MediaType.INDEXES and not found.exact:
            named = [*images_named(self._blobs, found.target)]
            known = [_platform(here.get(Digest(d.digest)), d) for d in named]
            offers = [Digest(d.digest) for d, one in zip(named, known, strict=True) if one]
            platforms = [one for one in known if one]
        elif platform is None:
            # There is nothing to choose; who is to run it says whether that can be.
            kept = self._kept(found, found.images[0])
            return Selected(kept) if kept else self.select(name, platform)
        choice = choose(platforms, platform, linux=linux)
        if choice is None:
            raise none_suits(name, platforms, platform, linux=linux)
        image = here.get(offers[choice.position])
        if image is None:
            raise not_here(name, platforms[choice.position], [one.platform for one in found.images])
        kept = self._kept(found, image)
        if kept is None:
            return self.select(name, platform)
        return Selected(kept, "" if platform else told(name, platforms, choice))

    def _kept(self, found: Found, image: Image) -> Image | None:
        """The image with its names, safe from removal as long as the hold lasts; None if gone."""
        self._blobs.keep([found.target.digest], [image.id], image.blobs)
        names = _names(self._catalog.entries())
        if found.target.digest not in names:
            return None
        return replace(image, names=names[found.target.digest], target=found.target)

    def find(self, name: str) -> Found:
        """What `name` stands for: a whole id, a name, a name with digest, or an id's beginning.

        Raises ImageNotFound, AmbiguousImage, InvalidImage.
        """
        entries = self._catalog.entries()
        if (id := whole_id(name)) and (found := self._by_id(entries, id)):
            return found[0]
        entry = _by_name(entries, name)
        if entry:
            return Found(entry.target, self.below(entry.target), entry.reference)
        if below := self._by_digest(entries, name):
            return below
        pattern = _ID.fullmatch(name)
        if pattern:
            found = self._by_id(entries, pattern[1])
            if len(found) > 1:
                raise AmbiguousImage(f"several images have an id that begins with {name}")
            if found:
                return found[0]
        raise ImageNotFound(f"no such image: {name}: pull it, build it, or load it")

    def below(self, target: Descriptor) -> tuple[Image, ...]:
        """The images of a target, at least one. Raises ImageNotFound, InvalidImage."""
        known = self._known.get(target.digest)
        if known is None:
            known = tuple(images_below(self._blobs, target))
            if not known:
                raise InvalidImage(f"index {target.digest} has no image that is in the store")
            if target.media_type not in MediaType.INDEXES:
                self._known[target.digest] = known
        return known

    def _by_digest(self, entries: Sequence[Entry], name: str) -> Found | None:
        """An image of an index, by the index's name and its own digest."""
        try:
            wanted = parse_reference(name)
        except InvalidReference:
            return None
        if wanted.digest:
            for entry in entries:
                if entry.reference and entry.reference.name == wanted.name:
                    for image in self._readable(entry.target):
                        if image.digest == wanted.digest:
                            return Found(entry.target, (image,), exact=True)
        return None

    def _by_id(self, entries: Sequence[Entry], prefix: str) -> list[Found]:
        """One for each image id that fits; a digest of a manifest or index fits as well.

        An image that is there by itself, too, is that one and not the part of an index.
        """
        found: dict[Digest, Found] = {}
        alone = [entry for entry in entries if entry.target.media_type not in MediaType.INDEXES]
        for entry in dict.fromkeys((*alone, *entries)):
            images = self._readable(entry.target)
            if images and entry.digest.startswith(f"sha256:{prefix}"):
                found.setdefault(images[0].id, Found(entry.target, images))
            for image in images:
                if image.id.startswith(f"sha256:{prefix}") or image.digest == f"sha256:{prefix}":
                    found.setdefault(image.id, Found(entry.target, (image,), exact=True))
        return [*found.values()]

    def _readable(self, target: Descriptor) -> tuple[Image, ...]:
        try:
            return self.below(target)
        except (ImageNotFound, InvalidImage):
            return ()


def lacking(
    blobs: BlobStore, found: Found, name: str, wanted: Platform | None, *, linux: bool
) -> NoSuchPlatform:
    """The error to raise where no image that is in the store suits: it may be elsewhere."""
    here = [image.platform for image in found.images]
    if found.target.media_type in MediaType.INDEXES and wanted and not found.exact:
        named = [each.platform for each in images_named(blobs, found.target) if each.platform]
        if (choice := choose(named, wanted, linux=linux)) is not None:
            return not_here(name, named[choice.position], here)
    return none_suits(name, here, wanted, linux=linux)


def whole_id(name: str) -> str:
    """The hexadecimal digits of an id or digest, if all of them are there; else empty.

    An archive can bring an image that is called so: this is never the one that is meant.
    """
    pattern = _ID.fullmatch(name)
    return pattern[1] if pattern and len(pattern[1]) == _WHOLE else ""


def _platform(image: Image | None, descriptor: Descriptor) -> Platform | None:
    """What the image itself says, if it is there, counts more than what its index says."""
    return image.platform if image else descriptor.platform


def prefer(images: Sequence[Image], platform: Platform | None, *, linux: bool) -> Image | None:
    """Of images that are there the one to look at: any, if no platform was asked for."""
    if platform is None and len(images) == 1:
        return images[0]
    platforms = [image.platform for image in images]
    choice = choose(platforms, platform, linux=linux) or choose(platforms, platform, linux=True)
    if choice is not None:
        return images[choice.position]
    return images[0] if images and platform is None else None


def _by_name(entries: Sequence[Entry], name: str) -> Entry | None:
    try:
        wanted = parse_reference(name).with_default_tag()
    except InvalidReference:
        return None
    nameless = None
    for entry in entries:
        if entry.reference == wanted:
            return entry
        if wanted.digest and entry.digest == wanted.digest:
            same = not entry.reference or entry.reference.name == wanted.name
            nameless = nameless or (replace(entry, reference=None) if same else None)
    return nameless


def _names(entries: Sequence[Entry]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for entry in entries:
        known = names.setdefault(entry.target.digest, [])
        if entry.reference:
            known.append(entry.reference.familiar)
    return names
