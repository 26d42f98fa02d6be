"""Signing an image by its digest."""

from collections.abc import Mapping

from wherry.oci import InvalidDigest, parse_digest
from wherry.trust.errors import InvalidSignature
from wherry.trust.payload import Claims, write_payload
from wherry.trust.private_keys import PrivateKey


def sign_image(
    key: PrivateKey, digest: str, identity: str, annotations: Mapping[str, str]
) -> tuple[bytes, bytes]:
    """The document that says what is signed, and the signature over it.

    `identity` is the image's name, as cosign has it without a tag. Raises InvalidSignature.
    """
    try:
        claims = Claims(parse_digest(digest), identity, dict(annotations))
    except InvalidDigest as error:
        raise InvalidSignature(str(error)) from None
    payload = write_payload(claims)
    return payload, key.sign(payload)
