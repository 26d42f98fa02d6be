"""Keys: what is one, what is none, and what signatures by them are worth."""

from __future__ import annotations

import base64
import datetime
import json
from typing import NoReturn

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa, x25519
from hypothesis import given
from hypothesis import strategies as st
from tests.trust.pairs import ALL_KINDS, private, public

from wherry.trust import (
    KeyUnusable,
    TrustError,
    WrongPassword,
    read_private_key,
    read_public_key,
)

SPKI = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def nobody() -> NoReturn:
    raise AssertionError("no password is needed")


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_key_verifies_what_its_owner_signed_and_nothing_else(kind: str) -> None:
    key, signature = public(kind), private(kind).sign(b"text")
    assert key.verifies(signature, b"text")
    assert not key.verifies(signature, b"texts")
    assert not key.verifies(signature[:-1], b"text")
    assert not key.verifies(b"", b"text")
    assert not public(kind, "another").verifies(signature, b"text")


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_key_of_another_kind_verifies_nothing(kind: str) -> None:
    signature = private(kind).sign(b"text")
    for other in ALL_KINDS:
        if other != kind:
            assert not public(other).verifies(signature, b"text")


@given(st.binary(max_size=200))
def test_bytes_are_no_signature(data: bytes) -> None:
    for kind in ("ecdsa-p256", "rsa-2048", "ed25519"):
        assert not public(kind).verifies(data, b"text")
        assert not public(kind).verifies_digest(data, b"\0" * 32)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_sealed_key_opens_with_its_password_alone(kind: str) -> None:
    sealed = private(kind).sealed(b"secret")
    assert b"BEGIN ENCRYPTED SIGSTORE PRIVATE KEY" in sealed
    opened = read_private_key(sealed, "cosign.key", lambda: b"secret")
    assert opened.public.fingerprint == private(kind).public.fingerprint
    assert public(kind).verifies(opened.sign(b"text"), b"text")
    with pytest.raises(WrongPassword, match=r"the password does not open cosign\.key"):
        read_private_key(sealed, "cosign.key", lambda: b"Secret")


def plain(form: serialization.PrivateFormat, password: bytes = b"") -> bytes:
    """A key of openssl's, as PEM."""
    seal: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        seal = serialization.BestAvailableEncryption(password)
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, form, seal)


def test_plain_keys_are_read_as_they_are() -> None:
    for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
        key = read_private_key(plain(form), "openssl.pem", nobody)
        assert key.public.verifies(key.sign(b"text"), b"text")


def test_keys_that_openssl_sealed_ask_for_the_password() -> None:
    for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
        sealed = plain(form, b"secret")
        key = read_private_key(sealed, "openssl.pem", lambda: b"secret")
        assert key.public.verifies(key.sign(b"text"), b"text")
        with pytest.raises(WrongPassword, match="does not open"):
            read_private_key(sealed, "openssl.pem", lambda: b"wrong")


def boxed(**changes: object) -> bytes:
    """A sealed key whose JSON was tampered with."""
    lines = private().sealed(b"secret").decode().splitlines()
    box = json.loads(base64.b64decode("".join(lines[1:-1])))
    for path, value in changes.items():
        *parts, last = path.split("__")
        target = box
        for part in parts:
            target = target[part]
        target[last] = value
    body = base64.b64encode(json.dumps(box).encode()).decode()
    return f"{lines[0]}\n{body}\n{lines[-1]}\n".encode()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kdf__params__N": 1 << 40}, "out of bounds"),
        ({"kdf__params__N": -1}, "out of bounds"),
        ({"kdf__params__N": 65535}, "out of bounds"),
        ({"kdf__params__r": 0}, "out of bounds"),
        ({"kdf__params__p": 1 << 70}, "out of bounds"),
        ({"kdf__name": "md5"}, "only scrypt and nacl/secretbox are known"),
        ({"cipher__name": "rot13"}, "only scrypt and nacl/secretbox are known"),
        ({"cipher__nonce": "AAAA"}, "damaged"),
        ({"kdf__salt": "not base64!"}, "damaged"),
        ({"ciphertext": ""}, "the password does not open"),
        ({"ciphertext": 7}, "damaged"),
    ],
)
def test_a_sealed_key_that_was_tampered_with_is_refused(
    changes: dict[str, object], said: str
) -> None:
    with pytest.raises(KeyUnusable, match=said):
        read_private_key(boxed(**changes), "cosign.key", lambda: b"secret")


def certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])
    day = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
        .public_key(key.public_key()).not_valid_before(day)
        .not_valid_after(day + datetime.timedelta(1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    return made.public_bytes(serialization.Encoding.PEM)


def of(key: object) -> bytes:
    """The PEM of a public key of any kind."""
    assert hasattr(key, "public_bytes")
    pem: bytes = key.public_bytes(*SPKI)
    return pem


UNUSABLE = {
    "a certificate": (certificate, "openssl x509 -pubkey"),
    "a private key": (lambda: private().sealed(b""), "is a private key: keep it"),
    "nothing": (lambda: b"", "holds no key"),
    "binary": (lambda: bytes(range(256)), "holds no key"),
    "two keys": (lambda: private().public.pem * 2, "holds 2 things"),
    "a damaged key": (
        lambda: b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "no public key that can be read",
    ),
    "half a key": (lambda: private().public.pem[:60], "no public key that can be read"),
    "a large file": (lambda: private().public.pem + b" " * 70_000, "larger than a key can be"),
    "another curve": (
        lambda: of(ec.generate_private_key(ec.SECP256K1()).public_key()),
        "the curve secp256k1",
    ),
    "a short RSA key": (
        lambda: of(rsa.generate_private_key(65537, 1024).public_key()),
        "RSA of 1024 bits",
    ),
    "DSA": (lambda: of(dsa.generate_private_key(2048).public_key()), "another kind"),
    "a key for encryption": (
        lambda: of(x25519.X25519PrivateKey.generate().public_key()),
        "another kind",
    ),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_what_is_no_public_key_says_what_it_is(what: str) -> None:
    make, said = UNUSABLE[what]
    with pytest.raises(KeyUnusable, match=said) as caught:
        read_public_key(make(), "team.pub")
    assert "team.pub" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_public_key_does_not_sign() -> None:
    with pytest.raises(KeyUnusable, match="is a public key: signing takes the private key"):
        read_private_key(private().public.pem, "cosign.pub", nobody)


@given(st.binary(max_size=300), st.sampled_from(["PUBLIC KEY", "PRIVATE KEY", "EC PRIVATE KEY",
       "ENCRYPTED SIGSTORE PRIVATE KEY", "RSA PUBLIC KEY", "CERTIFICATE"]))  # fmt: skip
def test_no_file_makes_a_reader_fall_over(data: bytes, label: str) -> None:
    body = base64.b64encode(data)
    for inside in (data, body):
        pem = b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (
            label.encode(), inside, label.encode()
        )  # fmt: skip
        for read in (
            lambda pem: read_public_key(pem, "x"),
            lambda pem: read_private_key(pem, "x", lambda: b"p"),
        ):
            with pytest.raises(TrustError):
                read(pem)
