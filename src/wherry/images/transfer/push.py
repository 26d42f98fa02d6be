"""Pushing: an image of the store to a registry, blobs first and what names them after them.

Nothing in the registry has a name before all of it is there, so that a push that ends early leaves
only what the next one need not send again.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from wherry.images.errors import ImageNotFound, InvalidImage, NoSuchPlatform
from wherry.images.image import (
    checked,
    index_of,
    is_image,
    manifest_of,
)
from wherry.images.store import ImageStore
from wherry.images.transfer.origins import Origins
from wherry.images.transfer.parallel import for_each
from wherry.images.transfer.progress import (
    Announced,
    BlobState,
    BlobStatus,
    Meter,
    Published,
    Tell,
    short,
)
from wherry.oci import Descriptor, Digest, MediaType, Platform, Reference
from wherry.oci.document import MAX_DOCUMENT

if TYPE_CHECKING:
    from io import FileIO

    from wherry.registry import Cancel, Repository

AT_ONCE = 5
"""Blobs that are sent at once, as in Docker."""
_MAX_DEPTH = 4
_FOREIGN = ("foreign", "nondistributable")
"""In the media types of layers that are not to be put into registries."""

Elsewhere = Callable[[str], "Repository"]
"""Opens another repository, by its path, of the registry that is pushed to."""


class _Plan(msgspec.Struct):
    """What is to be sent: blobs in any order, then manifests and indexes in theirs."""

    blobs: dict[str, Descriptor] = {}
    layers: dict[str, None] = {}
    """Those of the blobs that people are told about, in their order."""
    documents: dict[str, tuple[Descriptor, bytes]] = {}
    absent: list[Descriptor] = []
    """Manifests that an index names and that are not whole in the store."""


class Pusher:
    """Pushes out of one store."""

    def __init__(self, store: ImageStore, origins: Origins) -> None:
        self._store = store
        self._origins = origins

    def push(
        self,
        repository: "Repository",
        reference: Reference,
        target: Descriptor,
        tell: Tell,
        cancel: "Cancel",
        *,
        elsewhere: Elsewhere,
        sources: Sequence[str] = (),
        attachments: Sequence[tuple[Descriptor, str]] = (),
    ) -> None:
        """Send `target`, a manifest or an index, and let the tag of `reference` point to it.

        Of an index what is not in the store must be in the registry, if need be in another
        repository: one from which it was pulled, or of `sources`. `attachments`, manifests with
        their tags (empty: by digest), are sent along, before the tag is moved. Raises ImageError,
        RegistryError.
        """
        with self._store.hold():
            push = _Push(self._store, self._origins, repository, reference, tell, cancel)
            push.run(target, elsewhere, sources, attachments)


class _Push:
    """One push under way."""

    def __init__(
        self,
        store: ImageStore,
        origins: Origins,
        repository: "Repository",
        reference: Reference,
        tell: Tell,
        cancel: "Cancel",
    ) -> None:
        self._blobs = store.blobs
        self._origins = origins
        self._repository = repository
        self._reference = reference.with_default_tag()
        self._tell = tell
        self._cancel = cancel
        self._plan = _Plan()

    def run(
        self,
        target: Descriptor,
        elsewhere: Elsewhere,
        sources: Sequence[str],
        attachments: Sequence[tuple[Descriptor, str]],
    ) -> None:
        """See `Pusher.push`."""
        self._add(target)
        for attached, _ in attachments:
            self._add(attached)
        for digest in self._plan.layers:
            self._told(digest, BlobState.PREPARING)
        for digest in [*self._plan.layers][AT_ONCE:]:
            self._told(digest, BlobState.WAITING)
        for_each(self._plan.blobs.values(), self._send, AT_ONCE, "push", self._cancel)
        for absent in self._plan.absent:
            self._bring(absent, target, elsewhere, sources)
        tags = {attached.digest: tag for attached, tag in attachments}
        for descriptor, data in self._plan.documents.values():
            if descriptor.digest != target.digest:
                name = tags.get(descriptor.digest) or descriptor.digest
                self._repository.put_manifest(name, descriptor.media_type, data)
        top, data = self._plan.documents[target.digest]
        tag = self._reference.tag or top.digest
        self._repository.put_manifest(tag, top.media_type, data)
        sent = [*self._plan.blobs, *self._plan.documents]
        self._origins.add(sent, self._reference)
        self._tell(Announced(f"{tag}: digest: {top.digest} size: {len(data)}"))
        self._tell(Published(tag, Digest(top.digest), len(data)))

    # What there is to send

    def _add(self, descriptor: Descriptor, depth: int = 0) -> None:
        """Plan a manifest or index, after all that is below it. Raises InvalidImage."""
        if descriptor.digest in self._plan.documents:
            return
        digest = checked(descriptor.digest)
        data = self._blobs.read(digest, MAX_DOCUMENT)
        if descriptor.media_type in MediaType.INDEXES:
            if depth == _MAX_DEPTH:
                raise InvalidImage(f"more than {_MAX_DEPTH} indexes within one another")
            for child in index_of(digest, data).manifests:
                self._add_child(child, depth + 1)
        else:
            manifest = manifest_of(digest, data)
            for part in (manifest.config, *manifest.layers):
                if not any(word in part.media_type for word in _FOREIGN):
                    self._check(part)
                    self._plan.blobs[part.digest] = part
                    if part is not manifest.config:
                        self._plan.layers[part.digest] = None
        self._plan.documents[digest] = (descriptor, data)

    def _add_child(self, child: Descriptor, depth: int) -> None:
        known = child.media_type in MediaType.MANIFESTS | MediaType.INDEXES
        if not known or not self._blobs.has(checked(child.digest)):
            self._plan.absent.append(child)
            return
        try:
            self._add(child, depth)
        except ImageNotFound:
            self._plan.absent.append(child)

    def _check(self, part: Descriptor) -> None:
        if self._blobs.size(checked(part.digest)) != part.size:
            raise InvalidImage(f"blob {part.digest} has not the {part.size} bytes announced for it")

    # Sending it

    def _send(self, blob: Descriptor) -> None:
        digest = checked(blob.digest)
        if self._repository.has_blob(digest):
            self._told(digest, BlobState.PRESENT)
            return
        for path in self._origins.paths(digest, self._reference.domain):
            if path != self._reference.path and self._repository.mount(digest, path):
                self._told(digest, BlobState.MOUNTED, path)
                return
        meter = Meter(self._tell, blob, BlobState.PUSHING) if digest in self._plan.layers else None

        def open_at(offset: int) -> "FileIO":
            file = self._blobs.open(digest)
            file.seek(offset)
            return file

        self._repository.upload(blob, open_at, meter.at if meter else lambda _: None)
        self._told(digest, BlobState.PUSHED)

    def _told(self, digest: str, state: BlobState, origin: str = "") -> None:
        if digest in self._plan.layers:
            self._tell(BlobStatus(short(digest), state, origin=origin))

    # What is not here

    def _bring(
        self,
        absent: Descriptor,
        target: Descriptor,
        elsewhere: Elsewhere,
        sources: Sequence[str],
    ) -> None:
        """See that a manifest the store lacks is in the repository. Raises NoSuchPlatform."""
        from wherry.registry import NotFound

        try:
            self._repository.resolve(absent.digest)
            return
        except NotFound:
            pass
        domain = self._reference.domain
        paths = [
            *self._origins.paths(absent.digest, domain),
            *self._origins.paths(target.digest, domain),
            *sources,
        ]
        for path in dict.fromkeys(paths):
            if path != self._reference.path and self._mounted(absent, path, elsewhere(path)):
                return
        raise self._not_whole(target)

    def _mounted(self, absent: Descriptor, path: str, origin: "Repository") -> bool:
        """Let the registry take a manifest, and all it needs, from another repository."""
        from wherry.registry import RegistryError

        try:
            found, data = origin.manifest(absent.digest)
            if found.media_type in MediaType.INDEXES:
                return False
            manifest = manifest_of(checked(absent.digest), data)
        except (RegistryError, InvalidImage):
            return False
        for part in (manifest.config, *manifest.layers):
            digest = Digest(part.digest)
            if not self._repository.has_blob(digest) and not self._repository.mount(digest, path):
                return False
            self._tell(BlobStatus(short(digest), BlobState.MOUNTED, origin=path))
        self._repository.put_manifest(absent.digest, absent.media_type, data)
        return True

    def _not_whole(self, target: Descriptor) -> NoSuchPlatform:
        name = self._reference.familiar
        here = [
            _platform(d) for d, _ in self._plan.documents.values() if is_image(d) and d.platform
        ]
        gone = [_platform(d) for d in self._plan.absent if is_image(d)]
        one = here[0] if here else "PLATFORM"
        return NoSuchPlatform(
            f"{name} is also for {', '.join(gone) or 'what has no platform'}, which is neither in "
            f"the store nor in the registry: push what is here by --platform {one}, or pull the "
            "rest first"
        )


def _platform(descriptor: Descriptor) -> str:
    return str(descriptor.platform or Platform(architecture="unknown", os="unknown"))
