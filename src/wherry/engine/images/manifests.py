"""Manifests as registries have them, and lists of them made here. Imported when first wanted."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from wherry.engine.images.credentials import Credentials, by_host, credentials_for
from wherry.images import ImageNotFound, ImageStore
from wherry.images.image import checked, is_image, manifest_of
from wherry.images.transfer import look
from wherry.images.transfer.lists import Annotation, ManifestList, ManifestLists, Member
from wherry.images.zstd_mark import mark
from wherry.oci import (
    Descriptor,
    Digest,
    Index,
    MediaType,
    Reference,
    decode,
    encode,
    parse_reference,
)
from wherry.oci.document import MAX_DOCUMENT
from wherry.registry import Client, Repository

__all__ = ["Annotation", "Manifests", "Shown"]

Logins = Mapping[str, Credentials]
"""By the address of a registry."""


class Shown(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One manifest as `manifest inspect --verbose` shows it, with Docker's names."""

    ref: str = msgspec.field(name="Ref")
    descriptor: Descriptor = msgspec.field(name="Descriptor")
    docker: msgspec.Raw | None = msgspec.field(name="SchemaV2Manifest", default=None)
    oci: msgspec.Raw | None = msgspec.field(name="OCIManifest", default=None)


class Manifests:
    """Blocking. Raises RegistryError, ImageError, and what is wrong with names."""

    def __init__(self, store: ImageStore, client: Client, lists: ManifestLists) -> None:
        self._store = store
        self._client = client
        self._lists = lists

    def inspect(self, name: str, of: str, logins: Logins, *, verbose: bool) -> bytes:
        """The document that `name` stands for: a list made here, else what its registry has.

        With `of`, the image of that list. `verbose`: each manifest with what is said about it.
        """
        reference = parse_reference(name).with_default_tag()
        if of:
            member = self._lists.member(parse_reference(of).with_default_tag(), name)
            reference = replace(parse_reference(member.name), tag=None)
            reference = replace(reference, digest=Digest(member.descriptor.digest))
            descriptor, data = self._document(reference, logins)
            descriptor = member.descriptor
        elif known := self._lists.get(reference):
            if not verbose:
                return encode(known.document())
            return msgspec.json.encode([*self._members(known, logins)])
        else:
            descriptor, data = self._repository(reference, logins).manifest(reference.selector)
        if not verbose:
            return data
        if descriptor.media_type not in MediaType.INDEXES:
            return msgspec.json.encode(_shown(reference, descriptor, data))
        index = decode(data, Index, f"index {descriptor.digest}")
        return msgspec.json.encode([*self._children(reference, index, logins)])

    def create(self, name: str, members: Sequence[str], logins: Logins, *, amend: bool) -> str:
        """Make a list of images that are here or in registries; its whole name."""
        reference = parse_reference(name).with_default_tag()
        found = [one for member in members for one in self._found(member, logins)]
        self._lists.create(reference, found, amend=amend)
        return str(reference)

    def annotate(self, name: str, annotation: Annotation) -> None:
        """Say what platform an image of a list is for."""
        self._lists.annotate(parse_reference(name).with_default_tag(), annotation)

    def remove(self, name: str) -> None:
        """Forget a list."""
        self._lists.remove(parse_reference(name).with_default_tag())

    def get(self, reference: Reference) -> ManifestList:
        """The list of that name. Raises ImageNotFound."""
        found = self._lists.get(reference)
        if found is None:
            raise ImageNotFound(f"no manifest list {reference.familiar} was made here")
        return found

    # What is in a list

    def _found(self, name: str, logins: Logins) -> Iterator[Member]:
        """The images that a word of `manifest create` stands for: several, if it is an index."""
        reference = parse_reference(name).with_default_tag()
        target = self._store.target(reference)
        if target is None:
            repository = self._repository(reference, logins)
            descriptor, platforms = look(repository, reference)
        else:
            descriptor = target
            platforms = [self._store.resolve(name).platform]
        digest = Digest(descriptor.digest)
        if target is None:
            data = repository.manifest(digest)[1]
        else:
            data = self._store.blobs.read(digest, MAX_DOCUMENT)
        if descriptor.media_type not in MediaType.INDEXES:
            found = replace(descriptor, platform=platforms[0], annotations=None)
            found = mark(found, manifest_of(digest, data))
            yield Member(name=str(reference), descriptor=found)
            return
        for child in decode(data, Index, f"index {digest}").manifests:
            if is_image(child):
                yield Member(name=f"{reference.name}@{child.digest}", descriptor=child)

    # What is shown

    def _document(self, reference: Reference, logins: Logins) -> tuple[Descriptor, bytes]:
        """A manifest by its digest, from the store or its registry."""
        digest = reference.digest
        assert digest
        try:
            data = self._store.blobs.read(digest, MAX_DOCUMENT)
            return Descriptor(media_type=MediaType.MANIFEST, digest=digest, size=len(data)), data
        except ImageNotFound:
            return self._repository(reference, logins).manifest(digest)

    def _members(self, known: ManifestList, logins: Logins) -> Iterator[Shown]:
        for member in known.members:
            reference = parse_reference(member.name)
            digest = Digest(member.descriptor.digest)
            _, data = self._document(replace(reference, tag=None, digest=digest), logins)
            yield _shown(reference, member.descriptor, data)

    def _children(self, reference: Reference, index: Index, logins: Logins) -> Iterator[Shown]:
        for child in index.manifests:
            if child.media_type in MediaType.MANIFESTS:
                one = replace(reference, tag=None, digest=checked(child.digest))
                _, data = self._document(one, logins)
                yield _shown(one, child, data)

    def _repository(self, reference: Reference, logins: Logins) -> Repository:
        own = credentials_for(logins, reference.domain)
        return self._client.repository(reference, own, others=by_host(logins))


def _shown(reference: Reference, descriptor: Descriptor, data: bytes) -> Shown:
    raw = msgspec.Raw(data)
    docker = descriptor.media_type == MediaType.DOCKER_MANIFEST
    whole = replace(reference, digest=Digest(descriptor.digest))
    return Shown(
        ref=str(whole),
        descriptor=descriptor,
        docker=raw if docker else None,
        oci=None if docker else raw,
    )
