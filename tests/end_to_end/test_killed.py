"""kill -9 of the engine in the middle of a pull and of a push: whole, and gone on with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine_under_test import Wherry
from tests.registries import Faults, Hold, RealRegistry, registry

WHOLE = "Everything is as it must be."


@pytest.fixture(scope="module")
def real() -> Iterator[RealRegistry]:
    with registry() as running:
        yield running


@pytest.fixture
def faults(real: RealRegistry) -> Iterator[Faults]:
    with Faults(real) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def image(wherry: Wherry, real: RealRegistry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of an image of five layers in the registry."""
    context = tmp_path_factory.mktemp("context")
    for number in range(5):
        (context / str(number)).write_bytes(os.urandom(50_000))
    copies = "".join(f"COPY {number} /\n" for number in range(5))
    (context / "Dockerfile").write_text(f"FROM scratch\n{copies}")
    wherry.ok("build", "-q", "-t", f"{real.name}/image", context)
    wherry.ok("push", "-q", f"{real.name}/image")
    wherry.ok("system", "prune", "-af")
    return "image"


def kill_at(wherry: Wherry, hold: Hold, *words: str) -> None:
    """Kill the engine while a request of a command's is held."""
    with wherry.background(*words) as running:
        assert hold.reached.wait(30)
        wherry.kill_daemon()
        _, said = running.communicate(timeout=60)
        hold.released.set()
    assert running.returncode == 1
    assert b"Traceback" not in said and len(said.splitlines()) == 1
    assert wherry.ok("system", "check") == WHOLE


def test_a_killed_pull_is_gone_on_with(wherry: Wherry, faults: Faults, image: str) -> None:
    name = f"{faults.name}/{image}"
    blobs = wherry.root / "images/blobs/sha256"
    before: set[str] = set()
    for passing in (0, 2, 2, None):
        have = {blob.name for blob in blobs.iterdir()}
        assert have >= before
        before = have
        faults.clear()
        if passing is None:
            wherry.ok("pull", name)
        else:
            hold = Hold()
            faults.add("GET", "/blobs/", hold, skip=passing, times=99)
            kill_at(wherry, hold, "pull", name)
        asked = {seen.path.rpartition(":")[2] for seen in faults.requests("GET", "/blobs/")}
        assert asked.isdisjoint(have)
    assert wherry.ok("system", "check") == WHOLE
    assert left(wherry) == []
    assert wherry.ok("image", "inspect", "-f", "{{len .RootFS.Layers}}", name) == "5"


def test_a_killed_push_is_gone_on_with(wherry: Wherry, faults: Faults, image: str) -> None:
    source = wherry.ok("image", "ls", "-q", "--no-trunc").splitlines()[0]
    name = f"{faults.name}/other/{image}"
    wherry.ok("tag", source, name)
    for method, path in (("POST", "/uploads/"), ("PUT", "/manifests/")):
        hold = Hold()
        faults.add(method, path, hold)
        kill_at(wherry, hold, "push", name)
    wherry.ok("push", name)
    wherry.ok("rmi", name)
    wherry.ok("pull", name)
    assert wherry.ok("system", "check") == WHOLE


def left(wherry: Wherry) -> list[Path]:
    """What is half-made."""
    return [
        path for room in ("images", "layers") for path in (wherry.root / room / "ingest").iterdir()
    ]
