"""What hangs on an image: signatures and other artifacts that are about it.

An attachment is a manifest of the store's index.json that says whose it is. It is no image: it is
not listed and has no containers; it stays as long as its subject does and goes with it.
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress

import msgspec
from msgspec.structs import replace

from wherry.images.blobs import BlobStore
from wherry.images.catalog import Attachment, Catalog
from wherry.images.errors import ImageError, ImageNotFound, InvalidImage
from wherry.images.image import checked, document, read_manifest
from wherry.oci import Descriptor, Digest, Manifest, Reference
from wherry.oci.document import MAX_DOCUMENT

_TAG = re.compile(r"sha256-([0-9a-f]{64})(\.[a-z0-9]+)?")

_Key = tuple[str, frozenset[tuple[str, str]]]


class Attached(msgspec.Struct, frozen=True):
    """An attachment with its manifest. `reference` is its name in a registry, if it has one."""

    target: Descriptor
    subject: Digest
    manifest: bytes
    reference: Reference | None = None


def names_attachments(tag: str) -> bool:
    """Whether a registry's tag is, by its form, of what hangs on an image and not of an image.

    cosign's signatures and attestations, and lists of referrers (distribution-spec 1.1, "Referrers
    Tag Schema").
    """
    return _TAG.fullmatch(tag) is not None


def subject_of_tag(tag: str) -> Digest | None:
    """The digest that such a tag is made of; None of another tag."""
    found = _TAG.fullmatch(tag)
    return Digest(f"sha256:{found[1]}") if found else None


class Attachments:
    """The attachments of one store."""

    def __init__(self, catalog: Catalog, blobs: BlobStore) -> None:
        self._catalog = catalog
        self._blobs = blobs

    def of(self, subject: Digest) -> list[Attached]:
        """What hangs on the manifest or index `subject`; what is damaged is passed over."""
        found = []
        for each in self._catalog.attached(subject):
            with suppress(ImageError):
                digest = checked(each.target.digest)
                manifest = self._blobs.read(digest, MAX_DOCUMENT)
                found.append(Attached(each.target, subject, manifest, each.reference))
        return found

    def add(
        self,
        subject: Digest,
        media_type: str,
        manifest: bytes,
        blobs: Mapping[Digest, bytes],
        reference: Reference | None = None,
    ) -> Descriptor:
        """Hang a manifest with its blobs on `subject`; to be called inside a hold.

        An attachment whose layers are all in the new one too is superseded by it; one that had
        the name `reference` otherwise stays, without it. Raises ImageNotFound when the subject is
        not in the store, InvalidImage when a blob is missing or not what it should be, StorageFull.
        """
        content = document(manifest, Manifest, "the attachment's manifest")
        for part in (content.config, *content.layers):
            self._store(part, blobs)
        target = self._blobs.write(media_type, manifest)
        with self._catalog.locked():
            if not self._blobs.has(subject):
                raise ImageNotFound(f"no such image: {subject}")
            new = Attachment(target, subject, reference)
            joined = self._joined(self._catalog.attachments(), new)
            self._catalog.replace(self._catalog.entries(), joined)
        return target

    def beside(self, new: Iterable[Attachment]) -> tuple[Attachment, ...]:
        """What hangs on images once `new` does, too; for the catalog, under its lock.

        Nothing is superseded: whoever writes archives could have a signature give way to so many
        that nobody looks at them.
        """
        known = self._catalog.attachments()
        there = {(each.subject, each.target.digest) for each in known}
        fresh = {(each.subject, each.target.digest): each for each in new}
        return (*known, *(each for key, each in fresh.items() if key not in there))

    def _joined(self, known: tuple[Attachment, ...], new: Attachment) -> tuple[Attachment, ...]:
        if new.reference is None and any(replace(each, reference=None) == new for each in known):
            return known
        layers = self._layers(new)
        others = []
        for each in known:
            nameless = each.reference in (None, new.reference)
            beside = nameless and each.subject == new.subject
            if beside and (each.target == new.target or layers >= self._layers(each)):
                continue
            others.append(replace(each, reference=None) if nameless else each)
        return (*others, new)

    def _store(self, part: Descriptor, blobs: Mapping[Digest, bytes]) -> None:
        digest = checked(part.digest)
        data = blobs.get(digest)
        if data is None:
            if not self._blobs.has(digest):
                raise InvalidImage(f"blob {digest} of the attachment is missing")
            return
        with self._blobs.writer() as writer:
            writer.write(data)
            writer.commit(part.media_type, digest, part.size)

    def _layers(self, known: Attachment) -> set[_Key]:
        """What an attachment consists of; damaged, it has nothing to lose."""
        try:
            return {_key(layer) for layer in read_manifest(self._blobs, known.target).layers}
        except ImageError:
            return set()


def _key(layer: Descriptor) -> _Key:
    return layer.digest, frozenset((layer.annotations or {}).items())
