"""What an index says of its images' compression, in the words of podman and skopeo.

They mark an image with zstd layers in every index that they copy, which gives the index another
digest, and refuse to copy it where digests are to stay. One that is marked already they take as it
is; and of two images for one platform they choose by the mark.
"""

from msgspec import structs

from wherry.images.blobs import BlobStore
from wherry.images.errors import ImageNotFound, InvalidImage
from wherry.images.image import read_manifest
from wherry.oci import Descriptor, Manifest, MediaType

_MARK = "io.github.containers.compression.zstd"


def marked(blobs: BlobStore, image: Descriptor) -> Descriptor:
    """The descriptor of a manifest as an index should have it, if the manifest is in the store."""
    if image.media_type not in MediaType.MANIFESTS:
        return image
    try:
        return mark(image, read_manifest(blobs, image))
    except (ImageNotFound, InvalidImage):
        return image


def mark(image: Descriptor, manifest: Manifest) -> Descriptor:
    """The descriptor of this manifest as an index should have it."""
    if not any(layer.media_type.endswith("zstd") for layer in manifest.layers):
        return image
    annotations = {**(image.annotations or {}), _MARK: "true"}
    return structs.replace(image, annotations=dict(sorted(annotations.items())))
