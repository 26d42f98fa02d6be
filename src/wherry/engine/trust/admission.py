"""That an image may be used, as it is remembered with what was made of the image."""

import msgspec

from wherry.engine.trust.proof import Proof


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """One image that was let in.

    What decides about it later is all in here: its names may be others' by then.
    """

    image: str
    """As it was asked for."""
    names: list[str]
    """In full, those whose requirements it must meet; an empty one stands for having none."""
    digests: list[str]
    """Those a signature may be about: the index's that led to the manifest, and the manifest's."""
    policy: str = ""
    """The fingerprint of the policy that was asked last; empty if there was none."""
    proofs: list[Proof] = msgspec.field(default_factory=list)
