"""Manifests and indexes as they come from a registry: bounded, checked, named by their type."""

import msgspec

from wherry.oci import Descriptor, InvalidDigest, MediaType, digest_of, parse_digest
from wherry.oci.document import MAX_DOCUMENT
from wherry.registry.answer import Answer
from wherry.registry.errors import InvalidAnswer, one_line

MANIFESTS = ", ".join(
    (
        MediaType.INDEX,
        MediaType.MANIFEST,
        MediaType.DOCKER_INDEX,
        MediaType.DOCKER_MANIFEST,
        "*/*",
    )
)
"""What is accepted when a manifest is asked for."""
_KNOWN = MediaType.INDEXES | MediaType.MANIFESTS
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"


class _Document(msgspec.Struct, rename="camel"):
    media_type: str | None = None
    schema_version: int | None = None
    manifests: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    layers: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    config: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def described(answer: Answer, reference: str) -> Descriptor | None:
    """What the headers of an answer to HEAD say; None unless they say all."""
    kind = _header_type(answer)
    try:
        digest = parse_digest(answer.headers.get("Docker-Content-Digest", ""))
    except InvalidDigest:
        return None
    size = answer.length
    if kind not in _KNOWN or not size or size > MAX_DOCUMENT:
        return None
    if ":" in reference and reference != digest:
        return None
    return Descriptor(media_type=kind, digest=digest, size=size)


def manifest_of(answer: Answer, reference: str, name: str) -> tuple[Descriptor, bytes]:
    """The manifest in an answer to GET for a tag or digest. Raises RegistryError."""
    data = answer.body(MAX_DOCUMENT, name)
    told = reference if ":" in reference else answer.headers.get("Docker-Content-Digest", "")
    digest = _checked(data, told, name)
    kind = _media_type(_header_type(answer), data, name)
    return Descriptor(media_type=kind, digest=digest, size=len(data)), data


def _checked(data: bytes, told: str, name: str) -> str:
    """The digest of `data`, which has to be the one that was told, if one was."""
    algorithm = told.partition(":")[0] if told else "sha256"
    if algorithm not in ("sha256", "sha512"):
        algorithm, told = "sha256", ""
    digest = digest_of(data, algorithm)
    if told and digest != told:
        raise InvalidAnswer(f"{name}: what came has the digest {digest}, not {one_line(told)}")
    return digest


def _media_type(header: str, data: bytes, name: str) -> str:
    if header.startswith(_SCHEMA_1):
        raise InvalidAnswer(
            f"{name} is an image of Docker's schema 1, which nobody reads any more: push it anew"
        )
    try:
        document = msgspec.json.decode(data, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidAnswer(f"{name} is no manifest: {error}") from None
    if document.schema_version == 1:
        return _media_type(f"{_SCHEMA_1}json", data, name)
    own = document.media_type or ""
    # Who reads `manifests` and who reads `layers` would run different images (CVE-2021-41190).
    if document.manifests is not msgspec.UNSET and document.layers is not msgspec.UNSET:
        raise InvalidAnswer(f"{name} is manifest and index in one")
    if own and header in _KNOWN and own != header:
        raise InvalidAnswer(f"{name} is {one_line(own)} by itself, {header} by its Content-Type")
    if own or header in _KNOWN:
        return own or header
    return MediaType.INDEX if document.manifests is not msgspec.UNSET else MediaType.MANIFEST


def _header_type(answer: Answer) -> str:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
