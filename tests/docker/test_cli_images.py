"""wherry's command against a Docker with containerd's image store: images for several platforms."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from tests.cli.conftest import COMMAND
from tests.docker.engine import Docker

pytestmark = pytest.mark.root

_DOCKERFILE = """
FROM scratch
ARG TARGETPLATFORM
LABEL for=$TARGETPLATFORM
COPY exit.wasm /
ENTRYPOINT ["/exit.wasm"]
"""
PLATFORMS = ("linux/amd64", "linux/arm/v7", "wasi/wasm")


def wherry(docker: Docker, *words: str) -> str:
    environment = {
        **os.environ, "WHERRY_HOST": docker.dockerd.host, "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def several(docker: Docker) -> str:
    docker.build(_DOCKERFILE, "several", ["exit"], platforms=",".join(PLATFORMS))
    return "several"


def test_platforms_of_an_image_of_dockers(docker: Docker, several: str) -> None:
    version = int(docker.ok("version", "-f", "{{.Server.Version}}").partition(".")[0])
    table = wherry(docker, "image", "inspect", "--platforms", several)
    rows = [line.split() for line in table.splitlines()[1:]]
    if version < 28:  # It tells of the one that it would run.
        ((platform, *_, here),) = rows
        assert platform in PLATFORMS and here == "yes"
        return
    images = [row for row in rows if row[0] != "attestation"]
    assert sorted(row[0] for row in images) == sorted(PLATFORMS)
    assert {row[-1] for row in images} == {"yes"}
    for platform, digest, *_ in images:
        shown = wherry(docker, "image", "inspect", "--platform", platform, several)
        (document,) = json.loads(shown)
        assert document["Config"]["Labels"]["for"] == platform
        assert digest.startswith("sha256:")
