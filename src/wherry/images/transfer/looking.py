"""Looking at what a registry has, without bringing it."""

from typing import TYPE_CHECKING

import msgspec

from wherry.images.image import checked, image_of, index_of, manifest_of
from wherry.images.transfer.documents import read_blob, typed
from wherry.oci import Descriptor, MediaType, Platform, Reference

if TYPE_CHECKING:
    from wherry.registry import Repository


def look(repository: "Repository", reference: Reference) -> tuple[Descriptor, list[Platform]]:
    """What a reference names there, and the platforms it is for.

    Raises RegistryError, InvalidImage, DigestMismatch.
    """
    found, data = repository.manifest(reference.selector)
    digest = checked(found.digest)
    descriptor = typed(found, data)
    if descriptor.media_type in MediaType.INDEXES:
        named = (child.platform for child in index_of(digest, data).manifests)
        return descriptor, [platform for platform in named if platform]
    manifest = manifest_of(digest, data)
    config = read_blob(repository, manifest.config)
    platform = image_of(descriptor, manifest, config).platform
    return msgspec.structs.replace(descriptor, platform=None), [platform]
