"""Keys, signatures and policies: which images may run.

Everything here is bytes in and a decision out: no network, no store. Signatures are cosign's, as a
payload with a signature beside it or as a Sigstore bundle; policies are those of
containers-policy.json(5). Importing this room loads the cryptography: who may need none of it
imports it late.
"""

from wherry.trust.errors import (
    InvalidPolicy,
    InvalidSignature,
    KeyUnusable,
    TrustError,
    Untrusted,
    WrongPassword,
)
from wherry.trust.keys import MAX_KEY, PublicKey, read_public_key
from wherry.trust.manifest import (
    Part,
    combine,
    is_signature,
    part_of,
    read_manifest,
    tag_of,
)
from wherry.trust.payload import MAX_PAYLOAD, Claims, read_payload, write_payload
from wherry.trust.policy import Place, Policy, Requirement, Signed, demands_signatures
from wherry.trust.policy_file import read_policy
from wherry.trust.private_keys import KINDS, PrivateKey, generate, read_private_key
from wherry.trust.signature import MAX_SIGNATURES, Form, Signature
from wherry.trust.signing import sign_image
from wherry.trust.verdict import Search, Subject, Verified, judge, search

__all__ = [
    "KINDS",
    "MAX_KEY",
    "MAX_PAYLOAD",
    "MAX_SIGNATURES",
    "Claims",
    "Form",
    "InvalidPolicy",
    "InvalidSignature",
    "KeyUnusable",
    "Part",
    "Place",
    "Policy",
    "PrivateKey",
    "PublicKey",
    "Requirement",
    "Search",
    "Signature",
    "Signed",
    "Subject",
    "TrustError",
    "Untrusted",
    "Verified",
    "WrongPassword",
    "combine",
    "demands_signatures",
    "generate",
    "is_signature",
    "judge",
    "part_of",
    "read_manifest",
    "read_payload",
    "read_policy",
    "read_private_key",
    "read_public_key",
    "search",
    "sign_image",
    "tag_of",
    "write_payload",
]
