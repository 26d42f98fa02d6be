"""Looking at what a registry has, without bringing it."""

from typing import TYPE_CHECKING

import msgspec

from wherry.images.image import checked, image_of, index_of, manifest_of
from wherry.images.transfer.documents import check_size, typed
from wherry.oci import Descriptor, MediaType, Platform, Reference
from wherry.oci.document import MAX_DOCUMENT

if TYPE_CHECKING:
    from wherry.registry import Repository


def look(repository: "Repository", reference: Reference) -> tuple[Descriptor, list[Platform]]:
    """What a reference names there, and the platforms it is for.

    Raises RegistryError, InvalidImage.
    """
    found, data = repository.manifest(reference.digest or reference.tag or "latest")
    digest = checked(found.digest)
    descriptor = typed(found, data)
    if descriptor.media_type in MediaType.INDEXES:
        named = (child.platform for child in index_of(digest, data).manifests)
        return descriptor, [platform for platform in named if platform]
    manifest = manifest_of(digest, data)
    check_size(manifest.config)
    parts = []
    with repository.blob(manifest.config) as stream:
        while part := stream.read(MAX_DOCUMENT):
            parts.append(part)
    platform = image_of(descriptor, manifest, b"".join(parts)).platform
    return msgspec.structs.replace(descriptor, platform=None), [platform]
