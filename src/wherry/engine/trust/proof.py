"""What met a demand for a signature, as it is remembered and shown."""

import msgspec


class Proof(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A signature that was verified before a container was made."""

    key: str
    """The key's fingerprint: sha256 of its DER form."""
    digest: str
    """What was signed: the image's manifest, or the index it was chosen from."""
    identity: str = ""
    """The name it was signed under, if the signature has one."""
    demanded_by: str
    """A policy's FILE:LINE, or --verify-key."""
