"""Signatures go both ways between wherry and the real cosign, podman's library and skopeo.

All of it with keys and offline, through a docker-registry: nothing is put into a transparency log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from tests.image_tools import tool
from tests.registries import RealRegistry, registry
from tests.registry.images import Sample, repository_at, send
from tests.trust.pairs import ALL_KINDS, private

from wherry.engine.trust.remote import fetch
from wherry.oci import Digest, MediaType, parse_reference
from wherry.registry import Client, Hosts, Repository
from wherry.trust import (
    Search,
    Subject,
    Untrusted,
    combine,
    judge,
    part_of,
    read_policy,
    read_private_key,
    read_public_key,
    search,
    sign_image,
    tag_of,
)

pytestmark = pytest.mark.root

PASSWORD = {"COSIGN_PASSWORD": "secret"}
ENVIRONMENT = {**PASSWORD, "COSIGN_EXPERIMENTAL": "1"}
OFFLINE = ("--tlog-upload=false", "--use-signing-config=false", "--yes")
FORMS = {"simple": "--new-bundle-format=false", "bundle": "--new-bundle-format=true"}


@dataclass
class Harbour:
    """A registry with an image in several repositories, and keys in files."""

    registry: RealRegistry
    folder: Path
    sample: Sample
    client: Client

    def repository(self, path: str) -> Repository:
        """The repository `path`, with the image in it as `latest`."""
        repository = repository_at(self.client, f"{self.registry.name}/{path}")
        self.sample.push(repository)
        return repository

    def name(self, path: str) -> str:
        return f"{self.registry.name}/{path}@{self.sample.digest}"

    def cosign(self, *args: str | Path) -> str:
        """Run cosign, with nothing but its own folder to write to."""
        return tool("cosign").output(*args, env=ENVIRONMENT | {"HOME": str(self.folder)})

    def key(self, kind: str) -> tuple[Path, Path]:
        """Files with the pair of that kind, the private one sealed by wherry."""
        files = self.folder / f"{kind}.key", self.folder / f"{kind}.pub"
        files[0].write_bytes(private(kind).sealed(b"secret"))
        files[1].write_bytes(private(kind).public.pem)
        return files

    def sign(self, path: str, kind: str, identity: str = "", **annotations: str) -> None:
        """Sign the image in a repository, as wherry does."""
        repository = self.repository(path)
        name = identity or f"{self.registry.name}/{path}"
        payload, signature = sign_image(private(kind), self.sample.digest, name, annotations)
        before = [each.manifest for each in fetch(repository, [self.sample.digest]) if each.tag]
        manifest, config = combine(before, [part_of(payload, signature)])
        send(repository, payload)
        send(repository, config)
        repository.put_manifest(tag_of(self.sample.digest), MediaType.MANIFEST, manifest)

    def verify(self, path: str, public: Path, **annotations: str) -> Search:
        """Look for a signature of the image, as wherry does."""
        key = read_public_key(public.read_bytes(), public.name)
        fetched = fetch(self.repository(path), [self.sample.digest])
        signatures = [one for each in fetched for one in each.signatures]
        subject = Subject(path, frozenset({self.sample.digest}))
        return search(subject, [key], signatures, annotations=annotations)


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harbour]:
    tool("cosign")
    client = Client(Hosts([]))
    with registry() as real:
        yield Harbour(real, tmp_path_factory.mktemp("cosign"), Sample(100), client)
    client.close()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [kind for kind in ALL_KINDS if kind != "rsa-4096"])
def test_what_cosign_signs_with_a_key_made_here_is_verified(
    harbour: Harbour, kind: str, form: str
) -> None:
    sealed, public = harbour.key(kind)
    path = f"theirs/{kind}-{form}"
    harbour.repository(path)
    harbour.cosign(
        "sign", "--key", sealed, *OFFLINE, FORMS[form], "-a", "who=me", harbour.name(path)
    )
    (verified,) = harbour.verify(path, public, who="me").verified
    assert verified.claims.digest == harbour.sample.digest
    named = f"{harbour.registry.name}/{path}" if form == "simple" else ""
    assert verified.claims.identity == named
    assert harbour.verify(path, harbour.key("rsa-4096")[1]).summary.endswith("by another key")


@pytest.mark.parametrize("kind", [kind for kind in ALL_KINDS if kind != "rsa-4096"])
def test_what_is_signed_here_is_verified_by_cosign(harbour: Harbour, kind: str) -> None:
    path = f"ours/{kind}"
    harbour.sign(path, kind, build="7")
    check = ("verify", "--insecure-ignore-tlog", FORMS["simple"], "--key", harbour.key(kind)[1])
    (shown,) = json.loads(harbour.cosign(*check, "-a", "build=7", harbour.name(path)))
    assert shown["critical"]["image"]["docker-manifest-digest"] == harbour.sample.digest
    assert shown["optional"] == {"build": "7"}
    for refused in (
        (*check, "-a", "build=8", harbour.name(path)),
        (*check[:-1], harbour.key("rsa-4096")[1], harbour.name(path)),
    ):
        done = tool("cosign").run(*refused, env={**PASSWORD, "HOME": str(harbour.folder)})
        assert done.returncode != 0


def test_both_add_to_the_signatures_there_are(harbour: Harbour) -> None:
    path = "both"
    harbour.sign(path, "ecdsa-p256")
    sealed, _ = harbour.key("ecdsa-p384")
    harbour.cosign("sign", "--key", sealed, *OFFLINE, FORMS["simple"], harbour.name(path))
    harbour.sign(path, "rsa-2048")
    for kind in ("ecdsa-p256", "ecdsa-p384", "rsa-2048"):
        assert harbour.verify(path, harbour.key(kind)[1]).verified
    for kind in ("ecdsa-p256", "rsa-2048"):
        public = harbour.key(kind)[1]
        harbour.cosign("verify", "--insecure-ignore-tlog", FORMS["simple"], "--key", public,
                       harbour.name(path))  # fmt: skip


def test_attestations_are_no_signatures_of_the_image(harbour: Harbour) -> None:
    path = "attested"
    harbour.repository(path)
    sealed, public = harbour.key("ecdsa-p256")
    predicate = harbour.folder / "predicate.json"
    predicate.write_text('{"what": "ever"}')
    for form in FORMS.values():
        harbour.cosign("attest", "--key", sealed, *OFFLINE, form, "--type", "custom",
                       "--predicate", predicate, harbour.name(path))  # fmt: skip
    result = harbour.verify(path, public)
    assert result.verified == []
    assert "an attestation" in result.summary


def test_keys_that_cosign_makes_sign_here(harbour: Harbour) -> None:
    prefix = harbour.folder / "made"
    harbour.cosign("generate-key-pair", "--output-key-prefix", prefix)
    sealed = prefix.with_suffix(".key").read_bytes()
    key = read_private_key(sealed, "made.key", lambda: b"secret")
    assert key.public.pem == prefix.with_suffix(".pub").read_bytes()
    shown = harbour.cosign("public-key", "--key", harbour.key("ed25519")[0])
    assert shown.encode().strip() == private("ed25519").public.pem.strip()


def test_keys_that_cosign_imported_from_openssl_sign_here(harbour: Harbour) -> None:
    plain = private("rsa-2048")._key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    (harbour.folder / "plain.pem").write_bytes(plain)
    prefix = harbour.folder / "imported"
    harbour.cosign("import-key-pair", "--key", harbour.folder / "plain.pem",
                   "--output-key-prefix", prefix)  # fmt: skip
    key = read_private_key(prefix.with_suffix(".key").read_bytes(), "key", lambda: b"secret")
    assert key.public.fingerprint == private("rsa-2048").public.fingerprint


IDENTITIES: list[dict[str, str]] = [
    {},
    {"type": "matchExact"},
    {"type": "matchRepository"},
    {"type": "exactReference", "dockerReference": "HOST/tagged:latest"},
    {"type": "exactRepository", "dockerRepository": "HOST/plain"},
    {"type": "remapIdentity", "prefix": "HOST/moved", "signedPrefix": "HOST/tagged"},
]


def test_a_policy_decides_as_it_does_for_skopeo(harbour: Harbour, tmp_path: Path) -> None:
    """Whoever has one file for podman, skopeo and wherry is told the same by all of them.

    skopeo is of Debian forky, since bookworm's own and its podman are built without sigstore.
    """
    host = harbour.registry.name
    harbour.sign("agreed/tagged", "ecdsa-p256", identity=f"{host}/agreed/tagged:latest")
    harbour.sign("agreed/moved", "ecdsa-p256", identity=f"{host}/agreed/tagged:latest")
    harbour.sign("agreed/plain", "ecdsa-p256")  # as cosign does, without a tag
    harbour.sign("agreed/stranger", "rsa-2048", identity=f"{host}/agreed/stranger:latest")
    harbour.repository("agreed/nobody")
    harbour.repository("agreed/bundle")
    sealed, public = harbour.key("ecdsa-p256")
    harbour.cosign(
        "sign", "--key", sealed, *OFFLINE, FORMS["bundle"], harbour.name("agreed/bundle")
    )
    (tmp_path / "registries.d").mkdir()
    (tmp_path / "registries.d" / "all.yaml").write_text(
        "default-docker:\n  use-sigstore-attachments: true\n"
    )
    file = tmp_path / "policy.json"

    def theirs(name: str) -> bool:
        done = tool("skopeo").run(
            "--policy", file, "--registries.d", tmp_path / "registries.d",
            "copy", "-q", "--src-tls-verify=false", "--remove-signatures",
            f"docker://{name}", f"dir:{tmp_path}/{name.replace('/', '_')}",
        )  # fmt: skip
        assert done.returncode == 0 or "Source image rejected" in done.stderr, done.stderr
        return done.returncode == 0

    found = {
        path: [
            signature
            for each in fetch(harbour.repository(f"agreed/{path}"), [harbour.sample.digest])
            for signature in each.signatures
        ]
        for path in ("tagged", "moved", "plain", "stranger", "nobody", "bundle")
    }

    def ours(name: str) -> bool:
        reference = parse_reference(name)
        signatures = found[reference.path.removeprefix("agreed/")]
        subject = Subject(name, frozenset({harbour.sample.digest}), reference)
        try:
            judge(subject, read_policy(file)[0].requirements(reference), signatures)
        except Untrusted:
            return False
        return True

    accepted = []
    for identity in IDENTITIES:
        named = {key: text.replace("HOST", f"{host}/agreed") for key, text in identity.items()}
        keys = [str(harbour.key(kind)[1]) for kind in ("ed25519", "ecdsa-p256")]
        key: dict[str, object] = {"type": "sigstoreSigned", "keyPaths": keys}
        key |= {"signedIdentity": named} if named else {}
        policy = {"default": [{"type": "reject"}], "transports": {"docker": {host: [key]}}}
        file.write_text(json.dumps(policy))
        names = [f"{host}/agreed/{path}:latest" for path in ("tagged", "moved", "plain")]
        if identity.get("type") in (None, "matchExact"):
            names += [harbour.name(f"agreed/{path}") for path in ("tagged", "plain")]
        if identity.get("type") == "matchRepository":
            names += [f"{host}/agreed/{path}:latest" for path in ("stranger", "nobody", "bundle")]
        with ThreadPoolExecutor() as pool:
            decided = dict(zip(names, pool.map(theirs, names), strict=True))
        assert {name: ours(name) for name in names} == decided, identity
        accepted += [name for name in names if decided[name]]
    assert len(accepted) == 10
    assert not ours(harbour.name("agreed/bundle"))  # wherry's own word, which skopeo does not know
    named = {"type": "matchDigest"}
    key = {"type": "sigstoreSigned", "keyPath": str(public), "signedIdentity": named}
    file.write_text(json.dumps({"default": [key]}))
    assert ours(harbour.name("agreed/bundle"))


@pytest.mark.parametrize("form", FORMS)
def test_a_registry_that_lists_no_referrers_still_has_them(harbour: Harbour, form: str) -> None:
    path = f"listed/{form}"
    repository = harbour.repository(path)
    sealed, public = harbour.key("ecdsa-p256")
    as_referrer = "--registry-referrers-mode=oci-1-1"
    harbour.cosign("sign", "--key", sealed, *OFFLINE, FORMS[form], as_referrer, harbour.name(path))
    (fetched,) = fetch(repository, [Digest(harbour.sample.digest)])
    assert fetched.tag == ""
    assert [signature.form for signature in fetched.signatures] == [form]
    assert harbour.verify(path, public).verified
