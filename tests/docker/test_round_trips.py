"""Images go from a store to a registry, through other people's tools, and come back as they were.

Compared are the digests of all documents and layers, which only stay if every byte does. skopeo
compresses what is not compressed, unless it is told to preserve digests.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from msgspec.structs import replace
from tests.docker.engine import Docker
from tests.image_tools import tool
from tests.images.mover import Mover
from tests.images.samples import image_of, layer_of, member, platform_image, tar_of
from tests.oci_schemas import validate_layout
from tests.registries import RealRegistry, registry

from wherry.images import Image, ImageStore, LayerWriter
from wherry.oci import parse_platform, parse_reference

pytestmark = [pytest.mark.root, pytest.mark.dockerd]
only_newest = pytest.mark.parametrize("docker", ["forky"], indirect=True)


@pytest.fixture(scope="module")
def real() -> Iterator[RealRegistry]:
    with registry() as running:
        yield running


@pytest.fixture
def here(tmp_path: Path) -> Mover:
    return Mover(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Mover:
    return Mover(tmp_path / "there")


def varied_image(here: Mover, name: str) -> Image:
    """Layers of every compression, of other people's tar, and annotations."""
    store = here.store
    with store.hold():
        layers = [layer_of(store, tar_of(member("from/tarfile", b"x" * 5000, mode=0o4755)))]
        for compression in ("gzip", "zstd", "none"):
            with LayerWriter(store.blobs, compression=compression) as writer:
                writer.add_file(f"as/{compression}", compression.encode() * 2000)
                layers.append(writer.commit())
        return image_of(store, *layers, name=name, created="2024-02-29T12:00:00Z", key="é")


PLATFORMS = ("wasi/wasm", "linux/amd64", "linux/arm64")


def varied_index(here: Mover, name: str) -> None:
    """An index of images for three platforms, with layers of every compression."""
    store, manifests = here.store, []
    with store.hold():
        compressions: list[Literal["gzip", "zstd", "none"]] = ["gzip", "zstd", "none"]
        for platform, compression in zip(PLATFORMS, compressions, strict=True):
            layers = [layer_of(store, tar_of(member("all/have", b"x" * 5000)))]
            with LayerWriter(store.blobs, compression=compression) as writer:
                writer.add_file(f"as/{compression}", compression.encode() * 2000)
                layers.append(writer.commit())
            image = platform_image(store, platform, *layers)
            manifests.append(replace(image.descriptor, platform=image.platform))
        store.tag(store.write_index(manifests), parse_reference(name))


def assert_same(here: Mover, there: Mover, ours: str, theirs: str) -> None:
    """What came back under the name `theirs` is what went as `ours`, and it is whole."""
    went, came = here.store.resolve(ours), there.store.resolve(theirs)
    assert came.target.digest == went.target.digest
    assert came.blobs == went.blobs
    assert there.store.check() == []
    validate_layout(there.store.blobs.path(went.digest).parents[2])


@pytest.mark.parametrize("kind", ["image", "index"])
def test_by_skopeo(
    real: RealRegistry, here: Mover, there: Mover, tmp_path: Path, kind: str
) -> None:
    """Out of the registry into a layout and into another repository, all platforms."""
    name, other = f"{real.name}/skopeo/{kind}:1", f"{real.name}/skopeo/{kind}-again:2"
    if kind == "image":
        varied_image(here, name)
    else:
        varied_index(here, name)
    here.push(name)
    copy = ("--insecure-policy", "copy", "--all", "--preserve-digests")
    layout, skopeo = f"oci:{tmp_path}/layout:1", tool("skopeo")
    skopeo.output(*copy, "--src-tls-verify=false", f"docker://{name}", layout)
    skopeo.output(*copy, "--dest-tls-verify=false", layout, f"docker://{other}")
    there.pull(other)
    assert_same(here, there, name, other)


def test_by_oras(real: RealRegistry, here: Mover, there: Mover, tmp_path: Path) -> None:
    name, other = f"{real.name}/oras/image:1", f"{real.name}/oras/again:2"
    varied_image(here, name)
    here.push(name)
    oras = tool("oras")
    oras.output("copy", "--from-plain-http", "--to-oci-layout", name, f"{tmp_path}/layout:1")
    oras.output("copy", "--from-oci-layout", "--to-plain-http", f"{tmp_path}/layout:1", other)
    there.pull(other)
    assert_same(here, there, name, other)


def test_by_umoci(real: RealRegistry, here: Mover, there: Mover, tmp_path: Path) -> None:
    """umoci gives an image in a layout another name, and collects what is garbage to it."""
    name, other = f"{real.name}/umoci/image:1", f"{real.name}/umoci/again:2"
    varied_image(here, name)
    here.push(name)
    skopeo, umoci = tool("skopeo"), tool("umoci")
    skopeo.output(
        "--insecure-policy", "copy", "--preserve-digests", "--src-tls-verify=false",
        f"docker://{name}", f"oci:{tmp_path}/layout:1",
    )  # fmt: skip
    umoci.output("tag", "--image", f"{tmp_path}/layout:1", "2")
    umoci.output("rm", "--image", f"{tmp_path}/layout:1")
    umoci.output("gc", "--layout", f"{tmp_path}/layout")
    skopeo.output(
        "--insecure-policy", "copy", "--preserve-digests", "--dest-tls-verify=false",
        f"oci:{tmp_path}/layout:2", f"docker://{other}",
    )  # fmt: skip
    there.pull(other)
    assert_same(here, there, name, other)


@pytest.fixture
def inside(real: RealRegistry, docker: Docker) -> Iterator[RealRegistry]:
    """A registry on Docker's own loopback, over the storage of the one outside."""
    target = f"--target={docker.machine.init}"
    with registry(prefix=["nsenter", target, "--net", "--"]) as running:
        real.storage.mkdir(exist_ok=True)
        running.storage.symlink_to(real.storage)
        yield running


@only_newest
@pytest.mark.parametrize("kind", ["image", "index"])
def test_by_docker(
    real: RealRegistry, inside: RealRegistry, docker: Docker, here: Mover, there: Mover, kind: str
) -> None:
    """Docker 28 with containerd's image store: pulled, each platform of an index, given another
    name, pushed as a whole, and of the index one platform more."""
    name = f"{real.name}/docker/{kind}:1"
    if kind == "image":
        varied_image(here, name)
    else:
        varied_index(here, name)
    here.push(name)
    known, other = f"{inside.name}/docker/{kind}:1", f"{inside.name}/docker/{kind}-again:2"
    platforms = PLATFORMS if kind == "index" else PLATFORMS[:1]
    for platform in platforms:
        docker.ok("pull", "-q", "--platform", platform, known)
    docker.ok("tag", known, other)
    docker.ok("push", "-q", other)
    back = f"{real.name}/docker/{kind}-again:2"
    for platform in platforms:
        there.pull(back, parse_platform(platform))
    assert_same(here, there, name, back)
    assert {each.digest for each in there.store.platforms(back)} == {
        each.digest for each in here.store.platforms(name)
    }
    if kind == "index":
        docker.ok("push", "-q", "--platform", "linux/arm64", other)
        alone = there.pull(back).image
        assert alone.target.digest == here.store.resolve(name, parse_platform("linux/arm64")).digest


@only_newest
def test_by_archives_of_docker(docker: Docker, here: Mover, tmp_path: Path) -> None:
    """An index goes there whole or in part, and comes back by `docker save`."""
    varied_index(here, "docker.io/library/archived:1")
    went, arm = here.store.resolve("archived:1"), parse_platform("linux/arm64")
    archive = docker.machine.folder / "archived.tar"
    for platform in (arm, None):
        with archive.open("wb") as out:
            here.store.save(["archived:1"], out, platform)
        docker.ok("load", "-i", str(archive))
        told = docker.ok("image", "inspect", "-f", "{{.Id}}", "archived:1")
        assert told == went.target.digest
    told = docker.ok("image", "inspect", "--platform", str(arm), "-f", "{{.Id}}", "archived:1")
    assert told == here.store.resolve("archived:1", arm).digest
    docker.ok("save", "-o", str(archive), "archived:1")
    back = ImageStore(tmp_path / "back")
    with archive.open("rb") as file:
        back.load(file)
    assert back.resolve("archived:1").target.digest == went.target.digest
    assert len(back.platforms("archived:1")) == len(PLATFORMS)
    docker.ok("save", "--platform", str(arm), "-o", str(archive), "archived:1")
    with archive.open("rb") as file:
        back.load(file, arm)
    assert back.resolve("archived:1").target.digest == told
    assert back.check() == []
