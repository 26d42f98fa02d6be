"""What cosign signs: a JSON document that says which image, called what ("simple signing").

cosign's SIGNATURE_SPEC.md and containers-signature(5). Written here: the digest, the name, and what
the signer adds as annotations.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from wherry.oci import Digest, InvalidDigest, parse_digest
from wherry.trust.errors import InvalidSignature
from wherry.trust.strict_json import InvalidJson, parse

TYPE = "cosign container image signature"
MAX_PAYLOAD = 1 << 20
"""Bytes of what was signed."""


@dataclass(frozen=True)
class Claims:
    """What a signature says: the image's digest, its name where one is given, annotations."""

    digest: Digest
    identity: str = ""
    annotations: dict[str, str] = field(default_factory=dict)


class _Image(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    digest: str = msgspec.field(name="docker-manifest-digest")


class _Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reference: str = msgspec.field(name="docker-reference")


class _Critical(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    identity: _Identity
    image: _Image
    type: str


class _Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    critical: _Critical
    optional: dict[str, Any] | None


def write_payload(claims: Claims) -> bytes:
    """The document to be signed."""
    critical = _Critical(_Identity(claims.identity), _Image(claims.digest), TYPE)
    optional = dict(sorted(claims.annotations.items())) or None
    return msgspec.json.encode(_Payload(critical, optional))


def read_payload(data: bytes) -> Claims:
    """What a document claims, whoever wrote it. Raises InvalidSignature."""
    document = strictly(data, _Payload, "the signed document")
    critical = document.critical
    if critical.type != TYPE:
        raise InvalidSignature(f"the signed document is a {critical.type[:80]!r}, not a {TYPE!r}")
    try:
        digest = parse_digest(critical.image.digest)
    except InvalidDigest as error:
        raise InvalidSignature(f"the signed document: {error}") from None
    return Claims(digest, critical.identity.reference, as_annotations(document.optional))


def strictly(data: bytes, kind: Any, name: str) -> Any:
    """JSON that can mean one thing only, as a `kind`. Raises InvalidSignature."""
    if len(data) > MAX_PAYLOAD:
        raise InvalidSignature(f"{name}: {len(data)} bytes, more than the {MAX_PAYLOAD} allowed")
    try:
        return msgspec.convert(parse(data).plain(), kind)
    except InvalidJson as error:
        raise InvalidSignature(f"{name}, line {error.line}: {error}") from None
    except msgspec.ValidationError as error:
        raise InvalidSignature(f"{name}: {error}") from None


def as_annotations(values: Mapping[str, Any] | None) -> dict[str, str]:
    """The signer's own words; what is no text (the timestamp of podman's, say) becomes JSON."""
    return {
        key: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for key, value in (values or {}).items()
    }
