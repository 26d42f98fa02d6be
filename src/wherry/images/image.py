"""One image of one platform, as the store gives it out."""

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from typing import TypeVar

import msgspec

from wherry.images.artifact import artifact_config
from wherry.images.blobs import BlobStore
from wherry.images.errors import ImageNotFound, InvalidImage
from wherry.images.layer import Layer
from wherry.oci import (
    Descriptor,
    Digest,
    ImageConfig,
    Index,
    InvalidDigest,
    InvalidDocument,
    Manifest,
    MediaType,
    Platform,
    decode,
    parse_digest,
    parse_reference,
)
from wherry.oci.document import MAX_DOCUMENT

T = TypeVar("T")

MAX_LAYERS = 127
"""Layers of an image, as in Docker; so many fit into the one page of mount(2)'s options."""
MAX_CHILDREN = 1000
"""Manifests of an image index."""
ATTESTATION = "vnd.docker.reference.type"
"""BuildKit's annotation of a manifest that is no image but says something about one."""
_SUBJECT = "vnd.docker.reference.digest"
_MAX_DEPTH = 4


class Image(msgspec.Struct, frozen=True):
    """An image with everything that was said about it.

    `id` is the digest of its config, as in Docker. `descriptor` is its manifest's; `target` what
    its names point to: the manifest, or the index it was taken from. `names` are familiar ones
    ("hello:latest", and "hello@sha256:…" if it was pulled so); an image without any is dangling.
    `size` is in bytes, of all its blobs.
    """

    id: Digest
    descriptor: Descriptor
    target: Descriptor
    manifest: Manifest
    config: ImageConfig
    size: int
    names: list[str] = []

    @property
    def digest(self) -> Digest:
        """The manifest's digest."""
        return Digest(self.descriptor.digest)

    @property
    def tags(self) -> list[str]:
        """Those of its names that have a tag."""
        return [name for name in self.names if "@" not in name]

    @property
    def repo_digests(self) -> list[str]:
        """The repositories it is named in, each with the digest of what the names point to."""
        names = dict.fromkeys(parse_reference(name).familiar_name for name in self.names)
        return [f"{name}@{self.target.digest}" for name in names]

    @property
    def platform(self) -> Platform:
        """What the image runs on."""
        return self.config.platform

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Its layers, lowest first."""
        parts = zip(self.manifest.layers, self.config.rootfs.diff_ids, strict=True)
        return tuple(Layer(descriptor, Digest(diff_id)) for descriptor, diff_id in parts)

    @property
    def created(self) -> datetime | None:
        """When the image says it was made."""
        return parse_time(self.config.created)

    @property
    def blobs(self) -> list[Digest]:
        """Every blob the image needs, its manifest included."""
        parts = [self.manifest.config, *self.manifest.layers]
        return [self.digest, *(Digest(part.digest) for part in parts)]


_CONFIGS = frozenset({MediaType.CONFIG, MediaType.DOCKER_CONFIG})


def read_image(blobs: BlobStore, descriptor: Descriptor) -> Image:
    """The image whose manifest `descriptor` names.

    Raises ImageNotFound when a document is not in the store, InvalidImage when it is wrong.
    """
    manifest = read_manifest(blobs, descriptor)
    raw = blobs.read(parse_digest(manifest.config.digest), MAX_DOCUMENT)
    return image_of(descriptor, manifest, raw)


def image_of(descriptor: Descriptor, manifest: Manifest, raw: bytes) -> Image:
    """The image of a manifest and the bytes of its config. Raises InvalidImage."""
    digest = checked(manifest.config.digest)
    if manifest.config.media_type in _CONFIGS:
        config = document(raw, ImageConfig, f"config {digest}")
    else:
        config = artifact_config(manifest, raw)
    if len(config.rootfs.diff_ids) != len(manifest.layers):
        raise InvalidImage(
            f"image {digest}: {len(manifest.layers)} layers, "
            f"but its config speaks of {len(config.rootfs.diff_ids)}"
        )
    for diff_id in config.rootfs.diff_ids:
        checked(diff_id)
    layers = {layer.digest: layer.size for layer in manifest.layers}
    size = descriptor.size + manifest.config.size + sum(layers.values())
    return Image(digest, descriptor, descriptor, manifest, config, size)


def read_manifest(blobs: BlobStore, descriptor: Descriptor) -> Manifest:
    """The manifest, every descriptor in it checked. Raises ImageNotFound, InvalidImage."""
    digest = checked(descriptor.digest)
    return manifest_of(digest, blobs.read(digest, MAX_DOCUMENT))


def manifest_of(digest: Digest, data: bytes) -> Manifest:
    """The manifest in `data`, every descriptor in it checked. Raises InvalidImage."""
    name = f"manifest {digest}"
    manifest = document(data, Manifest, name)
    if len(manifest.layers) > MAX_LAYERS:
        raise InvalidImage(f"{name}: {len(manifest.layers)} layers, at most {MAX_LAYERS} can run")
    _check_type(manifest.media_type, MediaType.MANIFESTS, name)
    for part in (manifest.config, *manifest.layers):
        checked(part.digest)
        if part.size < 0:
            raise InvalidImage(f"{name}: {part.digest} has a negative size")
    return manifest


def read_index(blobs: BlobStore, descriptor: Descriptor) -> Index:
    """The image index, every descriptor in it checked. Raises ImageNotFound, InvalidImage."""
    digest = checked(descriptor.digest)
    return index_of(digest, blobs.read(digest, MAX_DOCUMENT))


def index_of(digest: Digest, data: bytes) -> Index:
    """The image index in `data`, every descriptor in it checked. Raises InvalidImage."""
    name = f"index {digest}"
    index = document(data, Index, name)
    if len(index.manifests) > MAX_CHILDREN:
        raise InvalidImage(f"{name}: {len(index.manifests)} entries, more than {MAX_CHILDREN}")
    _check_type(index.media_type, MediaType.INDEXES, name)
    for child in index.manifests:
        checked(child.digest)
    return index


def descend(
    blobs: BlobStore, target: Descriptor, *, tolerant: bool = False
) -> Iterator[Descriptor]:
    """`target` and every manifest and index below it, each once, whether in the store or not.

    An index that cannot be read raises ImageNotFound or InvalidImage; one below the target that
    is missing, and with `tolerant` any, leads no further.
    """
    pending, seen = deque([(target, 0)]), set()
    while pending:
        descriptor, depth = pending.popleft()
        if descriptor.digest in seen:
            continue
        seen.add(descriptor.digest)
        yield descriptor
        if descriptor.media_type not in MediaType.INDEXES or depth == _MAX_DEPTH:
            continue
        try:
            children = read_index(blobs, descriptor).manifests
        except (ImageNotFound, InvalidImage) as error:
            if tolerant or (depth and isinstance(error, ImageNotFound)):
                continue
            raise
        pending.extend((child, depth + 1) for child in children)


def images_below(blobs: BlobStore, target: Descriptor) -> list[Image]:
    """The images a name stands for: one, or those of an index that are in the store.

    Raises ImageNotFound, InvalidImage.
    """
    if target.media_type not in MediaType.INDEXES:
        return [read_image(blobs, target)]
    found = []
    for child in images_named(blobs, target):
        if blobs.has(checked(child.digest)):
            try:
                found.append(read_image(blobs, child))
            except ImageNotFound:
                continue
    return found


def images_named(blobs: BlobStore, target: Descriptor) -> Iterator[Descriptor]:
    """The manifests of images below a target, whether they are in the store or not.

    Raises ImageNotFound, InvalidImage.
    """
    return (child for child in descend(blobs, target) if is_image(child))


def is_image(descriptor: Descriptor) -> bool:
    """Whether a descriptor is of an image: of a manifest, and not one about another image."""
    attests = ATTESTATION in (descriptor.annotations or {})
    return descriptor.media_type in MediaType.MANIFESTS and not attests


def about(descriptor: Descriptor) -> str:
    """The digest of the image that a manifest of BuildKit's is about; empty of any other."""
    annotations = descriptor.annotations or {}
    return annotations.get(_SUBJECT, "") if ATTESTATION in annotations else ""


def document(data: bytes, kind: type[T], name: str) -> T:
    """Decode a document. Raises InvalidImage."""
    try:
        return decode(data, kind, name)
    except InvalidDocument as error:
        raise InvalidImage(str(error)) from None


def checked(digest: str) -> Digest:
    """`digest`, safe as a path. Raises InvalidImage."""
    try:
        return parse_digest(digest)
    except InvalidDigest as error:
        raise InvalidImage(str(error)) from None


def parse_time(text: str | None) -> datetime | None:
    """An RFC 3339 time; None when it is missing or is none."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else None


def _check_type(found: str | None, allowed: frozenset[str], name: str) -> None:
    # Without this check one document could pass for an index here and a manifest elsewhere.
    if found is not None and found not in allowed:
        raise InvalidImage(f"{name}: says it is a {found!r}")
