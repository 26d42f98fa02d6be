"""A signature somebody attached to an image, in either of cosign's two forms.

Nothing in it is to be believed before `claims_if_by` has said whose it is.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Literal

from wherry.trust import bundle
from wherry.trust.errors import InvalidSignature
from wherry.trust.keys import PublicKey
from wherry.trust.payload import MAX_PAYLOAD, Claims, read_payload

Form = Literal["simple", "bundle"]

MAX_SIGNATURES = 100
"""Signatures of one image that are looked at."""


@dataclass(frozen=True)
class Signature:
    """`document` is what a registry keeps: the payload that was signed, or a whole bundle.

    `encoded` is the signature of a payload, in base64; a bundle has its own inside.
    """

    form: Form
    document: bytes
    encoded: str = ""

    def claims_if_by(self, key: PublicKey) -> list[Claims] | None:
        """What `key`'s owner said in it; None when the signature is not by that key.

        Raises InvalidSignature when it is malformed, or is about something else than an image.
        """
        if len(self.document) > MAX_PAYLOAD:
            raise InvalidSignature(f"more than {MAX_PAYLOAD} bytes were signed")
        if self.form == "bundle":
            content = bundle.Content(self.document)
            made = any(
                key.verifies_digest(one, content.sha256)
                if content.sha256
                else key.verifies(one, content.message)
                for one in content.signatures
            )
            return content.claims() if made else None
        try:
            signature = base64.b64decode(self.encoded, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidSignature("a signature that is not base64") from None
        return [read_payload(self.document)] if key.verifies(signature, self.document) else None

    def unproven_claims(self) -> list[Claims]:
        """What it says, by whomever; for showing, never for deciding. Raises InvalidSignature."""
        if self.form == "bundle":
            return bundle.Content(self.document).claims()
        return [read_payload(self.document)]
