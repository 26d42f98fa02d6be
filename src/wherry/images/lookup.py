"""Finding images: by name, digest, id or a part of the id."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from wherry.images.blobs import BlobStore
from wherry.images.catalog import Catalog, Entry
from wherry.images.errors import (
    AmbiguousImage,
    ImageNotFound,
    InvalidImage,
    NoSuchPlatform,
)
from wherry.images.image import Image, choose, images_below
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


@dataclass(frozen=True, slots=True)
class Found:
    """What a person's text stands for: a target, and the name it was found by, if by name."""

    target: Descriptor
    images: tuple[Image, ...]
    reference: Reference | None = None


class Lookup:
    """Reads images through the catalog, each manifest and config once."""

    def __init__(self, catalog: Catalog, blobs: BlobStore) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._known: dict[str, tuple[Image, ...]] = {}
        self._listed: tuple[tuple[Entry, ...], tuple[Image, ...]] = ((), ())

    def images(self) -> tuple[Image, ...]:
        """One image for each target in the catalog; ones that cannot be read are left out."""
        entries = self._catalog.entries()
        if self._listed[0] is entries:
            return self._listed[1]
        targets = {entry.digest: entry.target for entry in entries}
        names = _names(entries)
        images = []
        for digest, target in targets.items():
            chosen = choose(self._readable(target), None)
            if chosen:
                images.append(replace(chosen, names=names[digest], target=target))
        self._known = {digest: known for digest, known in self._known.items() if digest in names}
        self._listed = (entries, tuple(images))
        return self._listed[1]

    def resolve(self, name: str, platform: Platform | None) -> Image:
        """The image `name` stands for. Raises what `find` does, and NoSuchPlatform."""
        found = self.find(name)
        image = choose(found.images, platform)
        if image is None:
            there = ", ".join(str(other.platform) for other in found.images)
            raise NoSuchPlatform(f"image {name} is for {there}, not for {platform}")
        self._blobs.keep([found.target.digest], [image.id], image.blobs)
        names = _names(self._catalog.entries())
        if found.target.digest not in names:
            return self.resolve(name, platform)  # It was removed before it could be kept.
        return replace(image, names=names[found.target.digest], target=found.target)

    def find(self, name: str) -> Found:
        """What `name` stands for: a name, a name with digest, or the beginning of an id.

        Raises ImageNotFound, AmbiguousImage, InvalidImage.
        """
        entries = self._catalog.entries()
        entry = _by_name(entries, name)
        if entry:
            return Found(entry.target, self.below(entry.target), entry.reference)
        pattern = _ID.fullmatch(name)
        if pattern:
            found = self._by_id(entries, pattern[1])
            if len(found) > 1:
                raise AmbiguousImage(f"several images have an id that begins with {name}")
            if found:
                return found[0]
        raise ImageNotFound(f"no such image: {name}: build it, or load it with 'wherry load'")

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

    def _by_id(self, entries: Sequence[Entry], prefix: str) -> list[Found]:
        """One for each image id that fits; a digest of a manifest or index fits as well."""
        found: dict[Digest, Found] = {}
        for entry in entries:
            images = self._readable(entry.target)
            if images and entry.digest.startswith(f"sha256:{prefix}"):
                found.setdefault(images[0].id, Found(entry.target, images))
            for image in images:
                if image.id.startswith(f"sha256:{prefix}") or image.digest == f"sha256:{prefix}":
                    found.setdefault(image.id, Found(entry.target, (image,)))
        return [*found.values()]

    def _readable(self, target: Descriptor) -> tuple[Image, ...]:
        try:
            return self.below(target)
        except (ImageNotFound, InvalidImage):
            return ()


def _by_name(entries: Sequence[Entry], name: str) -> Entry | None:
    try:
        wanted = parse_reference(name).with_default_tag()
    except InvalidReference:
        return None
    for entry in entries:
        if wanted.digest:
            same = not entry.reference or entry.reference.name == wanted.name
            if same and entry.digest == wanted.digest:
                return replace(entry, reference=None)
        elif entry.reference == wanted:
            return entry
    return None


def _names(entries: Sequence[Entry]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for entry in entries:
        known = names.setdefault(entry.target.digest, [])
        if entry.reference:
            known.append(entry.reference.familiar)
    return names
