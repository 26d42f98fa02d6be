"""The newest docker command that Debian has, and what it asks since API 1.46."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest
from tests.api.docker_command import Docker, docker_and_wherryd
from tests.conftest import busybox, suite
from tests.image_tools import Tool
from tests.images.mover import Mover
from tests.registries import registry

from wherry.oci import HOST

pytestmark = pytest.mark.root

_SEVERAL = """
FROM scratch
ARG TARGETPLATFORM
LABEL for=$TARGETPLATFORM
COPY echo.wat /
CMD ["/echo.wat"]
"""
_LINUX = """
FROM scratch
COPY busybox /bin/
COPY below /
COPY above /
ENTRYPOINT ["/bin/busybox"]
"""


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    """With the image `several`, for three platforms, and `linux`, for this machine."""
    command = Tool(suite("forky").root, "docker").argv()
    with docker_and_wherryd("echo", dockerfile=_SEVERAL, command=command) as docker:
        context = docker.folder / "context"
        platforms = "wasi/wasm,linux/amd64,linux/arm64"
        docker.wherry.ok("build", "-q", "--platform", platforms, "-t", "several", context)
        shutil.copy(busybox(), context)
        for name in ("below", "above"):
            (context / name / "etc").mkdir(parents=True)
            (context / name / "etc" / name).write_text(name)
        (context / "Dockerfile").write_text(_LINUX)
        docker("build", "-q", "--platform", str(HOST), "-t", "linux", "context")
        yield docker


def tree(docker: Docker, name: str) -> dict[str, str]:
    """The platforms that `docker images --tree` shows of an image, and what it says they take."""
    rows = [line.split() for line in docker("images", "--tree", name).splitlines()]
    return {row[1]: row[3] for row in rows if row and row[0] in ("├─", "└─")}


def test_its_version_is_spoken(docker: Docker) -> None:
    assert docker("version", "-f", "{{.Client.APIVersion}}").strip() == "1.51"
    assert "nftables" in docker("info", "-f", "{{json .FirewallBackend}}")


def test_each_platform_of_an_image_is_shown(docker: Docker) -> None:
    shown = tree(docker, "several")
    assert list(shown) == ["wasi/wasm", "linux/amd64", "linux/arm64"]
    assert "0B" not in shown.values()
    form = ("-f", "{{.Os}}/{{.Architecture}} {{.Config.Labels.for}}")
    found = docker("image", "inspect", "--platform", "linux/arm64", *form, "several")
    assert found.split() == ["linux/arm64"] * 2
    assert "echo.wat" in docker("history", "--platform", "linux/arm64", "several")
    assert "not for linux/s390x" in docker(
        "image", "inspect", "--platform", "linux/s390x", "several", code=1
    )


def test_one_platform_is_saved_loaded_and_removed(docker: Docker) -> None:
    docker("tag", "several", "moved")
    for archive, flags in (("arm", ("--platform", "linux/arm64")), ("all", ())):
        docker("save", *flags, "-o", archive, "moved")
    digest = docker("inspect", "-f", "{{.Descriptor.digest}}", "moved")
    docker("rmi", "-f", "moved", "several")
    docker("load", "--platform", "linux/amd64", "-i", "all")
    docker("load", "-i", "arm")
    present = {platform for platform, size in tree(docker, "moved").items() if size != "0B"}
    assert present == {"linux/amd64", "linux/arm64"}
    assert "not for linux/s390x" in docker("load", "--platform", "linux/s390x", "-i", "all", code=1)
    assert "Deleted: sha256:" in docker("rmi", "--force", "--platform", "linux/arm64", "moved")
    assert "nothing else" in docker("rmi", "-f", "--platform", "linux/amd64", "moved", code=1)
    docker("load", "-i", "all")
    assert "0B" not in tree(docker, "moved").values()
    assert docker("inspect", "-f", "{{.Descriptor.digest}}", "moved") == digest
    docker("tag", "moved", "several")


def test_one_platform_is_pushed(docker: Docker) -> None:
    with registry() as real:
        name = f"{real.name}/several"
        docker("tag", "several", f"{name}:1")
        docker("tag", "several", f"{name}:2")
        docker("push", "--platform", "linux/arm64", f"{name}:1")
        docker("push", f"{name}:2")
        there = Mover(docker.folder / "there")
        alone, whole = there.pull(f"{name}:1").image, there.pull(f"{name}:2")
        assert str(alone.platform) == "linux/arm64"
        assert alone.target.digest == alone.digest
        assert len(there.store.members(whole.target)) == 3


def test_an_image_is_mounted_into_a_linux_container(docker: Docker) -> None:
    places = {"/all": "src=several", "/part": "src=linux,image-subpath=etc"}
    places["/file"] = "src=linux,image-subpath=etc/above"
    mounts = [w for at, src in places.items() for w in ("--mount", f"type=image,dst={at},{src}")]
    tool = "/bin/busybox"
    script = f"{tool} ls /all /part; {tool} cat /file; {tool} touch /part/x"
    run = ("run", "--rm", "--network", "none")
    told = docker(*run, *mounts, "linux", "sh", "-c", f"{script} 2>&1 || true")
    assert told.split()[:5] == ["/all:", "echo.wat", "/part:", "above", "below"]
    assert "\nabovetouch: /part/x: Read-only file system" in told
    part = "type=image,dst=/m,src=linux,image-subpath=etc"
    docker("create", "--name", "mounts", "--mount", part, "linux")
    heir = docker(*run, "--volumes-from", "mounts", "linux", "cat", "/m/below")
    assert heir == "below"
    (shown,) = json.loads(docker("inspect", "-f", "{{json .Mounts}}", "mounts"))
    assert (shown["Type"], shown["Name"], shown["RW"]) == ("image", "linux", False)
    assert docker("ps", "-a", "--format", "{{.Names}} {{.Mounts}}").split() == ["mounts", "linux"]
    docker("rm", "mounts")


def test_a_build_is_an_event(docker: Docker) -> None:
    events = docker(
        "events", "--since", "1", "--until", "0s", "-f", "type=image", "-f", "event=create",
        "--format", "{{.Actor.ID}}",
    )  # fmt: skip
    assert docker("inspect", "-f", "{{.Id}}", "linux").strip() in events.split()
