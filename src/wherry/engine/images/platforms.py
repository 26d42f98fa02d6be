"""Platforms as clients send them, and those of an image as Docker lists them.

The list is that of `?manifests=1` (Engine API 1.48).
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from wherry.engine.errors import InvalidRequest
from wherry.images import Member
from wherry.oci import Descriptor, Platform, parse_platform

_IMAGE, _ATTESTATION, _UNKNOWN = "image", "attestation", "unknown"


class ContentSize(msgspec.Struct, kw_only=True, rename="pascal"):
    """Bytes in the store: of blobs, and with what is unpacked of them."""

    content: int
    total: int


class UnpackedSize(msgspec.Struct, kw_only=True, rename="pascal"):
    """Bytes of the unpacked layers; 0 if there are none."""

    unpacked: int


class ImageData(msgspec.Struct, kw_only=True, rename="pascal"):
    """What is known of a manifest that is an image's."""

    platform: Platform
    size: UnpackedSize
    containers: list[str]
    """The ids of those made from it."""


class AttestationData(msgspec.Struct, kw_only=True, rename="pascal"):
    """What is known of a manifest that says something about an image."""

    about: str = msgspec.field(name="For")


class ManifestSummary(msgspec.Struct, kw_only=True, rename="pascal"):
    """One manifest of an image. `available`: all of it is in the store."""

    id: str = msgspec.field(name="ID")
    descriptor: Descriptor
    available: bool
    size: ContentSize
    kind: str
    image_data: ImageData | UnsetType = UNSET
    attestation_data: AttestationData | UnsetType = UNSET


def summarize(
    members: Iterable[Member], containers: Mapping[str, Sequence[str]]
) -> list[ManifestSummary]:
    """The manifests of an image, in its order; `containers` are ids by the ids of their images."""
    return [_summary(member, containers) for member in members]


def _summary(member: Member, containers: Mapping[str, Sequence[str]]) -> ManifestSummary:
    shown = ManifestSummary(
        id=member.descriptor.digest,
        descriptor=member.descriptor,
        available=member.available,
        size=ContentSize(content=member.content, total=member.content + member.unpacked),
        kind=_UNKNOWN,
    )
    platform = member.image.platform if member.image else member.descriptor.platform
    if member.is_image:
        shown.kind = _IMAGE
        if platform is not None:
            users = containers.get(member.image.id, ()) if member.image else ()
            shown.image_data = ImageData(
                platform=platform,
                size=UnpackedSize(unpacked=member.unpacked),
                containers=list(users),
            )
    elif member.about:
        shown.kind = _ATTESTATION
        shown.attestation_data = AttestationData(about=member.about)
    return shown


def read_platform(text: str | None) -> Platform | None:
    """In words, or as newer clients do it, OCI's fields as JSON; None where none is asked for.

    Raises InvalidRequest, InvalidPlatform.
    """
    if not text:
        return None
    if not text.startswith("{"):
        return parse_platform(text)
    try:
        named = msgspec.json.decode(text, type=Platform)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"platform: {error}") from None
    return parse_platform(str(named))
