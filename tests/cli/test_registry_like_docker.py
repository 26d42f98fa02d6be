"""Against a real dockerd and a real registry: what the docker command says, wherry says."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests import peers
from tests.cli.conftest import COMMAND
from tests.client.helper_program import helper
from tests.peers import Dockerd
from tests.registries import RealRegistry, registry

pytestmark = pytest.mark.dockerd

Done = subprocess.CompletedProcess[bytes]


@dataclass
class Pair:
    """The two commands at one daemon, each with a `config.json` of its own."""

    dockerd: Dockerd
    registry: RealRegistry
    folder: Path

    def wherry(self, *words: str, input: bytes = b"") -> Done:
        return self._run("wherry", [*COMMAND, *words], input)

    def docker(self, *words: str, input: bytes = b"") -> Done:
        return self._run("docker", self.dockerd.argv(*words), input)

    def config(self, who: str) -> Path:
        return self.folder / who / "config.json"

    def _run(self, who: str, argv: list[str], input: bytes) -> Done:
        environment = {
            **os.environ, "WHERRY_HOST": self.dockerd.host, "PYTHONPATH": os.pathsep.join(sys.path),
            "DOCKER_CONFIG": str(self.folder / who), "DOCKER_CLI_HINTS": "false",
        }  # fmt: skip
        return subprocess.run(argv, input=input, capture_output=True, env=environment)


@pytest.fixture(scope="module")
def pair(dockerd: Dockerd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("registry-like-docker")
    for name in ("wherry", "docker"):
        (folder / name).mkdir()
        # With a login in it, neither looks for a keyring of this machine.
        (folder / name / "config.json").write_text('{"auths": {"x": {}}, "psFormat": ""}')
    with registry(htpasswd={"ann": "secret"}) as real:
        pair = Pair(dockerd, real, folder)
        made = pair.docker("import", "-", f"{real.name}/web", input=peers.busybox_rootfs())
        assert made.returncode == 0, made.stderr
        pair.docker("tag", f"{real.name}/web", f"{real.name}/web:v2")
        yield pair


def test_a_login_is_kept_as_docker_keeps_it(pair: Pair) -> None:
    words = ("login", "-u", "ann", "--password-stdin", pair.registry.name)
    ours, theirs = (run(*words, input=b"wrong") for run in (pair.wherry, pair.docker))
    assert ours.returncode == theirs.returncode == 1
    assert b"401 Unauthorized" in ours.stderr and b"401 Unauthorized" in theirs.stderr
    ours, theirs = (run(*words, input=b"secret\n") for run in (pair.wherry, pair.docker))
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout), ours.stderr
    assert b"unencrypted" in ours.stderr and b"unencrypted" in theirs.stderr
    documents = [json.loads(pair.config(who).read_text())["auths"] for who in ("wherry", "docker")]
    assert documents[0] == documents[1]


def test_docker_uses_our_login_and_we_use_dockers(pair: Pair) -> None:
    configs = [pair.config("wherry"), pair.config("docker")]
    texts = [config.read_bytes() for config in configs]
    for config, text in zip(configs, reversed(texts), strict=True):
        config.write_bytes(text)
    for run in (pair.docker, pair.wherry):
        done = run("push", f"{pair.registry.name}/web")
        assert done.returncode == 0, done.stderr


def test_both_keep_their_logins_in_the_same_helper(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = helper(tmp_path, "ours")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    config = json.dumps({"credHelpers": {pair.registry.name: "ours"}})
    before = [pair.config(who).read_bytes() for who in ("wherry", "docker")]
    login = ("login", "-u", "ann", "--password-stdin", pair.registry.name)
    for who, other in ((pair.wherry, pair.docker), (pair.docker, pair.wherry)):
        for name in ("wherry", "docker"):
            pair.config(name).write_text(config)
        done = who(*login, input=b"secret")
        assert done.returncode == 0 and b"unencrypted" not in done.stderr
        assert json.loads(secrets.read_text()) == {pair.registry.name: ["ann", "secret"]}
        assert other("push", f"{pair.registry.name}/web").returncode == 0
        assert other("logout", pair.registry.name).returncode == 0
        assert json.loads(secrets.read_text()) == {}
        assert who("push", f"{pair.registry.name}/web:v2").returncode == 1
    for name, text in zip(("wherry", "docker"), before, strict=True):
        pair.config(name).write_bytes(text)


SAME = [
    "push NAME/web", "push -q NAME/web", "push -a NAME/web", "push NAME/nosuch", "push NAME/web:no",
    "pull NAME/web", "pull -q NAME/web:v2", "pull -a NAME/web", "pull NAME/nosuch",
    "pull NAME/web:nosuch", "pull -a NAME/web:v2", "pull NAME/We:b", "pull -a NAME/nosuch",
    "image pull NAME/web", "images NAME/web --digests --format {{.Tag}}\\ {{.Digest}}",
    "pull NAME/web@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    "run --rm NAME/nosuch true", "create --pull never NAME/nosuch true",
    "run --rm --pull always -q NAME/web:v2 echo hello",
    "logout nowhere.example.org",
]  # fmt: skip


@pytest.mark.parametrize("line", SAME)
def test_same_output_and_exit_code(pair: Pair, line: str) -> None:
    words = [word.replace("NAME", pair.registry.name) for word in shlex.split(line)]
    pair.docker(*words)  # Whatever it changes has been changed for both.
    theirs, ours = pair.docker(*words), pair.wherry(*words)
    assert _in_order(ours.stdout) == _in_order(theirs.stdout), (ours.stderr, theirs.stderr)
    assert ours.returncode == theirs.returncode, (ours.stderr, theirs.stderr)
    assert b"Traceback" not in ours.stderr
    if theirs.returncode:
        assert len(ours.stderr.splitlines()) <= 2


def _in_order(out: bytes) -> list[bytes]:
    """Layers are worked on at once: which of their lines comes first is chance."""
    return sorted(out.splitlines())


def test_a_pull_of_what_was_removed_is_told_as_docker_tells_it(pair: Pair) -> None:
    told = []
    for run in (pair.wherry, pair.docker):
        pair.docker("rmi", "-f", f"{pair.registry.name}/web", f"{pair.registry.name}/web:v2")
        done = run("pull", f"{pair.registry.name}/web")
        assert done.returncode == 0, done.stderr
        # Whether a fast download was ever seen being verified is chance.
        told.append([line for line in done.stdout.splitlines() if b"Verifying" not in line])
    assert told[0] == told[1]
    assert any(b"Pull complete" in line for line in told[0])
    assert any(b"Downloaded newer image" in line for line in told[0])


def test_what_only_our_engine_knows_is_told(pair: Pair) -> None:
    done = pair.wherry("manifest", "inspect", f"{pair.registry.name}/web")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"wherry: page not found: this engine does not know")
    done = pair.wherry("image", "inspect", "--platforms", f"{pair.registry.name}/web")
    (platform, digest, _, here), *rest = [line.split() for line in done.stdout.splitlines()[1:]]
    assert platform.startswith(b"linux/") and digest.startswith(b"sha256:")
    assert (here, rest) == (b"yes", [])


def test_without_a_login_the_registry_says_no(pair: Pair) -> None:
    for run in (pair.wherry, pair.docker):
        done = run("logout", pair.registry.name)
        assert done.stdout.decode() == f"Removing login credentials for {pair.registry.name}\n"
    ours, theirs = (run("pull", f"{pair.registry.name}/web") for run in (pair.wherry, pair.docker))
    assert ours.returncode == theirs.returncode == 1
    assert ours.stdout == theirs.stdout
    assert b"no basic auth credentials" in ours.stderr and b"no basic auth" in theirs.stderr
    assert f"'wherry login {pair.registry.name}'" in ours.stderr.decode()
