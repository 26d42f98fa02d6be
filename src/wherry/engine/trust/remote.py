"""Signatures in registries: fetched with an image, and sent along with one.

cosign's own lie under a tag made of the image's digest, or are referrers, as Sigstore bundles
always are. A registry without that part of OCI's distribution-spec 1.1 has a list of referrers
under another such tag. Imported when a registry is asked.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import msgspec

from wherry.engine.errors import EngineError
from wherry.engine.trust.attached import MAX_TOTAL, is_simple, simple_manifests
from wherry.images import ImageStore
from wherry.images.transfer.documents import read_blob
from wherry.oci import (
    Descriptor,
    Digest,
    InvalidDigest,
    InvalidDocument,
    Manifest,
    MediaType,
    Reference,
    decode,
    digest_of,
    parse_digest,
)
from wherry.registry import NotFound, Repository
from wherry.trust import (
    MAX_SIGNATURES,
    InvalidSignature,
    Signature,
    combine,
    is_signature,
    read_manifest,
    tag_of,
)

_MAYBE = frozenset({"", MediaType.EMPTY})
"""What cosign 3 calls a bundle's artifact type where it writes the list of referrers itself."""


class Fetched(msgspec.Struct, frozen=True):
    """A manifest with signatures, with all its blobs. `tag` is the one it has in the registry."""

    subject: Digest
    manifest: bytes
    blobs: dict[Digest, bytes]
    signatures: list[Signature]
    tag: str = ""

    def keep(self, store: ImageStore, image: Reference) -> Descriptor:
        """Hang it on its subject in the store, with its name in the repository of `image`."""
        name = Reference(image.domain, image.path, self.tag) if self.tag else None
        return store.attachments.add(
            self.subject, MediaType.MANIFEST, self.manifest, self.blobs, name
        )


def fetch(repository: Repository, subjects: Sequence[Digest]) -> list[Fetched]:
    """All signatures of manifests and indexes in a repository; what is malformed is passed over.

    Raises RegistryError when the registry does not say, DigestMismatch when it lies.
    """
    return [*fetch_tagged(repository, subjects), *fetch_referrers(repository, subjects)]


def fetch_tagged(repository: Repository, subjects: Iterable[Digest]) -> list[Fetched]:
    """Those in cosign's own form, by their tags; one request says that there are none."""
    left = [MAX_TOTAL, MAX_SIGNATURES]
    found = []
    for subject in subjects:
        with suppress(NotFound):
            _, data = repository.manifest(tag_of(subject))
            found += _whole(repository, subject, data, tag_of(subject), left)
    return found


def fetch_referrers(repository: Repository, subjects: Iterable[Digest]) -> list[Fetched]:
    """Those among what refers to the subjects: Sigstore bundles, and cosign's own form."""
    left = [MAX_TOTAL, MAX_SIGNATURES]
    found = []
    for subject in subjects:
        for digest in _referrers(repository, subject):
            with suppress(NotFound):
                _, data = repository.manifest(digest)
                found += _whole(repository, subject, data, "", left)
    return found


def outgoing(
    store: ImageStore, repository: Repository, reference: Reference, subjects: Sequence[Digest]
) -> list[tuple[Descriptor, str]]:
    """What hangs on images and is not in the registry yet, each with its tag or "".

    Signatures that are already there stay beside those of the store. To be called inside a hold.
    Raises RegistryError, ImageError, EngineError.
    """
    found: list[tuple[Descriptor, str]] = []
    for subject in subjects:
        known = simple_manifests(store, subject)
        if known and (target := _united(store, repository, reference, subject, known)):
            found.append((target, tag_of(subject)))
        for each in store.attachments.of(subject):
            if not is_simple(each.manifest) and not _has(repository, each.target):
                found.append((each.target, ""))
    return found


def _united(
    store: ImageStore,
    repository: Repository,
    reference: Reference,
    subject: Digest,
    known: Sequence[bytes],
) -> Descriptor | None:
    """A manifest of the store's signatures and the registry's; None if the registry has them."""
    there = fetch_tagged(repository, [subject])
    for one in there:
        one.keep(store, reference)
    before = [one.manifest for one in there]
    try:
        manifest, config = combine([*before, *known])
    except InvalidSignature as error:
        raise EngineError(f"the signatures of {reference.familiar}: {error}") from None
    if manifest in before:
        return None
    tag = Reference(reference.domain, reference.path, tag_of(subject))
    blobs = {digest_of(config): config} if config else {}
    return store.attachments.add(subject, MediaType.MANIFEST, manifest, blobs, tag)


def _has(repository: Repository, target: Descriptor) -> bool:
    try:
        repository.resolve(target.digest)
    except NotFound:
        return False
    return True


def _referrers(repository: Repository, subject: Digest) -> Iterator[Digest]:
    try:
        referrers = repository.referrers(subject)
    except NotFound:
        return
    maybe = [
        each
        for each in referrers
        if is_signature(each.artifact_type) or (each.artifact_type or "") in _MAYBE
    ]
    for each in maybe[:MAX_SIGNATURES]:
        with suppress(InvalidDigest):
            yield parse_digest(each.digest)


def _whole(
    repository: Repository, subject: Digest, data: bytes, tag: str, left: list[int]
) -> list[Fetched]:
    """A manifest with its blobs; nothing where it has no signature, or more than there is room for.

    `left` are the bytes and the signatures that may still be looked at; what there is no room for
    takes none of it.
    """
    try:
        parts = read_manifest(data)
        manifest = decode(data, Manifest, "signature")
        digests = {
            part.digest: parse_digest(part.digest) for part in (manifest.config, *manifest.layers)
        }
    except (InvalidSignature, InvalidDocument, InvalidDigest):
        return []
    wanted = {part.digest: part for part in (manifest.config, *manifest.layers)}
    size = sum(part.size for part in wanted.values())
    fits = size <= left[0] and len(parts) <= left[1]
    if not parts or not fits or any(part.size < 0 for part in wanted.values()):
        return []
    left[0] -= size
    left[1] -= len(parts)
    blobs = {digests[name]: read_blob(repository, part) for name, part in wanted.items()}
    signatures = [part.signature(blobs[digests[part.blob.digest]]) for part in parts]
    return [Fetched(subject, data, blobs, signatures, tag)]
