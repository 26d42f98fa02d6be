"""The same Dockerfiles built by Docker, with BuildKit and without, and here: the same files."""

import io
import json
import os
import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from tests import peers
from tests.build.kitchen import Files, Kitchen, link, make_tar
from tests.conftest import without

from wherry.images import Image
from wherry.oci import parse_platform

pytestmark = [pytest.mark.dockerd, pytest.mark.slow]

private = tarfile.TarInfo()
private.type, private.mode = tarfile.DIRTYPE, 0o1700

CONTEXT: Files = {
    "a.txt": "A",
    "b.txt": "B",
    "with space": "S",
    ".hidden": "H",
    "d/": "",
    "d/e.txt": "E",
    "d/f/g.txt": "G",
    "d/to-e": link("e.txt"),
    "d/dangling": link("/nowhere"),
    "to-a": link("a.txt"),
    "to-d": link("d"),
    "etc/passwd": "root:x:0:0::/:\nalice:x:1001:1002::/:\n",
    "etc/group": "root:x:0:\nalice:x:1002:\nstaff:x:50:\n",
    "private": private,
    "private/p.txt": "P",
    "archive.tar": make_tar({"x/y": "Y"}),
}
BOTH = [
    "COPY a.txt /",
    "COPY a.txt /x",
    "COPY a.txt /x/",
    "COPY a.txt b.txt /x/",
    "COPY *.txt /x/",
    "COPY d /x",
    "COPY d/ /x/",
    "COPY d a.txt /x/",
    'COPY ["with space", "/a b/"]',
    "COPY . /all",
    "COPY to-d /x",
    "COPY to-d/e.txt /x",
    "COPY d/to-e /x",
    "COPY d /x\nCOPY a.txt /x",
    "COPY d /x\nCOPY a.txt /x/f",
    "COPY --chown=5 a.txt /x/y/",
    "COPY etc /etc\nCOPY --chown=alice:staff d /x",
    "WORKDIR /w\nCOPY a.txt .\nWORKDIR v\nCOPY a.txt ./c",
    "ADD archive.tar a.txt /x/",
    "ENV N=b\nCOPY ${N}.txt /x/$N",
    "ARG N=b\nCOPY ${N:-a}.txt ${M:-/m}",
]
BUILDKIT = [
    "COPY --chmod=700 d /x",
    "COPY --chmod=700 d /x\nCOPY --chmod=750 d /x",
    "COPY --chown=5:6 d /x/y",
    "COPY etc /etc\nCOPY --chown=alice a.txt /x",
    "COPY to-a /x/",
    "COPY private /x",
    "COPY private /x\nCOPY d /x",
    "COPY d /x\nCOPY private /x",
    "COPY private d /x/",
    "COPY . /x\nCOPY private /x/private",
    "COPY pri* /x/",
    "FROM scratch AS one\nCOPY --chown=5:6 private /x\nFROM scratch\nCOPY --from=one / /y",
    "FROM scratch AS one\nCOPY --chown=5:6 private /x\nFROM scratch\nCOPY --from=one /x /y/z",
    "FROM scratch AS one\nCOPY private /x\nFROM scratch\nCOPY --from=one --chown=7 / /",
]
OLDER = [
    "COPY d/*/g.txt /x/",
    "COPY private /x",
    "COPY d /x\nCOPY private /x",
    "FROM scratch AS one\nCOPY --chown=5:6 private /x\nFROM scratch\nCOPY --from=one /x /y/z",
]
CONFIGS = [
    'ENV A=1 B="x y" C=${A}\nENV A=2 D=$A ${A}E=f\nENV OLD one two',
    'LABEL a=b "c d"="e\\"f" g=\'$h\'',
    "EXPOSE 80 443/udp 8000-8002\nEXPOSE 80/tcp",
    'VOLUME /a /b\nVOLUME ["/c d"]',
    "USER me:us\nSTOPSIGNAL 9",
    'ENTRYPOINT ["/x", "y"]\nCMD ["z"]',
    "ENTRYPOINT /x $y\nCMD z",
    'SHELL ["/s", "-x"]\nCMD a b',
    'CMD ["a"]\nENTRYPOINT ["b"]',
    "HEALTHCHECK --interval=5s --timeout=1m --start-period=2s --retries=4 CMD a b",
    'HEALTHCHECK CMD ["a"]\nHEALTHCHECK NONE',
    "WORKDIR /a\nWORKDIR b/../c\nWORKDIR ./d/",
    "ONBUILD COPY a b\nONBUILD ENV x=y",
    "MAINTAINER me <me@example.com>",
]


class Seen(NamedTuple):
    kind: str
    mode: int
    owner: tuple[int, int]
    content: bytes | str


def of_tar(data: bytes) -> dict[str, Seen]:
    """What a root filesystem in a tar holds."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            content = file.read() if file else member.linkname
            kind = member.type.decode()
            owner = (member.uid, member.gid)
            found[member.name.strip("/")] = Seen(kind, member.mode & 0o7777, owner, content)
    return {name: seen for name, seen in found.items() if name not in ("", ".")}


def of_image(kitchen: Kitchen, image: Image) -> dict[str, Seen]:
    """What an image built here holds."""
    found = {}
    for number in range(len(image.manifest.layers)):
        for name, (entry, content) in kitchen.layer(image, number).items():
            value = content if entry.kind.name == "FILE" else entry.target
            kind = entry.kind.value.decode()
            found[name] = Seen(kind, entry.mode, (entry.uid, entry.gid), value)
    return found


@cache
def docker_with_buildkit() -> str | None:
    """A docker command that can build with BuildKit: an old one, or one that has buildx."""
    for folder in (*os.get_exec_path(), "/usr/bin"):
        path = shutil.which("docker", path=folder)
        if path is None:
            continue
        version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
        major = int(version.removeprefix("Docker version ").partition(".")[0])
        buildx = subprocess.run([path, "buildx", "version"], capture_output=True)
        if major < 23 or not buildx.returncode:
            return path
    return None


def docker(dockerd: peers.Dockerd, *arguments: str, data: bytes = b"", buildkit: bool) -> bytes:
    environment = {**os.environ, "DOCKER_BUILDKIT": str(int(buildkit))}
    argv = dockerd.argv(*arguments)
    if buildkit:
        found = docker_with_buildkit()
        if found is None:
            without("no docker command here can use BuildKit")
        argv[0] = str(found)
    done = subprocess.run(argv, input=data, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("body", [*BOTH, *BUILDKIT])
def test_files_as_buildkit(
    dockerd: peers.Dockerd, kitchen: Kitchen, body: str, tmp_path: Path
) -> None:
    data = make_tar({**CONTEXT, "Dockerfile": f"FROM scratch\n{body}\n"})
    folder = tmp_path / "context"  # Of a tar, BuildKit keeps the owners.
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        tar.extractall(folder, filter="fully_trusted")
    theirs = docker(dockerd, "build", "-o", "type=tar,dest=-", str(folder), buildkit=True)
    assert of_image(kitchen, kitchen.build("", archive=data)) == of_tar(theirs)


@pytest.mark.parametrize("body", [*BOTH, *OLDER])
def test_files_as_the_older_builder(dockerd: peers.Dockerd, kitchen: Kitchen, body: str) -> None:
    data = make_tar({**CONTEXT, "Dockerfile": f'FROM scratch\n{body}\nCMD ["x"]\n'})
    name = docker(dockerd, "build", "-q", "-", data=data, buildkit=False).decode().strip()
    container = docker(dockerd, "create", name, buildkit=False).decode().strip()
    theirs = of_tar(docker(dockerd, "export", container, buildkit=False))
    ours = of_image(kitchen, kitchen.build("", archive=data))
    assert {name: theirs.get(name) for name in ours} == ours


@pytest.mark.parametrize("body", CONFIGS)
@pytest.mark.parametrize("buildkit", [True, False])
def test_config_as_docker(
    dockerd: peers.Dockerd, kitchen: Kitchen, body: str, buildkit: bool, tmp_path: Path
) -> None:
    data = make_tar({"Dockerfile": f"FROM scratch\n{body}\n"})
    docker(dockerd, "build", "-t", "x", "-", data=data, buildkit=buildkit)
    (theirs,) = json.loads(docker(dockerd, "image", "inspect", "x", buildkit=False))
    image = kitchen.build("", archive=data, platforms=(parse_platform("linux/amd64"),))
    raw = kitchen.store.blobs.read(image.id, 1 << 20)
    config = json.loads(raw)
    ours = config["config"]
    expected = {key: value for key, value in theirs["Config"].items() if key in ours}
    expected["Env"] = [one for one in theirs["Config"]["Env"] or [] if not one.startswith("PATH=")]
    assert {"Env": [], **ours} == expected
    ignored = {"Image", "Env", "ArgsEscaped"} | ({"WorkingDir"} if buildkit else set())
    missing = {key for key, value in theirs["Config"].items() if value and key not in ours}
    assert missing <= ignored
    assert config.get("author", "") == theirs["Author"]
