"""Signatures in a registry that holds other things under their tags, or too much."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

import pytest
from msgspec.structs import replace
from tests.registries import RealRegistry, registry
from tests.registry.images import Sample, descriptor, repository_at, send
from tests.trust.pairs import private, public

from wherry.engine.trust.attached import MAX_TOTAL
from wherry.engine.trust.remote import fetch
from wherry.oci import Descriptor, Index, Manifest, MediaType, encode
from wherry.registry import Client, Hosts, Repository
from wherry.trust import MAX_PAYLOAD, Subject, part_of, search, sign_image, tag_of

SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
REFERRER = "application/vnd.dev.cosign.artifact.sig.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"


@pytest.fixture(scope="module")
def real() -> Iterator[RealRegistry]:
    with registry() as real:
        yield real


@pytest.fixture
def signed(
    real: RealRegistry, request: pytest.FixtureRequest
) -> Iterator[tuple[Repository, Sample]]:
    """A repository of the test's own with an image."""
    client, sample = Client(Hosts([])), Sample(100)
    path = request.node.name.replace("[", "/").rstrip("]").lower()
    repository = repository_at(client, f"{real.name}/{path}")
    sample.push(repository)
    yield repository, sample
    client.close()


def payload_layer(repository: Repository, data: bytes, encoded: str = "AAAA") -> Descriptor:
    """A layer that looks like a signature, its blob in the registry."""
    send(repository, data)
    return Descriptor(
        media_type=SIMPLE,
        digest=descriptor(SIMPLE, data).digest,
        size=len(data),
        annotations={SIGNATURE: encoded},
    )


def refer(repository: Repository, sample: Sample, *manifests: Manifest) -> None:
    """The list of referrers of an image in a registry that makes none itself."""
    listed = []
    for manifest in manifests:
        data = encode(manifest)
        about = descriptor(MediaType.MANIFEST, data)
        repository.put_manifest(about.digest, MediaType.MANIFEST, data)
        listed.append(replace(about, artifact_type=str(manifest.artifact_type)))
    index = encode(Index(schema_version=2, manifests=listed))
    repository.put_manifest(sample.digest.replace(":", "-"), MediaType.INDEX, index)


def put(repository: Repository, sample: Sample, layers: Sequence[Descriptor]) -> None:
    """A manifest under the tag of the image's signatures."""
    send(repository, b"{}")
    config = descriptor(MediaType.CONFIG, b"{}")
    manifest = Manifest(schema_version=2, config=config, layers=[*layers])
    repository.put_manifest(tag_of(sample.digest), MediaType.MANIFEST, encode(manifest))


def test_an_image_without_signatures_has_none(signed: tuple[Repository, Sample]) -> None:
    repository, sample = signed
    assert fetch(repository, [sample.digest]) == []


def test_an_image_under_the_tag_of_signatures_is_none(signed: tuple[Repository, Sample]) -> None:
    repository, sample = signed
    sample.push(repository, tag_of(sample.digest))
    assert fetch(repository, [sample.digest]) == []


def test_more_signatures_than_are_looked_at_are_none(signed: tuple[Repository, Sample]) -> None:
    repository, sample = signed
    one = payload_layer(repository, b"{}")
    put(repository, sample, [one] * 101)
    assert fetch(repository, [sample.digest]) == []
    put(repository, sample, [one] * 100)
    assert len(fetch(repository, [sample.digest])[0].signatures) == 100


def test_what_is_too_large_to_be_signed_is_not_fetched(signed: tuple[Repository, Sample]) -> None:
    repository, sample = signed
    put(repository, sample, [payload_layer(repository, b" " * (MAX_PAYLOAD + 1))])
    assert fetch(repository, [sample.digest]) == []
    count = MAX_TOTAL // MAX_PAYLOAD + 1
    large = [payload_layer(repository, b"%d" % n + b" " * (MAX_PAYLOAD - 1)) for n in range(count)]
    put(repository, sample, large)
    assert fetch(repository, [sample.digest]) == []


def test_large_attestations_hide_no_signature(signed: tuple[Repository, Sample]) -> None:
    """Nor do many other things that are about the image."""
    repository, sample = signed
    config = descriptor(MediaType.CONFIG, b"{}")
    send(repository, b"{}")
    large = [payload_layer(repository, b"%d" % n + b" " * (MAX_PAYLOAD - 1)) for n in range(5)]
    bundles = [replace(layer, media_type=BUNDLE, annotations=None) for layer in large]
    document, signature = sign_image(private(), sample.digest, "x", {})
    send(repository, document)
    layers = {REFERRER: [part_of(document, signature).blob], BUNDLE: bundles, "text/x-note": []}
    manifests = [
        Manifest(schema_version=2, config=config, layers=layers[kind], artifact_type=kind)
        for kind in (*["text/x-note"] * 100, BUNDLE, REFERRER)
    ]
    refer(repository, sample, *manifests)
    (fetched,) = fetch(repository, [sample.digest])
    assert [signature.form for signature in fetched.signatures] == ["simple"]
    subject = Subject("image", frozenset({sample.digest}))
    assert search(subject, [public()], fetched.signatures).verified


def test_a_signature_of_another_image_is_found_and_is_no_good(
    signed: tuple[Repository, Sample],
) -> None:
    repository, sample = signed
    document, signature = sign_image(private(), Sample(10).digest, "x", {})
    encoded = base64.b64encode(signature).decode()
    put(repository, sample, [payload_layer(repository, document, encoded)])
    (fetched,) = fetch(repository, [sample.digest])
    subject = Subject("image", frozenset({sample.digest}))
    assert "over another image" in search(subject, [public()], fetched.signatures).summary


def test_signatures_are_found_among_other_layers(signed: tuple[Repository, Sample]) -> None:
    repository, sample = signed
    document, signature = sign_image(private(), sample.digest, "x", {})
    send(repository, document)
    part = part_of(document, signature)
    put(repository, sample, [descriptor(MediaType.CONFIG, b"{}"), part.blob])
    (fetched,) = fetch(repository, [sample.digest])
    assert fetched.signatures == [part.signature(document)]
    subject = Subject("image", frozenset({sample.digest}))
    assert search(subject, [public()], fetched.signatures).verified
