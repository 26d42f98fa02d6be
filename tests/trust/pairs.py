"""Keys for the tests, each kind made once; RSA's take long."""

from __future__ import annotations

import base64
import functools

from wherry.trust import KINDS, PrivateKey, PublicKey, Signature, generate, read_public_key

ALL_KINDS = tuple(KINDS)
DIGEST = f"sha256:{'a' * 64}"
OTHER = f"sha256:{'b' * 64}"


def private(kind: str = "ecdsa-p256", name: str = "key") -> PrivateKey:
    """A private key; another `name` is another key."""
    return _made(kind, name)


@functools.cache
def _made(kind: str, name: str) -> PrivateKey:
    return generate(next(known for known in KINDS if known == kind), name)


def public(kind: str = "ecdsa-p256", name: str = "key") -> PublicKey:
    """The public key of `private`, as it is read from a file."""
    return read_public_key(private(kind, name).public.pem, f"{name}.pub")


def simple(payload: bytes, key: PrivateKey | None = None) -> Signature:
    """A signature in cosign's own form."""
    signature = (key or private()).sign(payload)
    return Signature("simple", payload, base64.b64encode(signature).decode())
