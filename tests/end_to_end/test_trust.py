"""Only images that were signed run: policies, --verify-key, and signatures on their way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests import peers
from tests.conftest import without
from tests.engine_under_test import Wherry, until
from tests.image_tools import tool
from tests.images.samples import edited
from tests.oci_schemas import validate_layout
from tests.registries import RealRegistry, registry
from tests.registry.images import repository_at

from wherry.oci import Digest, MediaType
from wherry.registry import Client, Hosts
from wherry.trust import tag_of

WAITING = Path(__file__).parents[1] / "guests" / "wait.wat"
MODULE = '(module (memory (export "memory") 1) (func (export "_start")))'
ANY_NAME = {"type": "matchRepository"}
SECRET = {"COSIGN_PASSWORD": "secret"}


class Harbour:
    """An engine and a registry; the team's key pair, and a stranger's."""

    def __init__(self, wherry: Wherry, real: RealRegistry) -> None:
        self.wherry = wherry
        self.registry = real
        self.policy_file = wherry.folder / ".config" / "wherry" / "policy.json"
        self.policy_file.parent.mkdir(parents=True)
        for name in ("team", "stranger"):
            wherry.ok("generate-key-pair", "--output-key-prefix", name, env=SECRET)

    @property
    def key(self) -> Path:
        return self.wherry.folder / "team.pub"

    def image(self, path: str, *, text: str = MODULE) -> str:
        """An image of its own in the store, named for the registry; its name."""
        module = self.wherry.folder / f"{path}.wat"
        module.write_text(f"{text}\n;; {path}")
        name = f"{self.registry.name}/{path}"
        self.wherry.image(f"{path}-base", module)
        self.wherry.ok("tag", f"{path}-base", name)
        self.wherry.ok("rmi", f"{path}-base")
        return name

    def sign(self, name: str, *flags: str, key: str = "team") -> str:
        return self.wherry.ok("sign", "--key", f"{key}.key", *flags, name, env=SECRET)

    @contextlib.contextmanager
    def policy(
        self, text: str = "", *, identity: Mapping[str, str] | None = ANY_NAME
    ) -> Iterator[None]:
        """A policy in force: what is in the registry must be the team's, all else is rejected."""
        signed: dict[str, object] = {"type": "sigstoreSigned", "keyPath": str(self.key)}
        if identity:
            signed["signedIdentity"] = identity
        document = {
            "default": [{"type": "reject"}],
            "transports": {"docker": {self.registry.name: [signed]}},
        }
        self.policy_file.write_text(text or json.dumps(document, indent=1))
        try:
            yield
        finally:
            self.policy_file.unlink()

    def refused(self, *words: str, code: int = 125) -> str:
        return self.wherry.refused(*words, code=code)

    def blobs(self) -> int:
        """How many blobs the store has."""
        folder = self.wherry.root / "images" / "blobs" / "sha256"
        return sum(1 for _ in folder.iterdir())


@pytest.fixture(scope="module")
def harbour() -> Iterator[Harbour]:
    with registry() as real, Wherry() as engine:
        yield Harbour(engine, real)


def loaded(harbour: Harbour, library: str) -> bool:
    """Whether the engine has that library in memory."""
    return library in Path(f"/proc/{harbour.wherry.daemon_pid()}/maps").read_text()


def test_without_a_policy_nothing_is_verified_and_no_cryptography_is_loaded(
    harbour: Harbour,
) -> None:
    name = harbour.image("plain")
    harbour.wherry.ok("push", "-q", name)
    harbour.wherry.ok("rmi", name)
    harbour.wherry.ok("run", "--rm", "-q", name)
    assert not loaded(harbour, "cryptography")
    assert loaded(harbour, "libsqlite3")  # so that there is something to be seen


def test_an_image_that_was_made_here_runs_once_it_is_signed(harbour: Harbour) -> None:
    name = harbour.image("made")
    with harbour.policy():
        told = harbour.refused("run", name)
        assert f"image {name} may not be used: {harbour.policy_file}:" in told
        assert f"signed by {harbour.key} (ECDSA P-256" in told
        assert "it has no signature: sign it by 'wherry sign --key FILE" in told
        harbour.sign(name, key="stranger")
        assert "but its signature is by another key" in harbour.refused("run", name)
        harbour.sign(name)
        harbour.wherry.ok("run", "--rm", name)
    harbour.wherry.ok("rmi", name)


def test_the_digest_that_ran_is_in_inspect_and_who_signed_it(harbour: Harbour) -> None:
    name = harbour.image("shown")
    harbour.sign(name)
    with harbour.policy():
        harbour.wherry.ok("create", "--name", "shown", name)
    container = json.loads(harbour.wherry.ok("inspect", "shown"))[0]
    image = json.loads(harbour.wherry.ok("image", "inspect", name))[0]
    descriptor = container["ImageManifestDescriptor"]
    assert f"{harbour.registry.name}/shown@{descriptor['digest']}" in image["RepoDigests"]
    assert descriptor["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert descriptor["platform"] == {"architecture": "wasm", "os": "wasi"}
    assert container["Image"] == image["Id"]
    (proof,) = container["SignedBy"]
    assert proof["Digest"] == descriptor["digest"]
    assert proof["Identity"] == f"{harbour.registry.name}/shown"
    assert proof["DemandedBy"].startswith(f"{harbour.policy_file}:")
    harbour.wherry.image("else", harbour.wherry.folder / "shown.wat", entrypoint=["x"])
    harbour.wherry.ok("tag", "else", name)
    assert harbour.wherry.ok(
        "inspect", "-f", "{{.ImageManifestDescriptor.digest}}", "shown"
    ) == descriptor["digest"]  # fmt: skip
    harbour.wherry.ok("rm", "shown")
    harbour.wherry.ok("rmi", "-f", name, "else")


def test_dockers_own_inspect_shows_it_too(harbour: Harbour) -> None:
    try:
        docker = peers.program("docker")
    except peers.PeerMissing as error:
        without(str(error))
    name = harbour.image("docker")
    harbour.wherry.ok("create", "--name", "docker", name)
    line = [docker, "-H", f"unix://{harbour.wherry.socket_path}", "inspect", "docker"]
    shown = json.loads(subprocess.run(line, capture_output=True, check=True).stdout)[0]
    assert shown["ImageManifestDescriptor"]["digest"].startswith("sha256:")
    assert "SignedBy" not in shown
    harbour.wherry.ok("rm", "docker")
    harbour.wherry.ok("rmi", name)


def test_no_other_way_of_naming_an_image_gets_round_the_policy(harbour: Harbour) -> None:
    name = harbour.image("named")
    id = harbour.wherry.ok("images", "-q", "--no-trunc", name)
    (reference,) = json.loads(harbour.wherry.ok("image", "inspect", name))[0]["RepoDigests"]
    digest = reference.partition("@")[2]
    ways = [id, id[7:19], reference, f"{harbour.registry.name}/named:any@{digest}", digest]
    with harbour.policy():
        for way in ways:
            assert "may not be used" in harbour.refused("create", way, code=1)
        harbour.sign(name)
        for way in ways:
            harbour.wherry.ok("rm", harbour.wherry.ok("create", way))
        # A further name asks for more, and an image without any for what is asked of those.
        harbour.wherry.ok("tag", name, "elsewhere")
        assert "rejects it" in harbour.refused("create", id, code=1)
        harbour.wherry.ok("rmi", "elsewhere")
        harbour.wherry.image("named-else", harbour.wherry.folder / "named.wat", entrypoint=["x"])
        harbour.wherry.ok("tag", "named-else", name)
        harbour.wherry.ok("rmi", "named-else")
        assert "rejects it" in harbour.refused("create", id, code=1)
    harbour.wherry.ok("rmi", name, id)


def test_a_pull_of_what_was_not_signed_names_nothing(harbour: Harbour) -> None:
    name = harbour.image("pulled")
    harbour.wherry.ok("push", "-q", name)
    harbour.wherry.ok("rmi", name)
    with harbour.policy():
        assert "it has no signature" in harbour.refused("pull", "-q", name, code=1)
        assert "it has no signature" in harbour.refused("run", "-q", name)
    assert harbour.wherry.ok("images", "-aq", name) == ""
    harbour.wherry.ok("pull", "-q", name)
    harbour.sign(name)
    harbour.wherry.ok("push", "-q", name)
    harbour.wherry.ok("rmi", name)
    harbour.wherry.ok("pull", "-q", name)
    with harbour.policy():
        # It was here before the policy was, without its signature.
        assert "or pull it from where it was signed" in harbour.refused("run", name)
        harbour.wherry.ok("pull", "-q", name)
        harbour.wherry.ok("run", "--rm", name)
        assert "signed by team.pub" in harbour.wherry.ok(
            "verify", "--local", "--key", "team.pub", name
        )
    harbour.wherry.ok("rmi", name)


def test_a_registry_that_swaps_or_replays_is_found_out(harbour: Harbour) -> None:
    """Whoever can write to a registry and has no key moves tags and signatures about."""
    wherry, shop, bank = harbour.wherry, harbour.image("shop"), harbour.image("bank")
    older, newer = f"{shop}:1", f"{shop}:2"
    wherry.ok("tag", shop, older)
    wherry.ok("tag", harbour.image("next"), newer)
    for name in (older, newer, f"{bank}:latest"):
        harbour.sign(name, "--identity", name)
        wherry.ok("push", "-q", name)
    client = Client(Hosts([]))
    repository = repository_at(client, shop)
    (signed, _), (_, stale) = repository.manifest("2"), repository.manifest("1")

    def swapped(image: str) -> Digest:
        """Push an image of the store under the name of another, with what hangs on it."""
        wherry.ok("tag", image, newer)
        wherry.ok("push", "-q", newer)
        wherry.ok("rmi", newer)
        return Digest(repository.resolve("2").digest)

    with harbour.policy(identity=None):
        wherry.ok("run", "--rm", "-q", newer)
        repository.put_manifest("2", MediaType.MANIFEST, stale)
        wherry.ok("rmi", newer)
        told = harbour.refused("pull", "-q", newer, code=1)
        assert f"for the name {older} ({newer} is wanted)" in told
        swapped(bank)
        told = harbour.refused("pull", "-q", newer, code=1)
        assert f"for the name {bank}:latest ({newer} is wanted)" in told
        evil = swapped(harbour.image("evil"))
        _, signature = repository.manifest(tag_of(Digest(signed.digest)))
        repository.put_manifest(tag_of(evil), MediaType.MANIFEST, signature)
        told = harbour.refused("pull", "-q", newer, code=1)
        assert "its signature is over another image" in told
    client.close()
    wherry.ok("rmi", shop, older, bank, *(f"{harbour.registry.name}/{n}" for n in ("next", "evil")))


def test_an_image_that_has_no_name_but_its_digest_is_of_its_repository(harbour: Harbour) -> None:
    name = harbour.image("digest")
    harbour.sign(name, "--identity", f"{name}:1")
    harbour.wherry.ok("push", "-q", name)
    (reference,) = json.loads(harbour.wherry.ok("image", "inspect", name))[0]["RepoDigests"]
    harbour.wherry.ok("rmi", name)
    with harbour.policy(identity=None):  # by digest, any tag will do
        harbour.wherry.ok("pull", "-q", reference)
        harbour.wherry.ok("run", "--rm", reference)
        id = harbour.wherry.ok("image", "inspect", "-f", "{{.Id}}", reference)
        harbour.wherry.ok("run", "--rm", id)
    harbour.wherry.ok("rmi", reference)


def test_a_signature_is_for_the_name_that_the_policy_says(harbour: Harbour) -> None:
    name = harbour.image("identity")
    harbour.sign(name)
    with harbour.policy(identity=None):
        told = harbour.refused("run", name)
        assert f"for the name {name} ({name}:latest is wanted)" in told
        harbour.sign(name, "--identity", f"{name}:latest")
        harbour.wherry.ok("run", "--rm", name)
        harbour.wherry.ok("tag", name, f"{name}:2")
        assert f"({name}:2 is wanted)" in harbour.refused("run", f"{name}:2")
    harbour.wherry.ok("rmi", name, f"{name}:2")


def test_builds_stand_on_signed_images_only(harbour: Harbour) -> None:
    name = harbour.image("ground")
    context = harbour.wherry.folder / "house"
    context.mkdir()
    for line in (f"FROM {name}", f"FROM scratch\nCOPY --from={name} / /"):
        (context / "Dockerfile").write_text(f'{line}\nENTRYPOINT ["/module.wat"]\n')
        build = ("build", "-q", "--no-cache", "-t", f"{harbour.registry.name}/house", "house")
        with harbour.policy():
            told = harbour.wherry(*build)
            assert told.code != 0
            assert f"image {name} may not be used" in told.err, told.said
    harbour.sign(name)
    with harbour.policy():
        harbour.wherry.ok(*build)
        # What is built on it is another image.
        assert "it has no signature" in harbour.refused("run", f"{harbour.registry.name}/house")
    harbour.wherry.ok("rmi", "-f", name, f"{harbour.registry.name}/house")


def test_a_policy_that_is_not_understood_lets_nothing_be_used(harbour: Harbour) -> None:
    name = harbour.image("closed")
    harbour.wherry.ok("push", "-q", name)
    (harbour.wherry.folder / "Dockerfile").write_text(f"FROM {name}\nENV A=b\n")
    broken = '{"default": [\n {"type": "insecureAcceptAnything"},\n {"type": "askNicely"}]}'
    said = f'{harbour.policy_file}:3: the requirement "askNicely" is not understood'
    with harbour.policy(broken):
        assert said in harbour.refused("run", name)
        assert said in harbour.refused("pull", "-q", name, code=1)
        assert said in harbour.wherry("build", "-q", ".").err
    # A key that is not there yet is looked for again.
    key = harbour.wherry.folder / "later.pub"
    wanted = {"type": "sigstoreSigned", "keyPath": str(key), "signedIdentity": ANY_NAME}
    harbour.sign(name)
    with harbour.policy(json.dumps({"default": [wanted]})):
        assert f"{key}: cannot be read" in harbour.refused("run", name)
        key.write_bytes(harbour.key.read_bytes())
        harbour.wherry.ok("run", "--rm", name)
        key.write_bytes((harbour.wherry.folder / "stranger.pub").read_bytes())
        assert "by another key" in harbour.refused("run", name)
    harbour.wherry.ok("rmi", name)


def test_a_policy_that_has_changed_is_asked_before_a_container_runs_again(
    harbour: Harbour,
) -> None:
    wherry, name = harbour.wherry, harbour.image("again", text=WAITING.read_text())
    harbour.sign(name)

    def shown(field: str) -> str:
        return wherry.ok("inspect", "-f", f"{{{{.{field}}}}}", "again")

    with harbour.policy():
        wherry.ok("run", "-d", "--name", "again", "--restart", "always", name)
        # The name means something else by now: the container is what it was let in as.
        wherry.image("newer", wherry.folder / "again.wat", entrypoint=["x"])
        wherry.ok("tag", "newer", name)
        wherry.ok("restart", "-t", "0", "again")
        teams = harbour.policy_file.read_text()
        harbour.policy_file.write_text(teams.replace("team.pub", "stranger.pub"))
        # Nothing is stopped that could not be started.
        assert "by another key" in harbour.refused("restart", "-t", "0", "again", code=1)
        assert shown("State.Status") == "running"
        os.kill(wherry.pid("again"), signal.SIGKILL)
        until(lambda: shown("State.Status") == "exited", "it was started again")
        assert "by another key" in shown("State.Error")
        assert "by another key" in harbour.refused("start", "again", code=1)
        count = int(shown("RestartCount"))
        wherry.end()  # an engine that comes back starts what is to run always
        until(lambda: int(shown("RestartCount")) > count, "it was not tried")
        until(lambda: shown("State.Status") == "exited", "it was started")
        harbour.policy_file.write_text(f"\n{teams}")
        wherry.ok("start", "again")
        (proof,) = json.loads(wherry.ok("inspect", "again"))[0]["SignedBy"]
        assert proof["DemandedBy"] == f"{harbour.policy_file}:11"
    wherry.ok("restart", "-t", "0", "again")
    # What is mounted is asked about, too.
    mount = f"type=image,source={name},target=/there"
    wherry.ok("create", "--name", "with", "--mount", mount, "newer")
    newer = {"docker.io/library/newer": [{"type": "insecureAcceptAnything"}]}
    document = {"default": [{"type": "reject"}], "transports": {"docker": newer}}
    with harbour.policy(json.dumps(document)):
        told = harbour.refused("start", "with", code=1)
        assert f"image {name} may not be used: {harbour.policy_file}:1 rejects it" in told
    wherry.ok("rm", "-f", "again", "with")
    wherry.ok("rmi", "newer", name)
    wherry.ok("image", "prune", "-f")


def test_verify_key_asks_without_a_policy(harbour: Harbour) -> None:
    name = harbour.image("asked")
    harbour.wherry.ok("push", "-q", name)
    for command, code in (("run", 125), ("create", 1)):
        assert "--verify-key wants it signed by" in harbour.refused(
            command, "--verify-key", "team.pub", name, code=code
        )
    harbour.wherry.ok("rmi", name)
    assert "no signature" in harbour.refused("pull", "-q", "--verify-key", "team.pub", name, code=1)
    assert "no signature" in harbour.refused("run", "-q", "--verify-key", "team.pub", name)
    harbour.wherry.ok("pull", "-q", name)
    harbour.sign(name)
    harbour.wherry.ok("push", "-q", name)
    harbour.wherry.ok("rmi", name)
    harbour.wherry.ok("run", "--rm", "-q", "--verify-key", "team.pub", name)
    assert "by another key" in harbour.refused("run", "--verify-key", "stranger.pub", name)
    for file, reason in (
        ("team.key", "is a private key"),
        ("asked.wat", "is no public key"),
        ("nowhere.pub", "No such file"),
    ):
        assert reason in harbour.refused("run", "--verify-key", file, name)
    harbour.wherry.ok("rmi", name)


def test_signatures_go_with_their_image(harbour: Harbour) -> None:
    harbour.wherry.ok("image", "prune", "-f")
    before = harbour.blobs()
    name = harbour.image("gone")
    harbour.sign(name)
    harbour.sign(name, key="stranger")
    assert harbour.wherry.ok("images", "-q", name).count("\n") == 0
    assert "sha256-" not in harbour.wherry.ok("images", "-a")
    harbour.wherry.ok("image", "prune", "-f")
    for key in ("team.pub", "stranger.pub"):
        harbour.wherry.ok("verify", "--local", "--key", key, name)
    harbour.wherry.ok("rmi", name)
    assert harbour.blobs() == before


def test_signatures_keep_the_schemas_of_oci(harbour: Harbour) -> None:
    name = harbour.image("schema")
    harbour.sign(name, "-a", "a=b")
    met = validate_layout(harbour.wherry.root / "images")
    assert "application/vnd.dev.cosign.simplesigning.v1+json" in met
    harbour.wherry.ok("rmi", name)


def test_a_push_adds_to_the_signatures_in_the_registry(harbour: Harbour) -> None:
    name = harbour.image("added")
    harbour.sign(name)
    harbour.wherry.ok("push", "-q", name)
    harbour.wherry.ok("rmi", name)
    assert "signed by team.pub" in harbour.wherry.ok("verify", "--key", "team.pub", name)
    assert harbour.wherry.ok("images", "-q", name) == ""  # It was only looked at.
    assert "no such image" in harbour.refused(
        "verify", "--local", "--key", "team.pub", name, code=1
    )
    harbour.wherry.ok("pull", "-q", name)  # without its signature: nobody asks for that
    harbour.sign(name, "-a", "second=yes", key="stranger")
    harbour.wherry.ok("push", "-q", name)
    harbour.wherry.ok("rmi", name)
    harbour.wherry.ok("pull", "-q", name)
    assert "no signature" in harbour.refused("verify", "--local", "--key", "team.pub", name, code=1)
    harbour.wherry.ok("verify", "--key", "team.pub", name)
    told = harbour.wherry.ok("verify", "--key", "stranger.pub", "-a", "second=yes", name)
    assert "second=yes" in told
    documents = json.loads(harbour.wherry.ok("verify", "--key", "team.pub", "-o", "json", name))
    assert documents[0]["critical"]["identity"]["docker-reference"] == name
    harbour.wherry.ok("pull", "-a", "-q", name)
    assert harbour.wherry.ok("images", "--format", "{{.Tag}}", name) == "latest"
    unverified = harbour.wherry("verify", name)
    assert unverified.out.count("NOT VERIFIED") == 2
    assert "was not verified; give --key" in unverified.err
    assert "without the annotation" in harbour.refused(
        "verify", "--key", "team.pub", "-a", "second=yes", name, code=1
    )
    harbour.wherry.ok("rmi", name)


def test_an_image_for_several_platforms_is_signed_as_a_whole_or_in_its_parts(
    harbour: Harbour,
) -> None:
    context = harbour.wherry.folder / "several"
    context.mkdir()
    (context / "module.wat").write_text(MODULE)
    (context / "Dockerfile").write_text(
        'FROM scratch\nCOPY module.wat /\nENTRYPOINT ["/module.wat"]\n'
    )
    name = f"{harbour.registry.name}/several"
    platforms = "wasi/wasm,linux/amd64"
    harbour.wherry.ok("build", "-q", "--platform", platforms, "-t", name, context)
    wasm = ("create", "--platform", "wasi/wasm")
    with harbour.policy():
        assert "no signature" in harbour.refused(*wasm, name, code=1)
        assert harbour.sign(name).count("signed sha256:") == 1
        container = harbour.wherry.ok(*wasm, name)
        proof = json.loads(harbour.wherry.ok("inspect", container))[0]
        assert proof["SignedBy"][0]["Digest"] != proof["ImageManifestDescriptor"]["digest"]
        harbour.wherry.ok("rm", container)
    told = harbour.sign(name, "--recursive", key="stranger")
    assert told.count("signed sha256:") == 3
    assert "(wasi/wasm)" in told and "(linux/amd64)" in told
    harbour.wherry.ok("push", "-q", name)
    tags = {
        path.name for path in (harbour.registry.storage / "docker/registry/v2/repositories/several/"
                               "_manifests/tags").iterdir()
    }  # fmt: skip
    assert sum(tag.endswith(".sig") for tag in tags) == 3
    harbour.wherry.ok("rmi", name)


def test_signatures_go_where_their_image_goes_in_an_archive(harbour: Harbour) -> None:
    name = harbour.image("carried")
    harbour.sign(name)
    harbour.wherry.ok("save", "-o", "carried.tar", name)
    harbour.wherry.ok("rmi", name)
    with harbour.policy():  # the registry never had it
        assert harbour.wherry.ok("load", "-i", "carried.tar") == f"Loaded image: {name}:latest"
        harbour.wherry.ok("run", "--rm", name)
        harbour.wherry.ok("run", "--rm", "--verify-key", "team.pub", name)
        # Whoever makes an archive may call an image as he likes; a signature is for one name.
        archive = harbour.wherry.folder / "carried.tar"
        swapped = edited(archive.read_bytes(), lambda file, data: (
            file, data.replace(b"/carried:", b"/swapped:") if file == "index.json" else data
        ))  # fmt: skip
        harbour.wherry.ok("load", input=swapped)
        told = harbour.refused("run", f"{harbour.registry.name}/swapped")
        assert f"for the name {name} ({harbour.registry.name}/swapped is wanted)" in told
    harbour.wherry.ok("rmi", f"{harbour.registry.name}/swapped")
    harbour.wherry.ok("rmi", name)


@pytest.mark.root
def test_what_cosign_signed_with_its_newer_form_is_verified(harbour: Harbour) -> None:
    name = harbour.image("bundle")
    harbour.wherry.ok("push", "-q", name)
    (reference,) = json.loads(harbour.wherry.ok("image", "inspect", name))[0]["RepoDigests"]
    harbour.wherry.ok("rmi", name)
    tool("cosign").output(
        "sign", "--key", harbour.wherry.folder / "team.key", "--tlog-upload=false",
        "--use-signing-config=false", "--yes", reference,
        env={**SECRET, "HOME": str(harbour.wherry.folder)},
    )  # fmt: skip
    with harbour.policy():
        assert "without a name" in harbour.refused("pull", "-q", name, code=1)
    with harbour.policy(identity={"type": "matchDigest"}):
        harbour.wherry.ok("run", "--rm", "-q", name)
    harbour.wherry.ok("verify", "--local", "--key", "team.pub", name)
    harbour.sign(name)
    check_archive_with_cosign(harbour, name)
    other = f"{harbour.registry.name}/bundle2"
    harbour.wherry.ok("tag", name, other)
    harbour.wherry.ok("push", "-q", other)
    harbour.wherry.ok("rmi", name, other)
    harbour.wherry.ok("pull", "-q", "--verify-key", "team.pub", other)
    harbour.wherry.ok("rmi", other)


def check_archive_with_cosign(harbour: Harbour, name: str) -> None:
    """What wherry saves is verified by cosign without a registry; and what cosign saves, here."""
    folder, layout = harbour.wherry.folder, harbour.wherry.folder / "layout"
    environment = {**SECRET, "HOME": str(folder)}
    harbour.wherry.ok("save", "-o", "bundle.tar", name)
    layout.mkdir()
    with tarfile.open(folder / "bundle.tar") as archive:
        archive.extractall(layout)
    for form in ("true", "false"):
        tool("cosign").output(
            "verify", "--key", harbour.key, "--insecure-ignore-tlog", "--local-image", layout,
            f"--new-bundle-format={form}", env=environment,
        )  # fmt: skip
    tool("cosign").output("save", "--dir", folder / "saved", name, env=environment)
    with tarfile.open(folder / "saved.tar", "w") as archive:
        archive.add(folder / "saved", ".")
    harbour.wherry.ok("rmi", name)
    id = harbour.wherry.ok("load", "-i", "saved.tar").rpartition(" ")[2]
    harbour.wherry.ok("run", "--rm", "--verify-key", "team.pub", id)
    harbour.wherry.ok("tag", id, name)


def test_signing_says_what_is_wrong(harbour: Harbour) -> None:
    name = harbour.image("wrong")
    sign = ("sign", "--key", "team.key")
    wrong = harbour.wherry(*sign, name, env={"COSIGN_PASSWORD": "wrong"})
    assert (wrong.code, wrong.err) == (1, "wherry: the password does not open team.key\n")
    assert "signed sha256:" in harbour.wherry.ok(*sign, name, input="secret\n")
    for words, reason in (
        (("sign", name), "which key?"),
        (("sign", "--key", "team.pub", name), "is a public key: signing takes the private key"),
        ((*sign, "-a", "x", name), "is no annotation"),
        ((*sign, "nothing-here"), "no such image"),
        ((*sign, "--identity", "No Name", name), "No Name"),
        (("verify", "--key", "team.key", name), "is a private key"),
        (("generate-key-pair", "--output-key-prefix", "team"), "team.key exists"),
        (("generate-key-pair", "--type", "dsa"), "there is no type 'dsa'"),
    ):
        done = harbour.wherry(*words, env=SECRET)
        assert done.code == 1, done.said
        assert reason in done.err
    assert (harbour.wherry.folder / "team.key").stat().st_mode & 0o777 == 0o600
    harbour.wherry.ok("rmi", name)
