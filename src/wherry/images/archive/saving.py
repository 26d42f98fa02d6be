"""Writing archives that are OCI archives and `docker load` archives at once.

Docker's classic image store refuses a config whose system is not `linux`, so `manifest.json` names
a second config for such an image, which differs in that. Whoever reads `index.json`, as Docker
with containerd's image store does, sees the image as it is.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from wherry.images.archive.hanging import attached_to, blobs_of, listed
from wherry.images.attachments import Attachments
from wherry.images.blobs import BlobStore
from wherry.images.catalog import Entry
from wherry.images.image import Image, descend
from wherry.images.lookup import Found, Lookup, lacking, prefer
from wherry.images.reach import Reach
from wherry.images.tar import Entry as Member
from wherry.images.tar import Kind, TarWriter
from wherry.images.tar.writer import Output
from wherry.oci import (
    HOST,
    Digest,
    Index,
    Layout,
    MediaType,
    Platform,
    decode,
    digest_of,
    encode,
    is_module,
)
from wherry.oci.document import MAX_DOCUMENT

_CHUNK = 1 << 20


class DockerImage(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One entry of `manifest.json`: paths in the archive, and names."""

    config: str
    repo_tags: list[str] | None = None
    layers: list[str] | None = None


def save(
    lookup: Lookup,
    reach: Reach,
    blobs: BlobStore,
    attachments: Attachments,
    names: Sequence[str],
    out: Output,
    platform: Platform | None = None,
) -> None:
    """Write the images `names` stand for, with their signatures. Equal stores give equal archives.

    Of an index everything that is there is written, or with `platform` only the image for that:
    the index itself stays what it is. Raises as `Lookup.find`, NoSuchPlatform, and InvalidImage
    when one is not whole.
    """
    names = [*dict.fromkeys(names)]
    found = [lookup.find(name) for name in names]
    if platform is not None:
        found = [
            _narrowed(blobs, one, name, platform) for one, name in zip(found, names, strict=True)
        ]
    for one in found:
        reach.verify(one.target)
    entries = {(one.target.digest, one.reference): one for one in found}
    content = _blobs_of if platform is None else _blobs_of_images
    whole = {digest for one in found for digest in content(one, reach, blobs)}
    hanging = attached_to(sorted(whole), attachments, reach)
    described = [Entry(one.target, one.reference).described() for one in entries.values()]
    index = Index(schema_version=2, manifests=listed(described, hanging))
    digests = sorted(whole.union(*(blobs_of(one) for one in hanging)))
    tar = TarWriter(out)
    for folder in ("blobs", *sorted({_path(digest).rpartition("/")[0] for digest in digests})):
        tar.add(Member(folder, Kind.DIRECTORY, 0o755))
    for digest in digests:
        with blobs.open(digest) as blob:
            tar.add(Member(_path(digest), size=blobs.size(digest)))
            while chunk := blob.read(_CHUNK):
                tar.write(chunk)
    docker = _docker_images(blobs, found)
    for image, raw in docker:
        if raw:
            tar.file(Member(image.config), raw)
    tar.file(Member("index.json"), encode(index))
    tar.file(Member("manifest.json"), encode([image for image, _ in docker]))
    tar.file(Member("oci-layout"), encode(Layout()))
    tar.finish()


def _blobs_of(found: Found, reach: Reach, blobs: BlobStore) -> list[Digest]:
    """What there is of the target; an index may name images of other platforms that are not."""
    names = (Digest(name) for name in reach.of(found.target) if ":" in name)
    return [name for name in names if blobs.has(name)]


def _narrowed(blobs: BlobStore, found: Found, name: str, platform: Platform) -> Found:
    image = prefer(found.images, platform, linux=False)
    if image is None:
        raise lacking(blobs, found, name, platform, linux=False)
    return replace(found, images=(image,))


def _blobs_of_images(found: Found, _: Reach, blobs: BlobStore) -> list[Digest]:
    """The images of the target that were asked for, and the indexes that lead to them."""
    above = descend(blobs, found.target, tolerant=True)
    indexes = (Digest(each.digest) for each in above if each.media_type in MediaType.INDEXES)
    wanted = [*indexes, *(digest for image in found.images for digest in image.blobs)]
    return [digest for digest in wanted if blobs.has(digest)]


def _docker_images(blobs: BlobStore, found: Sequence[Found]) -> list[tuple[DockerImage, bytes]]:
    """For `docker load`: images with layers of tar, each once, with all names asked for.

    With each the config to write for it, if it is not one of the blobs.
    """
    images: dict[Digest, Image] = {}
    tags: dict[Digest, list[str]] = {}
    for one in found:
        image = prefer(one.images, None, linux=False)
        if image and not any(is_module(layer) for layer in image.manifest.layers):
            images[image.id] = image
            tags.setdefault(image.id, [])
            if one.reference:
                tags[image.id].append(one.reference.familiar)
    result = []
    for image in images.values():
        raw = _linux_config(blobs, image)
        docker = DockerImage(
            config=f"{digest_of(raw).partition(':')[2]}.json" if raw else _path(image.id),
            repo_tags=tags[image.id] or None,
            layers=[_path(Digest(layer.digest)) for layer in image.manifest.layers],
        )
        result.append((docker, raw))
    return result


def _linux_config(blobs: BlobStore, image: Image) -> bytes:
    """The image's config with another system; empty if it has the right one."""
    if image.config.os == HOST.os:
        return b""
    config = decode(blobs.read(image.id, MAX_DOCUMENT), dict[str, Any], f"config {image.id}")
    return encode({**config, "os": HOST.os})


def _path(digest: Digest) -> str:
    return f"blobs/{digest.replace(':', '/')}"
