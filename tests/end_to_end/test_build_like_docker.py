"""RUN beside Docker's builder: the same files in the same layers, the same surroundings."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests import peers
from tests.conftest import busybox
from tests.end_to_end.linux_builds import PLATFORM, builder, folder
from tests.engine_under_test import Wherry
from tests.network.machine import Machine

pytestmark = [pytest.mark.root, pytest.mark.dockerd, pytest.mark.slow]

BASE = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
COPY passwd /etc/passwd
"""
FILES = """\
RUN mkdir -p /a/b && echo x >/a/b/c && chmod 700 /a
RUN touch /x && ln /x /y && ln -s /x /z && rm /bin/gunzip && mkfifo /p
RUN mkdir /d && touch /d/old
RUN rm -r /d && mkdir /d && touch /d/new
RUN mkdir /e && touch /e/old /e/kept
RUN rm /e/old && chown 5:6 /e/kept /etc/passwd
RUN dd if=/dev/zero of=/sparse bs=1 count=1 seek=5000000 && rm -r /root || true
RUN true
"""
SURROUNDINGS = """\
RUN grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status >/status; ls /dev >/devices
# One path is masked by later Dockers only.
RUN umask >/u; cat /proc/self/oom_score_adj >>/u; mount | cut -d' ' -f3,5 | sort \\
    | grep -v /proc/interrupts >/m
WORKDIR /w
ENV A=b
ARG C=d
RUN env | grep -E '^(A|C|PATH|HOME|PWD)=' | sort >env; mkdir -m 777 /open
USER alice
RUN pwd >/open/p; id >>/open/p; echo $HOME >>/open/p; grep Cap /proc/self/status >>/open/p
"""
FAILING = """\
SHELL ["/bin/sh", "-ec"]
RUN echo "it's enough"; (exit 7); touch /never
"""


class Member(NamedTuple):
    kind: bytes
    mode: int
    owner: tuple[int, int]
    link: str
    content: bytes


@pytest.fixture(scope="module")
def wherry() -> Iterator[Wherry]:
    with Machine() as machine, builder(machine) as wherry:
        yield wherry


def layers(archive: bytes) -> list[dict[str, Member]]:
    """What `docker save` wrote, layer by layer."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:

        def read(name: str) -> bytes:
            file = tar.extractfile(name)
            assert file is not None
            return file.read()

        (manifest,) = json.loads(read("manifest.json"))
        return [_members(read(name)) for name in manifest["Layers"]]


def _members(layer: bytes) -> dict[str, Member]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            content = file.read() if file else b""
            owner = (member.uid, member.gid)
            found[member.name.strip("/")] = Member(
                member.type, member.mode & 0o7777, owner, member.linkname, content
            )
    return found


def _named_alike(layer: dict[str, Member]) -> dict[str, Member]:
    """Of a file with several names, either may come first in a layer; whiteouts have any mode."""
    alike = dict(layer)
    for name, member in layer.items():
        if member.kind == tarfile.LNKTYPE:
            alike[name] = layer[member.link.strip("/")]
        elif "/.wh." in f"/{name}":
            alike[name] = member._replace(mode=0)
    return alike


@pytest.mark.parametrize("body", [FILES, SURROUNDINGS, FAILING])
def test_layers_are_dockers(
    dockerd: peers.Dockerd, wherry: Wherry, body: str, tmp_path: Path
) -> None:
    context = folder(
        wherry,
        f"{BASE}{body}",
        passwd="root:x:0:0::/root:/bin/sh\nalice:x:1001:1002::/home/alice:/bin/sh\n",
    )
    shutil.copy(busybox(), context / "busybox")
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    argv = dockerd.argv("build", "-q", "--network", "none", "-t", "like", str(context))
    theirs_done = subprocess.run(argv, capture_output=True, text=True, env=environment)
    args = ("build", "-q", "--network", "none", "--platform", PLATFORM, "-t", "like", context)
    ours_done = wherry(*args)
    assert bool(theirs_done.returncode) == bool(ours_done.code), (theirs_done, ours_done)
    if ours_done.code:
        # The docker command ends as it does with Docker, whichever engine it builds with.
        argv[1:3] = ["-H", f"unix://{wherry.socket_path}"]
        argv[4:4] = ["--platform", PLATFORM]
        done = subprocess.run(argv, capture_output=True, text=True, env=environment)
        assert done.returncode == theirs_done.returncode == 7
        assert done.stderr.splitlines()[-2:] == theirs_done.stderr.splitlines()[-2:]
        return
    wherry.ok("save", "-o", tmp_path / "ours.tar", "like")
    saved = subprocess.run(dockerd.argv("save", "like"), capture_output=True, check=True).stdout
    ours, theirs = layers((tmp_path / "ours.tar").read_bytes()), layers(saved)
    assert len(ours) == len(theirs)
    for mine, other in zip(ours[3:], theirs[3:], strict=True):
        assert _named_alike(mine) == _named_alike(other)
