"""The docker command with wherryd and a real registry, and what a killed wherryd leaves."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api.docker_command import Docker, docker_and_wherryd
from tests.engine_under_test import Wherry, until
from tests.images.mover import Mover, ingested, sized_image
from tests.registries import Answer, Faults, Hold, RealRegistry, registry

from wherry.images import ImageStore
from wherry.oci import Digest

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def real() -> Iterator[RealRegistry]:
    with registry(htpasswd={"ann": "secret"}) as running:
        yield running


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    """With a context of `echo`."""
    dockerfile = 'FROM scratch\nCOPY *.wat /\nCMD ["/echo.wat"]\n'
    with docker_and_wherryd("echo", dockerfile=dockerfile) as docker:
        yield docker


def test_login_push_pull_search_and_run(docker: Docker, real: RealRegistry) -> None:
    name = f"{real.name}/team/echo:1"
    docker("build", "-q", "-t", name, "context")
    assert "denies access: log in" in docker("push", name, code=1)
    docker("login", "-u", "ann", "--password-stdin", real.name, input="wrong", code=1)
    assert "Login Succeeded" in docker(
        "login", "-u", "ann", "--password-stdin", real.name, input="secret"
    )
    pushed = docker("push", name).splitlines()
    assert pushed[0] == f"The push refers to repository [{real.name}/team/echo]"
    layer = pushed[-2].partition(":")[0]
    assert pushed[1] == f"{layer}: Preparing"
    assert pushed[-2] == f"{layer}: Pushed"
    assert pushed[-1].startswith("1: digest: sha256:")
    digest = pushed[-1].split()[2]
    assert f"{layer}: Layer already exists" in docker("push", name)
    docker("rmi", name)
    assert docker("pull", name).splitlines() == [
        "1: Pulling from team/echo",
        f"{layer}: Pulling fs layer",
        f"{layer}: Verifying Checksum",
        f"{layer}: Download complete",
        f"{layer}: Pull complete",
        f"Digest: {digest}",
        f"Status: Downloaded newer image for {name}",
        name,
    ]
    assert docker("pull", "-q", name).strip() == name
    assert f"Status: Image is up to date for {name}" in docker("pull", name)
    assert docker("images", "--digests", "--format", "{{.Digest}}", name).strip() == digest
    assert docker("inspect", "-f", "{{index .RepoDigests 0}}", name).strip() == (
        f"{real.name}/team/echo@{digest}"
    )
    assert f"{real.name}/team/echo" in docker("search", f"{real.name}/ech")
    # `run` brings what is missing.
    docker("rmi", name)
    assert docker("run", "-i", "--rm", name, input="told\n") == "told\n"
    missing = docker("pull", f"{real.name}/team/echo:2", code=1)
    assert "manifest unknown" in missing
    docker("tag", name, f"{real.name}/team/echo:3")
    assert docker("push", "-a", f"{real.name}/team/echo").count("digest: sha256:") == 2
    docker("rmi", name, f"{real.name}/team/echo:3")
    docker("pull", "-a", f"{real.name}/team/echo")
    assert len(docker("images", "-q", f"{real.name}/team/echo").splitlines()) == 2
    docker("rmi", name, f"{real.name}/team/echo:3")
    by_digest = f"{real.name}/team/echo@{digest}"
    docker("pull", by_digest)
    shown = docker(
        "images", "--digests", "--format", "{{.Tag}} {{.Digest}}", f"{real.name}/team/echo"
    )
    assert shown.split() == ["<none>", digest]
    docker("logout", real.name)
    denied = docker("pull", name, code=1)
    assert f"pull access denied for {name}, repository does not exist or may require" in denied


@pytest.fixture
def plain() -> Iterator[RealRegistry]:
    with registry() as running:
        yield running


def _stalls(whole: bytes, after: int, reached: threading.Event, go: threading.Event) -> Answer:
    """An answer that sends so many bytes of a blob and then nothing more."""

    def body() -> Iterator[bytes]:
        yield whole[:after]
        reached.set()
        go.wait(60)

    return Answer(200, {"Content-Length": str(len(whole))}, body())


def test_a_pull_that_was_killed_goes_on(plain: RealRegistry, tmp_path: Path) -> None:
    maker = Mover(tmp_path / "maker")
    with Faults(plain) as faults, Wherry() as wherry:
        name = f"{faults.name}/killed/pull:1"
        image = sized_image(maker.store, name, [2000, 3_000_000], seed="killed")
        maker.push(name)
        small, big = image.manifest.layers
        reached, go = threading.Event(), threading.Event()
        data = maker.store.blobs.read(big.digest, big.size)  # type: ignore[arg-type]
        faults.add("GET", big.digest, _stalls(data, 1_000_000, reached, go))
        half = wherry.root / "images" / "ingest" / big.digest.replace(":", "-")
        wherry.ok("version")
        with wherry.background("pull", name):
            assert reached.wait(60)
            blobs = ImageStore(wherry.root).blobs
            until(lambda: half.exists() and half.stat().st_size > 500_000, "nothing of it is kept")
            until(lambda: blobs.path(Digest(small.digest)).exists(), "the small layer is not here")
            wherry.kill_daemon()
        kept = half.stat().st_size
        go.set()
        store = ImageStore(wherry.root)
        assert store.list() == []
        assert store.check() == []
        faults.clear()
        wherry.ok("pull", name)
        assert not faults.requests("GET", small.digest)
        (request,) = faults.requests("GET", big.digest)
        assert request.headers["range"] == f"bytes={kept}-{big.size - 1}"
        assert ImageStore(wherry.root).check() == []
        assert ImageStore(wherry.root).resolve(name).digest == image.digest
        assert ingested(wherry.root) == {}


def test_a_push_that_was_killed_goes_on(plain: RealRegistry, tmp_path: Path) -> None:
    with Faults(plain) as faults, Wherry() as wherry:
        wherry.root.mkdir()
        name = f"{faults.name}/killed/push:1"
        image = sized_image(ImageStore(wherry.root), name, [2000, 300_000], seed="push")
        before = ImageStore(wherry.root).check()
        hold = Hold()
        faults.add("PUT", "/manifests/1", hold)
        with wherry.background("push", name):
            assert hold.reached.wait(60)
            wherry.kill_daemon()
        hold.released.set()
        assert ImageStore(wherry.root).check() == before == []
        faults.clear()
        wherry.ok("push", name)
        assert not faults.requests("PATCH")
        other = Mover(tmp_path / "other")
        assert other.pull(name).image.digest == image.digest


def test_logins_in_the_header_are_read_in_every_alphabet(
    docker: Docker, real: RealRegistry
) -> None:
    import http.client
    import socket

    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(docker.environment["DOCKER_HOST"].removeprefix("unix://"))

    def ask(header: str) -> tuple[int, str]:
        connection = Connection("d")
        where = f"/distribution/{real.name}/no/such/json"
        connection.request("GET", where, headers={"X-Registry-Auth": header})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    login = json.dumps({"username": "ann", "password": "secret"}).encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(login).decode()
        assert ask(text)[0] == ask(text.rstrip("="))[0] == 404
    assert ask("")[0] == 401
    assert ask("!!!")[0] == 400
    assert ask(base64.b64encode(b"[1]").decode())[0] == 400
