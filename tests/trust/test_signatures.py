"""Signatures: what they say, and whether it is about the image at hand."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.trust.pairs import ALL_KINDS, DIGEST, OTHER, private, public, simple

from wherry.trust import (
    InvalidSignature,
    Search,
    Signature,
    Subject,
    combine,
    part_of,
    read_manifest,
    read_payload,
    search,
    sign_image,
    tag_of,
)

IMAGE = Subject("image shop", frozenset({DIGEST}))
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGNED = "https://sigstore.dev/cosign/sign/v1"


def found(*signatures: Signature, **options: object) -> Search:
    return search(IMAGE, [public()], signatures, **options)  # type: ignore[arg-type]


def payload(**changes: object) -> bytes:
    critical: dict[str, object] = {
        "identity": {"docker-reference": "example.org/shop"},
        "image": {"docker-manifest-digest": DIGEST},
        "type": "cosign container image signature",
    }
    document = {"critical": critical | changes, "optional": {"who": "me"}}
    return json.dumps(document).encode()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def dsse(statement: object, kind: str = "application/vnd.in-toto+json", **more: object) -> bytes:
    """A bundle with an envelope, signed by the tests' key."""
    body = statement if isinstance(statement, bytes) else json.dumps(statement).encode()
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(body), body)
    envelope = {
        "payload": b64(body),
        "payloadType": kind,
        "signatures": [{"sig": b64(private().sign(signed))}],
    }
    return json.dumps({"mediaType": BUNDLE, "dsseEnvelope": envelope} | more).encode()


def statement(digest: str = DIGEST, predicate: str = SIGNED, **more: object) -> dict[str, object]:
    subject = {"digest": {"sha256": digest.partition(":")[2]}, "annotations": {"who": "me"}}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [subject],
        "predicateType": predicate,
        "predicate": {},
    } | more


def test_what_is_signed_here_is_found_with_all_it_says() -> None:
    document, signature = sign_image(private(), DIGEST, "example.org/shop", {"build": "7"})
    (verified,) = found(Signature("simple", document, b64(signature))).verified
    assert verified.key == public()
    assert verified.claims.digest == DIGEST
    assert verified.claims.identity == "example.org/shop"
    assert verified.claims.annotations == {"build": "7"}


def test_the_document_is_the_one_cosign_writes() -> None:
    document, _ = sign_image(private(), DIGEST, "example.org/shop", {"b": "2", "a": "1"})
    assert document == (
        b'{"critical":{"identity":{"docker-reference":"example.org/shop"},"image":'
        b'{"docker-manifest-digest":"' + DIGEST.encode() + b'"},"type":"cosign container image '
        b'signature"},"optional":{"a":"1","b":"2"}}'
    )
    assert sign_image(private(), DIGEST, "x", {})[0].endswith(b'"optional":null}')


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        (simple(payload(), private(name="another")), "by another key"),
        (simple(payload(image={"docker-manifest-digest": OTHER})), "over another image"),
        (simple(payload(image={"docker-manifest-digest": "sha256:1"})), "64 lower-case hex"),
        (simple(payload(type="atomic container signature")), "is a 'atomic container signature'"),
        (simple(payload(image={})), "missing required field `docker-manifest-digest`"),
        (simple(payload(surprise=1)), "unknown field `surprise`"),
        (simple(payload().replace(b'"optional"', b'"critical": {}, "optional"')), "twice"),
        (simple(payload() + b"{}"), "follows after the end"),
        (simple(b"not JSON"), "expected a value"),
        (simple(b"\xff"), "not UTF-8"),
        (Signature("simple", payload(), "not base64!"), "not base64"),
        (Signature("simple", payload(), ""), "by another key"),
        (Signature("simple", payload(), b64(b"0" * 72)), "by another key"),
        (simple(payload() + b" " * (1 << 20)), "bytes were signed"),
        (Signature("bundle", payload()), "missing required field `mediaType`"),
        (Signature("bundle", dsse(statement(OTHER))), "over another image"),
        (Signature("bundle", dsse(statement(predicate="https://slsa.dev/provenance/v1"))),
         "an attestation"),
        (Signature("bundle", dsse(statement(_type="https://example.org/"))), "an attestation"),
        (Signature("bundle", dsse(statement(subject=[]))), "over no image"),
        (Signature("bundle", dsse(statement(), "text/plain")), "a signed 'text/plain'"),
        (Signature("bundle", dsse(statement(), mediaType="v9")), "unknown form 'v9'"),
        (Signature("bundle", dsse(b'{"_type": 1, "_type": 2}')), "twice"),
        (Signature("bundle", dsse(statement()).replace(b"DSSE", b"DSSE")[:-1]), "expected ','"),
        (Signature("bundle", dsse(statement(), messageSignature={
            "messageDigest": {"algorithm": "SHA2_256", "digest": ""}, "signature": ""})),
         "neither one envelope nor one signature"),
    ],
)  # fmt: skip
def test_a_signature_that_will_not_do_says_why(signature: Signature, said: str) -> None:
    result = found(signature)
    assert result.verified == []
    assert said in result.summary
    assert "\n" not in result.summary


def test_bundles_are_read_as_the_older_form_is() -> None:
    (verified,) = found(Signature("bundle", dsse(statement()))).verified
    assert verified.claims.digest == DIGEST
    assert verified.claims.annotations == {"who": "me"}
    assert verified.claims.identity == ""


@pytest.mark.parametrize("kind", [kind for kind in ALL_KINDS if kind != "ed25519"])
def test_a_bare_signature_over_the_manifest_is_one_of_the_image(kind: str) -> None:
    manifest = b'{"schemaVersion": 2}'
    sha256 = hashlib.sha256(manifest).digest()
    document = {
        "mediaType": BUNDLE,
        "messageSignature": {
            "messageDigest": {"algorithm": "SHA2_256", "digest": b64(sha256)},
            "signature": b64(private(kind).sign(manifest)),
        },
    }
    signature = Signature("bundle", json.dumps(document).encode())
    image = Subject("image", frozenset({f"sha256:{sha256.hex()}"}))
    assert search(image, [public(kind)], [signature]).verified
    assert search(image, [public(kind, "another")], [signature]).summary.endswith("by another key")
    assert search(IMAGE, [public(kind)], [signature]).verified == []


def test_annotations_are_asked_for_in_what_was_signed() -> None:
    signature = simple(payload())
    assert found(signature, annotations={"who": "me"}).verified
    assert "without the annotation who=you" in found(signature, annotations={"who": "you"}).summary
    assert found(signature, annotations={"what": "me"}).verified == []


def test_one_good_signature_among_bad_ones_is_enough() -> None:
    bad = simple(payload(), private(name="another"))
    assert found(bad, Signature("bundle", b"{"), simple(payload()), bad).verified
    assert found(bad, bad, Signature("bundle", b"{")).summary.startswith(
        "of its 3 signatures 2 are by another key, 1 is malformed"
    )
    assert found().summary == "it has no signature"


def test_only_so_many_signatures_are_looked_at() -> None:
    bad = simple(payload(), private(name="another"))
    assert found(*[bad] * 99, simple(payload())).verified
    assert found(*[bad] * 100, simple(payload())).verified == []


@given(st.binary(max_size=300), st.text(max_size=40))
def test_bytes_are_never_a_signature(document: bytes, encoded: str) -> None:
    assert found(Signature("simple", document, encoded)).verified == []
    assert found(Signature("bundle", document)).verified == []


@given(st.binary(max_size=300))
def test_a_payload_is_read_or_refused(data: bytes) -> None:
    with pytest.raises(InvalidSignature):
        read_payload(data)


# How they lie in a registry


def test_the_tag_of_an_images_signatures_is_made_of_its_digest() -> None:
    assert tag_of(read_payload(payload()).digest) == f"sha256-{'a' * 64}.sig"


def test_a_further_signature_is_added_to_those_there_are() -> None:
    first = part_of(payload(), b"one")
    manifest, config = combine([], [first])
    assert json.loads(config)["rootfs"]["diff_ids"] == [first.blob.digest]
    second, _ = combine([manifest], [part_of(payload(), b"two")])
    assert [part.encoded for part in read_manifest(second)] == [b64(b"one"), b64(b"two")]


def test_a_signature_that_is_there_already_changes_nothing() -> None:
    first, _ = combine([], [part_of(payload(), b"one")])
    both, _ = combine([first], [part_of(payload(), b"two")])
    assert combine([both, first], [part_of(payload(), b"one")]) == (both, b"")


def test_what_others_put_beside_a_signature_stays() -> None:
    manifest, _ = combine([], [part_of(payload(), b"one")])
    document = json.loads(manifest)
    document["layers"][0]["annotations"]["dev.sigstore.cosign/bundle"] = "{}"
    document["layers"].append({"mediaType": "text/plain", "digest": OTHER, "size": 3})
    united, _ = combine([json.dumps(document).encode()], [part_of(payload(), b"two")])
    layers = json.loads(united)["layers"]
    assert layers[:2] == document["layers"]
    assert len(layers) == 3
    assert [part.encoded for part in read_manifest(united)] == [b64(b"one"), b64(b"two")]


def test_there_is_an_end_to_the_signatures_of_an_image() -> None:
    parts = [part_of(payload(), b"%d" % number) for number in range(101)]
    manifest, _ = combine([], parts[:100])
    assert len(read_manifest(manifest)) == 100
    with pytest.raises(InvalidSignature, match="100 signatures"):
        combine([manifest], parts[100:])


@given(st.binary(max_size=200))
def test_a_manifest_is_read_or_refused(data: bytes) -> None:
    with pytest.raises(InvalidSignature):
        read_manifest(data)
