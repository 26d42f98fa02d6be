"""Private keys that sign: cosign's, sealed by a password, and PEM's (PKCS #8, SEC 1, PKCS #1)."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from wherry.trust.errors import KeyUnusable, WrongPassword
from wherry.trust.keys import PublicKey, public_key, single_block
from wherry.trust.sealed import seal, unseal

_SEALED = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
_PLAIN = ("PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY")

AnyPrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
Kind = Literal["ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "rsa-4096", "ed25519"]

KINDS: dict[Kind, Callable[[], AnyPrivateKey]] = {
    "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ecdsa-p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-4096": lambda: rsa.generate_private_key(65537, 4096),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}
"""What can be made; cosign's own kind comes first."""


@dataclass(frozen=True)
class PrivateKey:
    """A key that signs, and the public one that goes with it."""

    public: PublicKey
    _key: AnyPrivateKey = field(repr=False, compare=False)

    def sign(self, data: bytes) -> bytes:
        """A signature over `data`: with SHA-256, or plain Ed25519, which every reader accepts."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(data)
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))

    def sealed(self, password: bytes) -> bytes:
        """The file cosign reads: PEM, sealed by `password`."""
        secret = self._key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        lines = base64.b64encode(seal(secret, password)).decode()
        body = "\n".join(lines[start : start + 64] for start in range(0, len(lines), 64))
        return f"-----BEGIN {_SEALED[0]}-----\n{body}\n-----END {_SEALED[0]}-----\n".encode()


def generate(kind: Kind, name: str) -> PrivateKey:
    """A new key; `name` is what messages call it."""
    key = KINDS[kind]()
    return PrivateKey(public_key(key.public_key(), name), key)


def read_private_key(data: bytes, name: str, password: Callable[[], bytes]) -> PrivateKey:
    """The one private key in PEM `data`, from the file `name`.

    `password` is called where one is needed. Raises WrongPassword, KeyUnusable, and what it raises.
    """
    label = single_block(data, name)
    if label in _SEALED:
        secret = unseal(_content(data, name), password(), name)
        return _loaded(lambda: serialization.load_der_private_key(secret, None), name)
    if label not in _PLAIN:
        what = "a public key" if "PUBLIC" in label else f"a {label.lower()}"
        raise KeyUnusable(f"{name} is {what}: signing takes the private key of the pair")
    sealed = label == "ENCRYPTED PRIVATE KEY" or b"Proc-Type: 4,ENCRYPTED" in data
    secret_word = password() if sealed else None
    return _loaded(lambda: serialization.load_pem_private_key(data, secret_word), name, sealed)


def _loaded(load: Callable[[], object], name: str, sealed: bool = False) -> PrivateKey:
    try:
        key = load()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if sealed and not isinstance(error, UnsupportedAlgorithm):
            raise WrongPassword(f"the password does not open {name}") from None
        raise KeyUnusable(f"{name} is no private key that can be read") from None
    if not isinstance(key, AnyPrivateKey):
        raise KeyUnusable(f"{name}: a key of another kind than ECDSA, RSA and Ed25519")
    return PrivateKey(public_key(key.public_key(), name), key)


def _content(data: bytes, name: str) -> bytes:
    """The bytes in the PEM block."""
    inside = data.partition(b"-----\n")[2] or data.partition(b"-----\r\n")[2]
    body = inside.partition(b"-----END")[0]
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error:
        raise KeyUnusable(f"{name}: a private key of cosign's form, but damaged") from None
