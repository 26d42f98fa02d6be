"""Content digests (image-spec, descriptor.md, "Digests")."""

import re
from typing import NewType

Digest = NewType("Digest", str)
"""`ALGORITHM:HEX`, known to be well formed: safe as a path below a blob directory."""

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")


class InvalidDigest(ValueError):
    """The text is not a digest of an algorithm wherry checks."""


def parse_digest(text: str) -> Digest:
    """Return `text` as a Digest; raises InvalidDigest unless it is sha256 or sha512."""
    algorithm, colon, encoded = text.partition(":")
    length = _HEX_LENGTH.get(algorithm)
    if not colon or length is None:
        raise InvalidDigest(f"{text[:80]!r} is not a sha256 or sha512 digest")
    if len(encoded) != length or not _HEX.fullmatch(encoded):
        raise InvalidDigest(f"{text[:160]!r}: {algorithm} has {length} lower-case hex digits")
    return Digest(text)


def digest_of(data: bytes, algorithm: str = "sha256") -> Digest:
    """The digest of `data`; `algorithm` is that of another digest."""
    import hashlib  # it loads OpenSSL, which who only reads documents need not have

    return Digest(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")
