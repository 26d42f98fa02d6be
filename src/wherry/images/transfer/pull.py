"""Pulling: what a registry has under a name, into the store.

What the name stands for is settled once, by digest; a tag that moves meanwhile changes nothing.
Layers and config come first, then the manifest, then the index above it, then the name, so that a
manifest in the store is whole whenever this ends.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import msgspec

from wherry.images.blobs import BlobWriter
from wherry.images.choice import choose, none_suits, told
from wherry.images.errors import DigestMismatch, ImageNotFound, InvalidImage, StorageFull
from wherry.images.image import (
    Image,
    checked,
    image_of,
    index_of,
    is_image,
    manifest_of,
    read_image,
)
from wherry.images.store import ImageStore
from wherry.images.transfer.documents import check_size, read_blob, typed
from wherry.images.transfer.downloads import Downloads
from wherry.images.transfer.origins import Origins
from wherry.images.transfer.parallel import for_each
from wherry.images.transfer.progress import Announced, BlobState, BlobStatus, Tell, short
from wherry.oci import Descriptor, Digest, MediaType, Platform, Reference
from wherry.oci.document import MAX_DOCUMENT

if TYPE_CHECKING:
    from wherry.registry import Cancel, Repository

AT_ONCE = 3
"""Layers that are fetched at once, as in Docker."""
_MAX_NESTED = 20
"""Indexes within an index that are looked into."""


class Approval(Protocol):
    """Decides whether an image may be used."""

    def __call__(self, target: Descriptor, image: Image) -> None:
        """Raises if an image, whose name would point to `target`, may not. Its layers are not
        there yet.
        """

    def keep(self) -> None:
        """The image is in the store: keep what the decision was based on."""


class Pulled(msgspec.Struct, frozen=True):
    """An image that is in the store now. `fresh`: the name stood for something else before."""

    image: Image
    target: Descriptor
    fresh: bool


class _Document(msgspec.Struct, frozen=True):
    """A manifest or an index, and what it was reached through, outermost first."""

    descriptor: Descriptor
    data: bytes
    above: "tuple[_Document, ...]" = ()


class _Offer(msgspec.Struct, frozen=True):
    """An image that could be pulled: its manifest, unread as yet, below `above`."""

    descriptor: Descriptor
    platform: Platform
    above: tuple[_Document, ...]


class Puller:
    """Pulls into one store."""

    def __init__(self, store: ImageStore, origins: Origins) -> None:
        self._store = store
        self._origins = origins
        self._downloads = Downloads(store.blobs)

    def pull(
        self,
        repository: "Repository",
        reference: Reference,
        platform: Platform | None,
        tell: Tell,
        cancel: "Cancel",
        *,
        linux: bool,
        approve: Approval | None = None,
    ) -> Pulled:
        """Bring the image `reference` names into the store, and give it that name.

        Of an index the image for `platform` is fetched, or the one that `choose` takes with
        `linux`. With a digest in the reference, its tag means nothing. `approve` is asked before
        any layer is fetched. Raises ImageError, RegistryError, and what `approve` raises.
        """
        pull = _Pull(self._store, self._downloads, repository, reference, tell, cancel)
        try:
            with self._store.hold():
                pulled = pull.run(platform, linux, approve)
                self._origins.add([*pull.seen, *pulled.image.blobs, pulled.image.id], reference)
                return pulled
        except StorageFull:
            # Room for others is worth more than not to fetch this again.
            self._store.discard(pull.written)
            raise


class _Pull:
    """One pull under way."""

    def __init__(
        self,
        store: ImageStore,
        downloads: Downloads,
        repository: "Repository",
        reference: Reference,
        tell: Tell,
        cancel: "Cancel",
    ) -> None:
        self._store = store
        self._blobs = store.blobs
        self._downloads = downloads
        self._repository = repository
        self._reference = _kept_name(reference)
        self._tell = tell
        self._cancel = cancel
        self.written: set[Digest] = set()
        """Blobs that were not in the store before."""
        self.seen: list[Digest] = []
        """The manifest, and the indexes above it."""

    def run(self, platform: Platform | None, linux: bool, approve: Approval | None) -> Pulled:
        """See `Puller.pull`."""
        wanted = self._reference.selector
        before = self._store.target(self._reference)
        top = self._top(wanted, before)
        self._tell(Announced(f"Pulling from {self._reference.path}", wanted))
        found = self._chosen(top, platform, linux)
        image, config = self._planned(found)
        if found is top and platform and not image.platform.matches(platform):
            name = self._reference.familiar
            raise none_suits(name, [image.platform], platform, linux=linux)
        fresh = before is None or before.digest != top.descriptor.digest
        fresh |= not self._blobs.has(image.digest)
        target = top.descriptor
        if top is found:
            target = msgspec.structs.replace(target, platform=image.platform)
        if approve is not None:
            approve(target, image)
        with ExitStack() as stack:
            documents = self._begun(found, image, config, stack)
            self._fetch(image, fresh)
            self._commit(image, documents)
        self.seen = [Digest(each.descriptor.digest) for each in (found, *found.above)]
        image = read_image(self._blobs, found.descriptor)
        self._store.tag(target, self._reference)
        if approve is not None:
            approve.keep()
        self._tell(Announced(f"Digest: {target.digest}"))
        done = "Downloaded newer image" if fresh else "Image is up to date"
        self._tell(Announced(f"Status: {done} for {self._reference.familiar}"))
        return Pulled(msgspec.structs.replace(image, target=target), target, fresh)

    # What it is

    def _top(self, wanted: str, before: Descriptor | None) -> _Document:
        """What the reference names, from the store if it is there already."""
        if before is not None:
            descriptor = self._repository.resolve(wanted)
            if self._blobs.has(checked(descriptor.digest)):
                return self._document(descriptor)
            wanted = descriptor.digest
        descriptor, data = self._repository.manifest(wanted)
        checked(descriptor.digest)
        return _Document(typed(_bare(descriptor), data), data)

    def _document(self, descriptor: Descriptor, above: tuple[_Document, ...] = ()) -> _Document:
        """A manifest or index by its descriptor, from the store or the registry."""
        check_size(descriptor)
        digest = checked(descriptor.digest)
        try:
            data = self._blobs.read(digest, MAX_DOCUMENT)
        except (ImageNotFound, DigestMismatch):
            _, data = self._repository.manifest(digest)
        if len(data) != descriptor.size:
            raise DigestMismatch(
                f"manifest {digest}: {len(data)} bytes, {descriptor.size} were announced"
            )
        return _Document(typed(_bare(descriptor), data), data, above)

    def _chosen(self, top: _Document, platform: Platform | None, linux: bool) -> _Document:
        """The manifest to pull: the top, or the one of an index that suits."""
        if top.descriptor.media_type in MediaType.MANIFESTS:
            return top
        offers = self._offers(top)
        platforms = [offer.platform for offer in offers]
        choice = choose(platforms, platform, linux=linux)
        name = self._reference.familiar
        if choice is None:
            raise none_suits(name, platforms, platform, linux=linux)
        if not platform and (line := told(name, platforms, choice)):
            self._tell(Announced(line))
        offer = offers[choice.position]
        return self._document(offer.descriptor, offer.above)

    def _offers(self, top: _Document) -> list[_Offer]:
        """The images below an index, in their order; those of nested indexes after them."""
        offers: list[_Offer] = []
        pending, seen = [top], {top.descriptor.digest}
        for outer in pending:
            above = (*outer.above, outer)
            for child in index_of(Digest(outer.descriptor.digest), outer.data).manifests:
                if child.digest in seen:
                    continue
                seen.add(child.digest)
                if child.media_type in MediaType.INDEXES:
                    if len(pending) > _MAX_NESTED:
                        raise InvalidImage(f"more than {_MAX_NESTED} indexes in an index")
                    pending.append(self._document(child, above))
                elif is_image(child):
                    offers.append(_Offer(child, child.platform or self._platform(child), above))
        return offers

    def _platform(self, descriptor: Descriptor) -> Platform:
        """What an image is for whose index does not say it."""
        return self._planned(self._document(descriptor))[0].platform

    def _planned(self, found: _Document) -> tuple[Image, bytes]:
        """The image as it will be, and its config's bytes; nothing of it is stored yet."""
        manifest = manifest_of(Digest(found.descriptor.digest), found.data)
        check_size(manifest.config)
        raw = self._config(manifest.config)
        return image_of(found.descriptor, manifest, raw), raw

    def _config(self, descriptor: Descriptor) -> bytes:
        digest = checked(descriptor.digest)
        try:
            return self._blobs.read(digest, MAX_DOCUMENT)
        except (ImageNotFound, DigestMismatch):
            return read_blob(self._repository, descriptor)

    # Its layers

    def _fetch(self, image: Image, fresh: bool) -> None:
        """Bring the layers, several at once; unpack those of Linux images as they come."""
        layers = {layer.digest: layer for layer in image.manifest.layers}
        missing = {digest: one for digest, one in layers.items() if not self._is_here(one)}
        for digest in layers if fresh or missing else ():
            self._told(digest, BlobState.PENDING if digest in missing else BlobState.EXISTS)
        for digest in [*missing][AT_ONCE:]:
            self._told(digest, BlobState.WAITING)
        if image.platform.is_wasm:
            for_each(missing.values(), self._whole_layer, AT_ONCE, "pull", self._cancel)
            return
        from wherry.images.transfer.unpacking import Unpacking

        known = {layer.descriptor.digest: layer for layer in image.layers}
        unpacking = Unpacking(self._store, self._tell, missing)

        def unpack(layer: Descriptor) -> None:
            unpacking.add(known[layer.digest])

        def bring(layer: Descriptor) -> None:
            self._layer(layer)
            unpack(layer)

        try:
            for digest, layer in layers.items():
                if fresh and digest not in missing:
                    unpack(layer)
            for_each(missing.values(), bring, AT_ONCE, "pull", self._cancel)
            unpacking.finish()
            if fresh or missing:
                self._store.layer_lowerdirs(image.layers)
        finally:
            unpacking.close()

    def _is_here(self, layer: Descriptor) -> bool:
        digest = checked(layer.digest)
        if not self._blobs.has(digest):
            return False
        if self._blobs.size(digest) != layer.size:
            raise DigestMismatch(f"layer {digest} has not the {layer.size} bytes announced for it")
        return True

    def _whole_layer(self, layer: Descriptor) -> None:
        self._layer(layer)
        self._told(layer.digest, BlobState.PULLED)

    def _layer(self, layer: Descriptor) -> None:
        from wherry.registry import NotFound

        try:
            if self._downloads.fetch(self._repository, layer, self._tell, self._cancel):
                self.written.add(Digest(layer.digest))
        except NotFound:
            if not layer.urls:
                raise
            raise InvalidImage(
                f"layer {layer.digest} is not in the registry but on other hosts, from which "
                "nothing is fetched: have the image pushed with all its layers"
            ) from None
        self._told(layer.digest, BlobState.DOWNLOADED)

    def _told(self, digest: str, state: BlobState) -> None:
        self._tell(BlobStatus(short(digest), state))

    # Its place in the store

    def _begun(
        self, found: _Document, image: Image, config: bytes, stack: ExitStack
    ) -> list[tuple[Descriptor, BlobWriter]]:
        """What is missing of config, manifest and the indexes above it, written but not named.

        So the disk is done with them when the layers have come.
        """
        documents = [(image.manifest.config, config)]
        documents += [(each.descriptor, each.data) for each in (found, *found.above[::-1])]
        begun = []
        for descriptor, data in documents:
            if not self._blobs.has(checked(descriptor.digest)):
                writer = stack.enter_context(self._blobs.writer())
                writer.write(data)
                writer.begin_flush()
                begun.append((descriptor, writer))
        return begun

    def _commit(self, image: Image, documents: Sequence[tuple[Descriptor, BlobWriter]]) -> None:
        """Name the documents in their order, and have all names of blobs survive a power cut."""
        named = [*image.manifest.layers, *(descriptor for descriptor, _ in documents)]
        folders = {each.digest.partition(":")[0] for each in named}
        for descriptor, writer in documents:
            if len(folders) > 1:
                # A manifest must not be there after a power cut without what it names. File
                # systems keep the order of names in one folder, but not that of several.
                self._blobs.sync()
            digest = checked(descriptor.digest)
            writer.commit(descriptor.media_type, digest, descriptor.size, sync=False)
            self.written.add(digest)
        self._blobs.sync()


def _bare(descriptor: Descriptor) -> Descriptor:
    """What says which document it is, without what was said about it where it was named."""
    return Descriptor(
        media_type=descriptor.media_type, digest=descriptor.digest, size=descriptor.size
    )


def _kept_name(reference: Reference) -> Reference:
    """The name an image gets: with a digest it has no tag, which may have moved since."""
    if reference.digest:
        return msgspec.structs.replace(reference, tag=None)
    return reference.with_default_tag()
