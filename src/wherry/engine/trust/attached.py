"""Signatures among what hangs on images in the store. Imported when signatures are looked for."""

from collections.abc import Iterable

import msgspec

from wherry.images import ImageError, ImageStore
from wherry.images.attachments import Attached
from wherry.oci import Digest
from wherry.trust import MAX_SIGNATURES, InvalidSignature, Signature, read_manifest

MAX_TOTAL = 4 << 20
"""Bytes of all signatures of one image that are looked at."""


class Found(msgspec.Struct, frozen=True):
    """A signature, and what it hangs on."""

    subject: Digest
    signature: Signature


def signatures_in(store: ImageStore, subjects: Iterable[Digest]) -> list[Found]:
    """The signatures of manifests and indexes, each once; what is malformed is passed over."""
    found: dict[tuple[Digest, Signature], Found] = {}
    size = 0
    for subject in subjects:
        for attached in store.attachments.of(subject):
            for signature in _signatures(store, attached):
                if len(found) == MAX_SIGNATURES:
                    return [*found.values()]
                if size + len(signature.document) <= MAX_TOTAL:
                    size += len(signature.document)
                    found.setdefault((subject, signature), Found(subject, signature))
    return [*found.values()]


def simple_manifests(store: ImageStore, subject: Digest) -> list[bytes]:
    """The manifests with signatures in cosign's own form that hang on `subject`."""
    return [each.manifest for each in store.attachments.of(subject) if is_simple(each.manifest)]


def is_simple(manifest: bytes) -> bool:
    """Whether a manifest holds signatures in cosign's own form."""
    try:
        return any(part.form == "simple" for part in read_manifest(manifest))
    except InvalidSignature:
        return False


def _signatures(store: ImageStore, attached: Attached) -> list[Signature]:
    try:
        return [
            part.signature(store.blobs.read(Digest(part.blob.digest), part.blob.size))
            for part in read_manifest(attached.manifest)
        ]
    except (InvalidSignature, ImageError):
        return []
