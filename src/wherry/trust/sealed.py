"""Private keys under a password as cosign keeps them: scrypt makes the key of a NaCl secretbox.

The PEM block holds JSON with the parameters, the salt, the nonce and the sealed PKCS #8 document,
in the form of go-securesystemslib's package `encrypted`.
"""

import base64
import binascii
import hashlib
import os

import msgspec

from wherry.trust.errors import KeyUnusable, WrongPassword

_N, _R, _P = 65536, 8, 1
"""What cosign 3 writes; older releases wrote 32768."""
_KEY = 32
_SALT = 32
_MAX_MEMORY = 1 << 30
_CIPHER = "nacl/secretbox"


class _Scrypt(msgspec.Struct, frozen=True):
    cost: int = msgspec.field(name="N")
    block: int = msgspec.field(name="r")
    parallel: int = msgspec.field(name="p")


class _Derivation(msgspec.Struct, frozen=True):
    name: str
    params: _Scrypt
    salt: str


class _Cipher(msgspec.Struct, frozen=True):
    name: str
    nonce: str


class _Box(msgspec.Struct, frozen=True):
    kdf: _Derivation
    cipher: _Cipher
    ciphertext: str


def seal(secret: bytes, password: bytes) -> bytes:
    """`secret` under `password`, as the content of the PEM block."""
    from nacl.secret import SecretBox

    salt = os.urandom(_SALT)
    sealed = SecretBox(_derive(password, salt, _Scrypt(_N, _R, _P))).encrypt(secret)
    box = _Box(
        _Derivation("scrypt", _Scrypt(_N, _R, _P), base64.b64encode(salt).decode()),
        _Cipher(_CIPHER, base64.b64encode(sealed.nonce).decode()),
        base64.b64encode(sealed.ciphertext).decode(),
    )
    return msgspec.json.encode(box)


def unseal(content: bytes, password: bytes, name: str) -> bytes:
    """What was sealed. Raises WrongPassword, KeyUnusable; `name` is the file's, for messages."""
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    try:
        box = msgspec.json.decode(content, type=_Box)
        salt, nonce, sealed = (
            base64.b64decode(text, validate=True)
            for text in (box.kdf.salt, box.cipher.nonce, box.ciphertext)
        )
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, ValueError):
        raise KeyUnusable(f"{name}: a private key of cosign's form, but damaged") from None
    if box.kdf.name != "scrypt" or box.cipher.name != _CIPHER:
        raise KeyUnusable(
            f"{name} is sealed by {box.kdf.name[:40]} and {box.cipher.name[:40]}: "
            "only scrypt and nacl/secretbox are known"
        )
    if len(nonce) != SecretBox.NONCE_SIZE:
        raise KeyUnusable(f"{name}: a private key of cosign's form, but damaged")
    try:
        key = _derive(password, salt, box.kdf.params)
    except (ValueError, OverflowError, MemoryError):
        raise KeyUnusable(f"{name} asks for parameters of scrypt that are out of bounds") from None
    try:
        return SecretBox(key).decrypt(sealed, nonce)
    except (CryptoError, ValueError):
        raise WrongPassword(f"the password does not open {name}") from None


def _derive(password: bytes, salt: bytes, parameters: _Scrypt) -> bytes:
    cost, block, parallel = parameters.cost, parameters.block, parameters.parallel
    if min(cost, block, parallel) < 1 or 128 * cost * block * parallel > _MAX_MEMORY:
        raise ValueError("out of bounds")
    return hashlib.scrypt(
        password, salt=salt, n=cost, r=block, p=parallel, dklen=_KEY, maxmem=2 * _MAX_MEMORY - 1
    )
