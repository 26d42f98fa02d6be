"""What an image needs: the blobs and unpacked layers that can be reached from a descriptor."""

from collections import deque

from wherry.images.blobs import BlobStore
from wherry.images.catalog import Catalog
from wherry.images.errors import ImageNotFound, InvalidImage
from wherry.images.image import checked, descend, is_image, read_image, read_manifest
from wherry.images.unpacked import UnpackedLayers
from wherry.oci import Descriptor, MediaType

Key = tuple[str, str, int, bool]


def key_of(document: Descriptor) -> Key:
    """What of a descriptor decides whether the document is what it is said to be."""
    return document.digest, document.media_type, document.size, is_image(document)


class Reach:
    """Follows descriptors; what a manifest needs is read once."""

    def __init__(self, catalog: Catalog, blobs: BlobStore, rootfs: UnpackedLayers) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._rootfs = rootfs
        self._known: dict[str, frozenset[str]] = {}

    def of(self, target: Descriptor) -> frozenset[str]:
        """Digests of blobs and names of layer folders, whether they are in the store or not.

        A document that cannot be read leads no further. Raises OSError.
        """
        found: set[str] = set()
        for document in descend(self._blobs, target, tolerant=True):
            found.add(document.digest)
            if document.media_type in MediaType.MANIFESTS:
                found |= self._of_manifest(document)
        return frozenset(found)

    def with_attachments(self, target: Descriptor) -> frozenset[str]:
        """As `of`, with all that hangs on what is found, and on that in turn."""
        found: set[str] = set()
        pending = deque([target])
        while pending:
            new = self.of(pending.popleft()) - found
            found |= new
            pending += [each.target for name in new for each in self._catalog.attached(name)]
        return frozenset(found)

    def forget(self, digests: set[str]) -> None:
        """Drop what was known of removed manifests."""
        for digest in digests:
            self._known.pop(digest, None)

    def verify(self, target: Descriptor, whole: set[Key] | None = None) -> None:
        """Check that a target is complete: every document valid, every blob there in its size.

        Of an index, one image is enough. `whole` are manifests that were found complete, of which
        many targets may be made: they are not read again. Raises InvalidImage.
        """
        whole = set() if whole is None else whole
        self._verify_blob(target)
        images = 0
        for document in descend(self._blobs, target):
            if document.media_type not in MediaType.MANIFESTS | MediaType.INDEXES:
                raise InvalidImage(f"{document.digest} is a {document.media_type!r}, no image")
            if not self._blobs.has(checked(document.digest)):
                continue
            self._verify_blob(document)
            if document.media_type in MediaType.MANIFESTS:
                if key_of(document) not in whole:
                    self._verify_manifest(document)
                    whole.add(key_of(document))
                images += is_image(document)
        if not images:
            raise InvalidImage(f"index {target.digest} has no image that is there")

    def verify_attachment(self, target: Descriptor) -> None:
        """Check that every blob of an attachment is there in its size. Raises InvalidImage."""
        self._verify_blob(target)
        manifest = read_manifest(self._blobs, target)
        for part in (manifest.config, *manifest.layers):
            self._verify_blob(part)

    def _verify_manifest(self, descriptor: Descriptor) -> None:
        manifest = read_manifest(self._blobs, descriptor)
        for part in (manifest.config, *manifest.layers):
            self._verify_blob(part)
        if is_image(descriptor):
            read_image(self._blobs, descriptor)

    def _of_manifest(self, descriptor: Descriptor) -> frozenset[str]:
        known = self._known.get(descriptor.digest)
        if known is None:
            found: set[str] = set()
            try:
                manifest = read_manifest(self._blobs, descriptor)
                found.update(part.digest for part in (manifest.config, *manifest.layers))
                image = read_image(self._blobs, descriptor)
            except (ImageNotFound, InvalidImage):
                return frozenset(found)
            found |= self._rootfs.keys(image.layers)
            known = self._known[descriptor.digest] = frozenset(found)
        return known

    def _verify_blob(self, descriptor: Descriptor) -> None:
        digest = checked(descriptor.digest)
        try:
            size = self._blobs.size(digest)
        except ImageNotFound:
            raise InvalidImage(f"blob {digest} is missing: the image is incomplete") from None
        if size != descriptor.size:
            raise InvalidImage(f"blob {digest} has {size} bytes, {descriptor.size} were announced")
