"""Sigstore bundles, which cosign 3 attaches to images as OCI referrers (cosign's BUNDLE_SPEC.md).

A bundle holds a signature and what is needed to check it. As a signature of an image counts a DSSE
envelope with an in-toto statement of cosign's predicate, or a bare signature over the image's
manifest. Attestations (SBOMs, provenance) are bundles too, and no signatures of the image.
"""

import base64
import binascii
from typing import Any

import msgspec

from wherry.oci import Digest, InvalidDigest, parse_digest
from wherry.trust.errors import InvalidSignature
from wherry.trust.payload import Claims, as_annotations, strictly

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_MEDIA_TYPES = frozenset(
    {
        MEDIA_TYPE,
        "application/vnd.dev.sigstore.bundle+json;version=0.1",
        "application/vnd.dev.sigstore.bundle+json;version=0.2",
        "application/vnd.dev.sigstore.bundle+json;version=0.3",
    }
)
_STATEMENT_TYPE = "application/vnd.in-toto+json"
_STATEMENTS = frozenset({"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"})
_SIGNED = "https://sigstore.dev/cosign/sign/v1"
_MAX_SIGNATURES = 16


class _DsseSignature(msgspec.Struct, frozen=True):
    sig: str


class _Envelope(msgspec.Struct, frozen=True, rename="camel"):
    payload: str
    payload_type: str
    signatures: list[_DsseSignature]


class _MessageDigest(msgspec.Struct, frozen=True):
    algorithm: str
    digest: str


class _MessageSignature(msgspec.Struct, frozen=True, rename="camel"):
    message_digest: _MessageDigest
    signature: str


class _Bundle(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str
    dsse_envelope: _Envelope | None = None
    message_signature: _MessageSignature | None = None


class _Subject(msgspec.Struct, frozen=True):
    digest: dict[str, str]
    annotations: dict[str, Any] | None = None


class _Statement(msgspec.Struct, frozen=True, rename="camel"):
    type: str = msgspec.field(name="_type")
    predicate_type: str
    subject: list[_Subject]


class Content:
    """What a bundle holds. One of `message` and `sha256` is what was signed, by `signatures`."""

    def __init__(self, data: bytes) -> None:
        """Raises InvalidSignature when `data` is no bundle with a signature in it."""
        bundle: _Bundle = strictly(data, _Bundle, "the bundle")
        if bundle.media_type not in _MEDIA_TYPES:
            raise InvalidSignature(f"a bundle of the unknown form {bundle.media_type[:80]!r}")
        if (bundle.dsse_envelope is None) == (bundle.message_signature is None):
            raise InvalidSignature("a bundle with neither one envelope nor one signature")
        self.message = b""
        self.sha256 = b""
        self._statement = b""
        if bundle.dsse_envelope:
            self.signatures = self._enveloped(bundle.dsse_envelope)
        elif bundle.message_signature:
            self.signatures = self._bare(bundle.message_signature)

    def claims(self) -> list[Claims]:
        """What was signed: one for each image. Raises InvalidSignature when it is no image's."""
        if self.sha256:
            return [Claims(Digest(f"sha256:{self.sha256.hex()}"))]
        statement: _Statement = strictly(self._statement, _Statement, "the signed statement")
        if statement.type not in _STATEMENTS or statement.predicate_type != _SIGNED:
            raise InvalidSignature(
                f"an attestation ({statement.predicate_type[:80]}), no signature of an image"
            )
        try:
            return [
                Claims(
                    parse_digest(f"{algorithm}:{encoded}"),
                    annotations=as_annotations(subject.annotations),
                )
                for subject in statement.subject
                for algorithm, encoded in subject.digest.items()
                if algorithm in ("sha256", "sha512")
            ]
        except InvalidDigest as error:
            raise InvalidSignature(f"the signed statement: {error}") from None

    def _enveloped(self, envelope: _Envelope) -> list[bytes]:
        if envelope.payload_type != _STATEMENT_TYPE:
            raise InvalidSignature(f"a bundle with a signed {envelope.payload_type[:80]!r}")
        if len(envelope.signatures) > _MAX_SIGNATURES:
            raise InvalidSignature(f"a bundle with more than {_MAX_SIGNATURES} signatures")
        self._statement = _decoded(envelope.payload)
        kind = envelope.payload_type
        head = f"DSSEv1 {len(kind)} {kind} {len(self._statement)} "
        self.message = head.encode() + self._statement
        return [_decoded(signature.sig) for signature in envelope.signatures]

    def _bare(self, signature: _MessageSignature) -> list[bytes]:
        if signature.message_digest.algorithm != "SHA2_256":
            raise InvalidSignature("a bundle whose signature is not over a SHA-256 digest")
        self.sha256 = _decoded(signature.message_digest.digest)
        if len(self.sha256) != 32:
            raise InvalidSignature("a bundle whose digest has not the length of SHA-256")
        return [_decoded(signature.signature)]


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidSignature("a bundle with a part that is not base64") from None
