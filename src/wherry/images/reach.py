"""What an image needs: the blobs and unpacked layers that can be reached from a descriptor."""

from wherry.images.blobs import BlobStore
from wherry.images.errors import ImageNotFound, InvalidImage
from wherry.images.image import ATTESTATION, checked, read_image, read_index, read_manifest
from wherry.images.rootfs import RootFilesystems
from wherry.oci import Descriptor, MediaType

_MAX_DEPTH = 4


class Reach:
    """Follows descriptors; what a manifest needs is read once."""

    def __init__(self, blobs: BlobStore, rootfs: RootFilesystems) -> None:
        self._blobs = blobs
        self._rootfs = rootfs
        self._known: dict[str, frozenset[str]] = {}

    def of(self, target: Descriptor, depth: int = 0) -> frozenset[str]:
        """Digests of blobs and names of layer folders, whether they are in the store or not.

        A document that cannot be read leads no further. Raises OSError.
        """
        known = self._known.get(target.digest)
        if known is not None:
            return known
        found = {target.digest}
        try:
            if target.media_type in MediaType.INDEXES:
                if depth < _MAX_DEPTH:
                    for child in read_index(self._blobs, target).manifests:
                        found |= self.of(child, depth + 1)
                return frozenset(found)
            manifest = read_manifest(self._blobs, target)
            found.update(part.digest for part in (manifest.config, *manifest.layers))
            image = read_image(self._blobs, target)
            found |= self._rootfs.keys(image.manifest.layers, image.config.rootfs.diff_ids)
        except (ImageNotFound, InvalidImage):
            return frozenset(found)
        self._known[target.digest] = frozenset(found)
        return self._known[target.digest]

    def forget(self, digests: set[str]) -> None:
        """Drop what was known of removed manifests."""
        for digest in digests:
            self._known.pop(digest, None)

    def verify(self, target: Descriptor, depth: int = 0) -> None:
        """Check that a target is complete: every document valid, every blob there in its size.

        Of an index, one image is enough. Raises InvalidImage.
        """
        self._verify_blob(target)
        if target.media_type in MediaType.INDEXES:
            children = read_index(self._blobs, target).manifests
            there = [child for child in children if self._blobs.has(checked(child.digest))]
            if not there or depth >= _MAX_DEPTH:
                raise InvalidImage(f"index {target.digest} has no image that is there")
            for child in there:
                self.verify(child, depth + 1)
            return
        if target.media_type not in MediaType.MANIFESTS:
            raise InvalidImage(f"{target.digest} is a {target.media_type!r}, which is no image")
        manifest = read_manifest(self._blobs, target)
        for part in (manifest.config, *manifest.layers):
            self._verify_blob(part)
        if ATTESTATION not in (target.annotations or {}):
            read_image(self._blobs, target)

    def _verify_blob(self, descriptor: Descriptor) -> None:
        digest = checked(descriptor.digest)
        try:
            size = self._blobs.size(digest)
        except ImageNotFound:
            raise InvalidImage(f"blob {digest} is missing: the image is incomplete") from None
        if size != descriptor.size:
            raise InvalidImage(f"blob {digest} has {size} bytes, {descriptor.size} were announced")
