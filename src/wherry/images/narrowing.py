"""What of an index belongs to one platform: its image, and the attestations about that."""

from collections.abc import Collection, Sequence

from wherry.images.blobs import BlobStore
from wherry.images.choice import none_suits
from wherry.images.image import Image, about, descend, images_below
from wherry.oci import Descriptor, MediaType, Platform


def of_platform(images: Sequence[Image], platform: Platform, name: str) -> Image:
    """The image for exactly that platform; one that would only serve for it is not meant.

    Raises NoSuchPlatform.
    """
    for image in images:
        if image.platform.normal == platform.normal:
            return image
    raise none_suits(name, [image.platform for image in images], platform, linux=False)


def belonging(blobs: BlobStore, target: Descriptor, images: Collection[str]) -> list[Descriptor]:
    """The manifests below `target` of these `images`, by digest, and of what is said of them."""
    below = manifests_below(blobs, [target])
    return [each for each in below if each.digest in images or about(each) in images]


def manifests_below(blobs: BlobStore, targets: Sequence[Descriptor]) -> list[Descriptor]:
    """All manifests below some targets, as far as their indexes can be read."""
    found = (each for target in targets for each in descend(blobs, target, tolerant=True))
    return [each for each in found if each.media_type in MediaType.MANIFESTS]


def others(
    blobs: BlobStore, named: Sequence[tuple[Descriptor, str]], platform: Platform
) -> list[Descriptor]:
    """The manifests that the images for `platform` below some named targets can do without.

    Raises NoSuchPlatform.
    """
    kept: list[Descriptor] = []
    for target, name in named:
        image = of_platform(images_below(blobs, target), platform, name)
        kept += belonging(blobs, target, {image.digest})
    digests = {each.digest for each in kept}
    below = manifests_below(blobs, [target for target, _ in named])
    return [each for each in below if each.digest not in digests]
