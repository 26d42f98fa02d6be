"""The `wherry` command, its engine and a real registry: what a person types, and what is told."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests import peers
from tests.conftest import without
from tests.engine_under_test import Wherry
from tests.registries import RealRegistry, registry

MODULE = '(module (memory (export "memory") 1) (func (export "_start")))'


@dataclass
class Harbour:
    """An engine with an image, and a registry that wants ann's password."""

    wherry: Wherry
    registry: RealRegistry

    @property
    def name(self) -> str:
        return f"{self.registry.name}/team/web"

    def __call__(self, line: str, *, input: str = "") -> str:
        """Types a line that must succeed; R is the registry, NAME the image there."""
        return self.wherry.ok(*self._words(line), input=input)

    def refused(self, line: str, *, code: int = 1, input: str = "") -> str:
        return self.wherry.refused(*self._words(line), code=code, input=input)

    def _words(self, line: str) -> list[str]:
        line = line.replace("NAME", self.name).replace("R/", f"{self.registry.name}/")
        return [self.registry.name if word == "R" else word for word in shlex.split(line)]


@pytest.fixture(scope="module")
def harbour() -> Iterator[Harbour]:
    with registry(htpasswd={"ann": "secret"}) as real, Wherry() as engine:
        module = engine.folder / "web.wat"
        module.write_text(MODULE)
        engine.image("web", module)
        harbour = Harbour(engine, real)
        harbour("tag web NAME")
        yield harbour


@pytest.fixture
def ann(harbour: Harbour) -> Harbour:
    """The same, with ann logged in and her image pushed."""
    harbour("login -u ann --password-stdin R", input="secret")
    harbour("tag web NAME")
    harbour("push -q NAME")
    return harbour


def test_who_is_not_logged_in_is_told_what_to_type(harbour: Harbour) -> None:
    harbour("logout R")
    hint = f"'wherry login {harbour.registry.name}'"
    assert hint in harbour.refused("push NAME")
    assert hint in harbour.refused("pull NAME:other")
    assert hint in harbour.refused("run NAME:other", code=125)
    assert hint in harbour.refused("search R/web")
    refused = harbour.refused("login -u ann --password-stdin R", input="wrong")
    assert "refuses this user name and password" in refused


def test_the_way_of_an_image(ann: Harbour) -> None:
    digest = ann("images --digests --format {{.Digest}} NAME")
    assert digest.startswith("sha256:")
    ann("rmi NAME")
    name, tag = f"{ann.name}:latest", "Using default tag: latest\nlatest: Pulling from team/web\n"
    told = ann("pull NAME")
    assert told.startswith(tag)
    assert told.endswith(f"Digest: {digest}\nStatus: Downloaded newer image for {name}\n{name}")
    assert ann("pull NAME") == (
        f"{tag}Digest: {digest}\nStatus: Image is up to date for {name}\n{name}"
    )
    assert ann("pull -q NAME") == name
    ann("rmi NAME")
    assert ann(f"pull -q NAME@{digest}") == f"{ann.name}@{digest}"
    assert ann("run --rm --pull always -q NAME") == ""


def test_all_tags(ann: Harbour) -> None:
    for tag in ("v1", "v2"):
        ann(f"tag web NAME:{tag}")
    told = ann("push --all-tags NAME")
    assert all(f"\n{tag}: digest: sha256:" in told for tag in ("latest", "v1", "v2"))
    ann("rmi NAME NAME:v1 NAME:v2")
    assert ann("pull -a NAME").endswith(f"\n{ann.name}")
    assert ann("images --format {{.Tag}} NAME").split() == ["latest", "v1", "v2"]
    ann("rmi NAME:v1 NAME:v2")


def test_a_mirror_is_shown_its_own_login(ann: Harbour, tmp_path: Path) -> None:
    """Nobody is at the registry itself, and its mirror asks for ann's password."""
    folder = ann.wherry.folder / ".config" / "wherry" / "certs.d" / "localhost:1"
    folder.mkdir(parents=True)
    mirror = f'[host."{ann.registry.url}"]\ncapabilities = ["pull", "resolve"]\n'
    (folder / "hosts.toml").write_text(f'server = "http://localhost:1"\n{mirror}')
    name = "localhost:1/team/web"
    assert ann(f"pull -q {name}") == f"{name}:latest"
    ann(f"rmi {name}")
    assert json.loads(ann(f"manifest inspect {name}"))["schemaVersion"] == 2
    (tmp_path / "Dockerfile").write_text(f"FROM {name}\n")
    ann(f"build -q -t derived {tmp_path}")
    ann(f"rmi derived {name}")
    ann("logout R")
    assert "cannot connect to localhost:1" in ann.refused(f"pull {name}")
    ann("login -u ann --password-stdin R", input="secret")
    (folder / "hosts.toml").unlink()
    assert "cannot connect to localhost:1" in ann.refused(f"pull {name}")


def test_a_search_names_what_can_be_pulled(ann: Harbour) -> None:
    assert ann("search --format {{.Name}} R/we") == ann.name
    assert ann("search --format {{.Name}} R/nothing") == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("pull R/team/nothing", "team/nothing:latest is not at"),
        ("pull NAME:nothing", "team/web:nothing is not at"),
        ("pull --platform linux/s390x NAME", "is for wasi/wasm, not for linux/s390x"),
        ("pull NAME@sha256:12", "sha256:12"),
        ("pull R/Team/web", "Team"),
        ("push R/team/nothing", "does not exist locally"),
        ("pull localhost:1/web", "localhost:1"),
    ],
)
def test_what_goes_wrong_is_one_line(ann: Harbour, line: str, said: str) -> None:
    assert said in ann.refused(line)


def test_the_platforms_of_an_image(ann: Harbour) -> None:
    header, *lines = ann("image inspect --platforms NAME").splitlines()
    assert header.split() == ["PLATFORM", "DIGEST", "SIZE", "HERE"]
    (platform, digest, _, here), *rest = [line.split() for line in lines]
    assert (platform, here, rest) == ("wasi/wasm", "yes", [])
    assert digest == ann("images --digests --format {{.Digest}} NAME")


@pytest.fixture(scope="module")
def both(harbour: Harbour) -> str:
    """An image for wasi/wasm and linux/riscv64 in the registry, and not here."""
    harbour("login -u ann --password-stdin R", input="secret")
    context = harbour.wherry.folder / "both"
    context.mkdir()
    (context / "web.wat").write_text(MODULE)
    (context / "Dockerfile").write_text(
        "FROM scratch\nARG TARGETPLATFORM\nCOPY web.wat /\n"
        'LABEL for=$TARGETPLATFORM\nENTRYPOINT ["/web.wat"]\n'
    )
    harbour(f"build -q --platform wasi/wasm,linux/riscv64 -t R/both {context}")
    harbour("push -q R/both")
    harbour("rmi R/both")
    return f"{harbour.registry.name}/both:latest"


def test_of_several_platforms_one_is_taken_and_told(ann: Harbour, both: str) -> None:
    told = ann("pull --platform linux/riscv64 R/both").splitlines()
    assert told[-1] == both
    _, *lines = ann("image inspect --platforms R/both").splitlines()
    here = {line.split()[0]: line.split()[-1] for line in lines}
    assert here == {"wasi/wasm": "no", "linux/riscv64": "yes"}
    ann("rmi R/both")
    told = ann("pull R/both").splitlines()
    assert f"{both}: wasi/wasm is taken" in told[2] and "linux/riscv64" in told[2]
    assert ann("inspect -f {{.Config.Labels.for}} R/both") == "wasi/wasm"
    ann("rmi R/both")
    refused = ann.refused("pull --platform linux/s390x R/both")
    assert "is for wasi/wasm, linux/riscv64, not for linux/s390x" in refused


def test_a_list_by_hand_is_what_docker_makes_of_it(ann: Harbour, both: str, tmp_path: Path) -> None:
    for platform in ("wasi/wasm", "linux/riscv64"):
        ann(f"pull -q --platform {platform} R/both")
    ann("tag web R/one")
    ann("push -q R/one")
    members = json.loads(ann("manifest inspect R/both"))["manifests"]
    arm = next(m["digest"] for m in members if m["platform"]["os"] == "linux")
    name = f"{ann.registry.name}/list"
    created = ann(f"manifest create R/list R/one R/both@{arm}")
    assert created == f"Created manifest list {name}:latest"
    assert "is there already" in ann.refused("manifest create R/list R/one")
    ann(f"manifest annotate --variant v8 R/list R/both@{arm}")
    here = json.loads(ann("manifest inspect R/list"))
    assert [m["platform"].get("variant", "") for m in here["manifests"]] == ["", "v8"]
    assert "list" not in ann("images --format {{.Repository}}")
    assert "latest: digest: sha256:" in ann("manifest push --purge R/list")
    assert "was made here" in ann.refused("manifest rm R/list")
    assert json.loads(ann("manifest inspect R/list")) == here
    verbose = json.loads(ann("manifest inspect -v R/list"))
    assert [m["Descriptor"]["platform"]["os"] for m in verbose] == ["wasi", "linux"]
    (tmp_path / "config.json").write_text((ann.wherry.folder / ".docker/config.json").read_text())
    told = _docker(ann, tmp_path, "manifest", "inspect", "--insecure", name)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout) == here
    ann("pull -q --platform linux/riscv64/v8 R/list")
    shown = ann("image inspect --platform linux/riscv64 -f {{.Architecture}} R/list")
    assert shown == "riscv64"


def _docker(harbour: Harbour, config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    try:
        program = peers.program("docker")
    except peers.PeerMissing as error:
        without(str(error))
    return subprocess.run(
        [program, "-H", f"unix://{harbour.wherry.socket_path}", *words],
        capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "DOCKER_CONFIG": str(config)},
    )  # fmt: skip


def test_dockers_command_at_our_engine(ann: Harbour, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auths": {"x": {}}}')
    login = ("login", "-u", "ann", "-p", "secret", ann.registry.name)
    assert _docker(ann, tmp_path, *login).stdout.strip().endswith("Login Succeeded")
    ours = json.loads((ann.wherry.folder / ".docker/config.json").read_text())["auths"]
    theirs = json.loads((tmp_path / "config.json").read_text())["auths"]
    assert theirs[ann.registry.name] == ours[ann.registry.name]
    for words in (("push", ann.name), ("pull", ann.name), ("push", "-a", ann.name),
                  ("pull", "-q", ann.name), ("search", f"{ann.registry.name}/web")):  # fmt: skip
        done = _docker(ann, tmp_path, *words)
        assert (done.returncode, done.stdout.rstrip("\n")) == (0, ann.wherry.ok(*words)), done
    for words in (("pull", f"{ann.name}:nothing"), ("push", f"{ann.registry.name}/nothing")):
        done = _docker(ann, tmp_path, *words)
        refused = ann.wherry.refused(*words, code=1).removeprefix("wherry: ").strip()
        assert done.returncode == 1 and refused in done.stderr
