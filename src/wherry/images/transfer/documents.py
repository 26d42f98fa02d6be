"""Documents as registries give them: which kind one is, and what is refused."""

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from wherry.images.errors import DigestMismatch, InvalidImage
from wherry.images.image import checked
from wherry.oci import Descriptor, InvalidDocument, MediaType, decode, digest_of
from wherry.oci.document import MAX_DOCUMENT

if TYPE_CHECKING:
    from wherry.registry import Repository

_KNOWN = MediaType.INDEXES | MediaType.MANIFESTS


class _Shape(msgspec.Struct, frozen=True, rename="camel"):
    """What tells one kind of document from another."""

    media_type: str | None = None
    manifests: msgspec.Raw | UnsetType = UNSET
    config: msgspec.Raw | UnsetType = UNSET
    layers: msgspec.Raw | UnsetType = UNSET


def typed(descriptor: Descriptor, data: bytes) -> Descriptor:
    """The descriptor with the media type that the document really has.

    A document need not say its type, and a registry may serve any; but what can be read as two
    kinds, or says it is another one than it was announced as, is refused. Raises InvalidImage.
    """
    name = f"manifest {descriptor.digest}"
    check_size(descriptor)
    announced = descriptor.media_type.partition(";")[0].strip()
    try:
        shape = decode(data, _Shape, name)
    except InvalidDocument as error:
        raise InvalidImage(str(error)) from None
    is_index, is_manifest = shape.manifests is not UNSET, shape.layers is not UNSET
    if is_index and (is_manifest or shape.config is not UNSET):
        raise InvalidImage(f"{name} is ambiguous: it has manifests, and layers or a config")
    said = shape.media_type or (announced if announced in _KNOWN else "")
    if not said:
        said = MediaType.INDEX if is_index else MediaType.MANIFEST
    if said not in _KNOWN:
        raise InvalidImage(f"{name} is a {said!r}, which is no image")
    if announced in _KNOWN and announced != said:
        raise InvalidImage(f"{name} says it is a {said!r}, but was announced as a {announced!r}")
    if is_index != (said in MediaType.INDEXES):
        raise InvalidImage(f"{name} says it is a {said!r}, which it is not")
    return msgspec.structs.replace(descriptor, media_type=said)


def read_blob(repository: "Repository", descriptor: Descriptor) -> bytes:
    """A small blob of a repository, whole, its digest checked.

    Raises InvalidImage for one that is not small, DigestMismatch, RegistryError.
    """
    check_size(descriptor)
    digest = checked(descriptor.digest)
    parts = []
    with repository.blob(descriptor) as stream:
        while part := stream.read(MAX_DOCUMENT):
            parts.append(part)
    data = b"".join(parts)
    if len(data) != descriptor.size or digest_of(data, digest.partition(":")[0]) != digest:
        raise DigestMismatch(f"the registry sent other bytes than those of {digest}")
    return data


def check_size(descriptor: Descriptor) -> None:
    """Refuse a document that would not be read whole. Raises InvalidImage."""
    if not 0 <= descriptor.size <= MAX_DOCUMENT:
        raise InvalidImage(
            f"manifest or config {descriptor.digest} has {descriptor.size} bytes, "
            f"at most {MAX_DOCUMENT} are read"
        )
