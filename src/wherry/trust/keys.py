"""Public keys that signatures are checked with: ECDSA, RSA and Ed25519, read from PEM."""

import hashlib
import re
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature as _Mismatch
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from wherry.trust.errors import KeyUnusable

MAX_KEY = 64 << 10
"""Bytes of a key file."""
MAX_SIGNATURE = 4 << 10
"""Bytes of a signature; RSA's of 8192 bits has 1024."""

_CURVES: dict[str, tuple[str, tuple[hashes.HashAlgorithm, ...]]] = {
    "secp256r1": ("ECDSA P-256", (hashes.SHA256(),)),
    "secp384r1": ("ECDSA P-384", (hashes.SHA256(), hashes.SHA384())),
    "secp521r1": ("ECDSA P-521", (hashes.SHA256(), hashes.SHA512())),
}
"""Curves with the hashes that are tried. cosign's specification and all its readers take SHA-256;
cosign 3 itself writes with the hash that goes with the curve."""
_RSA_BITS = (2048, 8192)
_BLOCK = re.compile(rb"^-----BEGIN ([A-Z0-9 ]{1,64})-----\s*$", re.MULTILINE)

AnyPublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True)
class PublicKey:
    """A key that can say whether a signature is by its owner. `name` is where it came from."""

    name: str
    kind: str
    fingerprint: str
    """`sha256:HEX` of the key's DER form (SubjectPublicKeyInfo)."""
    pem: bytes = field(repr=False)
    _key: AnyPublicKey = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}, {self.fingerprint[:19]})"

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether `signature` was made over `data` by this key's owner."""
        if len(signature) > MAX_SIGNATURE:
            return False
        key = self._key
        if isinstance(key, ed25519.Ed25519PublicKey):
            return _ed25519(key, signature, data) or _ed25519ph(key, signature, data)
        return any(_matches(key, signature, data, method) for method in _hashes(key))

    def verifies_digest(self, signature: bytes, sha256: bytes) -> bool:
        """Whether `signature` was made over data of this SHA-256 digest; Ed25519 cannot tell."""
        if len(signature) > MAX_SIGNATURE or isinstance(self._key, ed25519.Ed25519PublicKey):
            return False
        return _matches(self._key, signature, sha256, utils.Prehashed(hashes.SHA256()))


def read_public_key(data: bytes, name: str) -> PublicKey:
    """The one public key in PEM `data`, from the file `name`. Raises KeyUnusable."""
    label = single_block(data, name)
    if "PRIVATE KEY" in label:
        raise KeyUnusable(f"{name} is a private key: keep it, and give the public one of the pair")
    if "CERTIFICATE" in label:
        raise KeyUnusable(
            f"{name} is a certificate, not a key: get its key by "
            f"'openssl x509 -pubkey -noout -in {name}'"
        )
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyUnusable(f"{name} is no public key that can be read: {label}") from None
    return public_key(key, name)


def public_key(key: object, name: str) -> PublicKey:
    """A key of the library's as one of ours. Raises KeyUnusable for kinds that are not used."""
    kind = _kind(key, name)
    assert isinstance(key, AnyPublicKey)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    der = key.public_bytes(serialization.Encoding.DER, form)
    pem = key.public_bytes(serialization.Encoding.PEM, form)
    return PublicKey(name, kind, f"sha256:{hashlib.sha256(der).hexdigest()}", pem, key)


def single_block(data: bytes, name: str) -> str:
    """The label of the only PEM block in `data`. Raises KeyUnusable."""
    if len(data) > MAX_KEY:
        raise KeyUnusable(f"{name} is larger than a key can be")
    labels = _BLOCK.findall(data)
    if not labels:
        raise KeyUnusable(f"{name} holds no key: a PEM file was expected (-----BEGIN …)")
    if len(labels) > 1:
        raise KeyUnusable(f"{name} holds {len(labels)} things: put each key into its own file")
    label: bytes = labels[0]
    return label.decode()


def _kind(key: object, name: str) -> str:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519"
    if isinstance(key, rsa.RSAPublicKey):
        least, most = _RSA_BITS
        if not least <= key.key_size <= most:
            raise KeyUnusable(f"{name}: RSA of {key.key_size} bits, {least} to {most} are accepted")
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            raise KeyUnusable(f"{name}: the curve {key.curve.name}; P-256, P-384, P-521 are known")
        return _CURVES[key.curve.name][0]
    raise KeyUnusable(f"{name}: a key of another kind than ECDSA, RSA and Ed25519")


def _hashes(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> tuple[hashes.HashAlgorithm, ...]:
    if isinstance(key, rsa.RSAPublicKey):
        return (hashes.SHA256(),)
    return _CURVES[key.curve.name][1]


def _matches(
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    signature: bytes,
    data: bytes,
    method: hashes.HashAlgorithm | utils.Prehashed,
) -> bool:
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), method)
        else:
            key.verify(signature, data, ec.ECDSA(method))
    except (_Mismatch, ValueError):
        return False
    return True


def _ed25519(key: ed25519.Ed25519PublicKey, signature: bytes, data: bytes) -> bool:
    try:
        key.verify(signature, data)
    except (_Mismatch, ValueError):
        return False
    return True


def _ed25519ph(key: ed25519.Ed25519PublicKey, signature: bytes, data: bytes) -> bool:
    """RFC 8032's prehashed form, which cosign 3 writes."""
    from nacl import bindings
    from nacl.exceptions import CryptoError

    if len(signature) != bindings.crypto_sign_BYTES:
        return False
    state = bindings.crypto_sign_ed25519ph_state()
    bindings.crypto_sign_ed25519ph_update(state, data)
    try:
        bindings.crypto_sign_ed25519ph_final_verify(state, signature, key.public_bytes_raw())
    except CryptoError:
        return False
    return True
