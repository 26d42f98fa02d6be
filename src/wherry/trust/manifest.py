"""How signatures lie in a registry: cosign's manifest under a tag made of the image's digest.

One manifest for each signed image, one layer for each signature: the layer is the payload, its
annotation the signature (cosign's SIGNATURE_SPEC.md, "Storage").
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from wherry.oci import (
    Descriptor,
    Digest,
    ImageConfig,
    InvalidDocument,
    Manifest,
    MediaType,
    RootFS,
    decode,
    digest_of,
    encode,
)
from wherry.trust import bundle
from wherry.trust.errors import InvalidSignature
from wherry.trust.payload import MAX_PAYLOAD
from wherry.trust.signature import MAX_SIGNATURES, Form, Signature

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
_REFERRER = "application/vnd.dev.cosign.artifact.sig.v1+json"
"""cosign's own form as a referrer, which `--registry-referrers-mode=oci-1-1` makes it."""
_SIGNATURE = "dev.cosignproject.cosign/signature"


@dataclass(frozen=True)
class Part:
    """Where one signature of a manifest lies: the blob to read, and what goes with it."""

    form: Form
    blob: Descriptor
    encoded: str = ""

    def signature(self, document: bytes) -> Signature:
        """The signature, its blob having been read."""
        return Signature(self.form, document, self.encoded)


def tag_of(digest: Digest) -> str:
    """The tag under which signatures of the image `digest` lie."""
    return f"{digest.replace(':', '-', 1)}.sig"


def is_signature(artifact_type: str | None) -> bool:
    """Whether a referrer of this type may be a signature."""
    return artifact_type in (bundle.MEDIA_TYPE, _REFERRER)


def read_manifest(data: bytes) -> list[Part]:
    """The signatures in a manifest of either form; none for another artifact.

    Raises InvalidSignature when it is no manifest, or has more signatures than are looked at.
    """
    parts = [part for layer in _decoded(data).layers if (part := _part(layer))]
    if len(parts) > MAX_SIGNATURES:
        raise InvalidSignature(f"{len(parts)} signatures, more than {MAX_SIGNATURES} are not read")
    return parts


def part_of(payload: bytes, signature: bytes) -> Part:
    """A signature that was just made, as cosign keeps it: to be stored with `payload` as a blob."""
    encoded = base64.b64encode(signature).decode()
    blob = Descriptor(
        media_type=SIMPLE_SIGNING,
        digest=digest_of(payload),
        size=len(payload),
        annotations={_SIGNATURE: encoded},
    )
    return Part("simple", blob, encoded)


def combine(manifests: Sequence[bytes], parts: Sequence[Part] = ()) -> tuple[bytes, bytes]:
    """One manifest with all signatures of several and those of `parts`, each once; and its config.

    Layers that are no signatures stay, as do annotations. When that is what one of the manifests
    is already, it is returned as it is, with an empty config. Raises InvalidSignature when one is
    no manifest, or there are too many signatures.
    """
    layers: dict[tuple[str, str], Descriptor] = {}
    held: list[tuple[bytes, set[tuple[str, str]]]] = []
    for data in manifests:
        found = {_identity(layer): layer for layer in _decoded(data).layers}
        held.append((data, set(found)))
        layers |= {key: layer for key, layer in found.items() if key not in layers}
    for part in parts:
        layers.setdefault(_identity(part.blob), part.blob)
    if len(layers) > MAX_SIGNATURES:
        raise InvalidSignature(f"an image can have {MAX_SIGNATURES} signatures, and has them")
    for data, keys in held:
        if keys == set(layers):
            return data, b""
    config = encode(
        ImageConfig(
            architecture="",
            os="",
            rootfs=RootFS(diff_ids=[each.digest for each in layers.values()]),
        )
    )
    about = Descriptor(media_type=MediaType.CONFIG, digest=digest_of(config), size=len(config))
    manifest = Manifest(schema_version=2, config=about, layers=[*layers.values()])
    return encode(manifest), config


def _identity(layer: Descriptor) -> tuple[str, str]:
    return layer.digest, (layer.annotations or {}).get(_SIGNATURE, "")


def _decoded(data: bytes) -> Manifest:
    try:
        return decode(data, Manifest, "the signature's manifest")
    except InvalidDocument as error:
        raise InvalidSignature(str(error)) from None


def _part(layer: Descriptor) -> Part | None:
    if layer.size > MAX_PAYLOAD:
        return None
    encoded = (layer.annotations or {}).get(_SIGNATURE)
    if layer.media_type == SIMPLE_SIGNING and encoded:
        return Part("simple", layer, encoded)
    if layer.media_type == bundle.MEDIA_TYPE:
        return Part("bundle", layer)
    return None
