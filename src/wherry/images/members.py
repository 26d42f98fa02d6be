"""What an index has of each platform, and how much of that is in the store."""

from collections.abc import Iterator

import msgspec

from wherry.images.blobs import BlobStore
from wherry.images.errors import ImageNotFound, InvalidImage
from wherry.images.image import Image, about, checked, descend, is_image, read_image
from wherry.images.unpacked import UnpackedLayers
from wherry.oci import Descriptor, MediaType


class Member(msgspec.Struct, frozen=True):
    """One manifest below a name. Sizes are bytes, of what is there.

    `image` is None if it is none, or its documents are not in the store; `about` the digest of the
    image that an attestation is about.
    """

    descriptor: Descriptor
    is_image: bool
    image: Image | None
    about: str
    available: bool
    """Everything of it is there."""
    content: int
    unpacked: int


def members(blobs: BlobStore, rootfs: UnpackedLayers, target: Descriptor) -> Iterator[Member]:
    """The manifests below `target` in their order, or itself if it is one. Raises InvalidImage."""
    for found in descend(blobs, target):
        if found.media_type in MediaType.MANIFESTS:
            yield _member(blobs, rootfs, found)


def _member(blobs: BlobStore, rootfs: UnpackedLayers, found: Descriptor) -> Member:
    image, content, unpacked, missing = None, 0, 0, True
    try:
        image = read_image(blobs, found)
    except (ImageNotFound, InvalidImage):
        if blobs.has(checked(found.digest)):
            content = blobs.size(checked(found.digest))
    else:
        parts = {digest for digest in image.blobs if blobs.has(digest)}
        content = sum(blobs.size(digest) for digest in parts)
        missing = parts != set(image.blobs)
        there = set(rootfs.names())
        keys = rootfs.keys(image.layers)
        unpacked = sum(rootfs.size(name) for name in keys & there)
    counts = is_image(found)
    own = image if counts else None
    return Member(found, counts, own, about(found), not missing, content, unpacked)
