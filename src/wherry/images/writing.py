"""Writing the documents of images: manifests of layers that are there, indexes of manifests."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import structs

from wherry.images.blobs import BlobStore
from wherry.images.errors import InvalidImage
from wherry.images.image import MAX_CHILDREN, MAX_LAYERS, checked
from wherry.images.zstd_mark import marked
from wherry.oci import Descriptor, Digest, ImageConfig, Index, Manifest, MediaType, encode


class Written(NamedTuple):
    """An image that is not listed yet: its manifest, and its id."""

    target: Descriptor
    config: Digest


def write_manifest(
    blobs: BlobStore,
    config: ImageConfig,
    layers: Sequence[Descriptor],
    annotations: Mapping[str, str] | None,
) -> Written:
    """See `ImageStore.write_manifest`."""
    if len(config.rootfs.diff_ids) != len(layers):
        raise InvalidImage(f"{len(layers)} layers, but {len(config.rootfs.diff_ids)} in the config")
    if len(layers) > MAX_LAYERS:
        raise InvalidImage(
            f"{len(layers)} layers, at most {MAX_LAYERS} can run: let fewer steps make files, "
            "or copy the result into one more stage"
        )
    for layer in layers:
        blobs.size(checked(layer.digest))
    manifest = Manifest(
        schema_version=2,
        config=blobs.write(MediaType.CONFIG, encode(config), sync=False),
        layers=[*layers],
    )
    if annotations:
        manifest = structs.replace(manifest, annotations=dict(sorted(annotations.items())))
    written = blobs.write(MediaType.MANIFEST, encode(manifest), sync=False)
    blobs.sync()  # Both names at once: file systems keep the order of those in one folder.
    target = structs.replace(written, platform=config.platform)
    return Written(target, Digest(manifest.config.digest))


def write_index(blobs: BlobStore, manifests: Sequence[Descriptor]) -> Descriptor:
    """See `ImageStore.write_index`."""
    if len(manifests) > MAX_CHILDREN:
        raise InvalidImage(f"{len(manifests)} images, at most {MAX_CHILDREN} make an index")
    told = [marked(blobs, each) for each in manifests]
    index = Index(schema_version=2, manifests=told)
    return blobs.write(MediaType.INDEX, encode(index))
