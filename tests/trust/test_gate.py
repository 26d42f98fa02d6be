"""The gate asks a registry for no more than it needs, and takes no answer for none."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.images.samples import simple_image
from tests.registries import Answer, Faults, registry
from tests.registry.images import repository_at, send
from tests.trust.pairs import private

from wherry.engine.errors import Forbidden, InvalidRequest
from wherry.engine.trust import Gate
from wherry.engine.trust.attached import signatures_in
from wherry.engine.trust.gate import names_of
from wherry.images import DigestMismatch, Image, ImageStore
from wherry.oci import Digest, MediaType, digest_of, parse_reference
from wherry.registry import Client, Hosts, RegistryError, Repository
from wherry.trust import combine, part_of, sign_image, tag_of

KEY = base64.b64encode(private().public.pem).decode()


@dataclass
class Pull:
    """An image that is being pulled through a proxy of faults, and what decides about it."""

    gate: Gate
    store: ImageStore
    image: Image
    repository: Repository
    proxy: Faults

    @property
    def name(self) -> str:
        return f"{self.proxy.name}/hello"

    def sign(self) -> bytes:
        """Put a signature into the registry; returns what was signed."""
        payload, signature = sign_image(private(), self.image.digest, self.name, {})
        manifest, config = combine([], [part_of(payload, signature)])
        send(self.repository, payload)
        send(self.repository, config)
        tag = tag_of(Digest(self.image.digest))
        self.repository.put_manifest(tag, MediaType.MANIFEST, manifest)
        self.proxy.clear()
        return payload

    def decide(self, key: str = KEY) -> None:
        """Ask whether the image may be pulled, and keep what was found."""
        reference = parse_reference(self.name).with_default_tag()
        approval = self.gate.approval(self.repository, reference, key)
        assert approval
        approval(self.image.target, self.image)
        approval.keep()


@pytest.fixture
def pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pull]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    store, client = ImageStore(tmp_path / "data"), Client(Hosts([]))
    with registry() as real, Faults(real) as proxy:
        repository = repository_at(client, f"{proxy.name}/hello")
        image = simple_image(store, "hello")
        yield Pull(Gate(store), store, image, repository, proxy)
    client.close()


def test_nothing_is_asked_where_nothing_is_demanded(pull: Pull) -> None:
    reference = parse_reference(pull.name)
    assert pull.gate.approval(pull.repository, reference) is None
    assert pull.gate.is_open
    assert pull.proxy.requests() == []


def test_the_newer_form_is_looked_for_only_where_the_older_will_not_do(pull: Pull) -> None:
    with pytest.raises(Forbidden, match="it has no signature"):
        pull.decide()
    assert pull.proxy.requests("GET", "/referrers/")
    pull.sign()
    pull.decide()
    assert pull.proxy.requests("GET", "/referrers/") == []
    assert len(signatures_in(pull.store, [pull.image.digest])) == 1


@pytest.mark.parametrize("path", [r"/manifests/sha256-.*\.sig", "/blobs/"])
@pytest.mark.parametrize(
    "fault", [Answer(403), Answer(200, {"Content-Type": "text/html"}, b"<p>Welcome")], ids=str
)
def test_a_registry_that_does_not_say_is_not_one_without_signatures(
    pull: Pull, path: str, fault: Answer
) -> None:
    pull.sign()
    pull.proxy.add("GET", path, fault, times=10)
    with pytest.raises(RegistryError):
        pull.decide()
    assert signatures_in(pull.store, [pull.image.digest]) == []


def test_other_bytes_than_those_of_a_signature_are_refused(pull: Pull) -> None:
    payload = pull.sign()
    other = Answer(200, {}, payload[:-1] + b" ")
    pull.proxy.add("GET", f"/blobs/{digest_of(payload)}", other, times=10)
    with pytest.raises(DigestMismatch, match="other bytes"):
        pull.decide()


def test_by_its_id_an_image_must_meet_what_is_asked_of_all_its_names(pull: Pull) -> None:
    """Also where one of them looks like the id."""
    pull.store.tag(pull.image.target, parse_reference(pull.image.id))
    image = pull.store.resolve(pull.image.id)
    assert len(names_of(image, image.id)) == len(image.names) > 1
    assert names_of(image, f"docker.io/library/{image.id}") == [parse_reference(image.id)]


def test_what_is_in_the_store_counts_where_the_registry_has_none(pull: Pull) -> None:
    pull.sign()
    pull.decide()
    pull.proxy.add("GET", r"/manifests/sha256-", Answer(404), times=10)
    pull.decide()
    assert pull.gate.admit(pull.image, "hello", KEY).proofs[0].digest == pull.image.digest


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("not base64!", "is not base64"),
        (base64.b64encode(b"nothing").decode(), "holds no key"),
        (base64.b64encode(private().sealed(b"")).decode(), "is a private key"),
    ],
)
def test_a_key_that_is_none_is_the_clients_mistake(pull: Pull, key: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        pull.decide(key)
    with pytest.raises(InvalidRequest, match=said):
        pull.gate.admit(pull.image, "hello", key)
