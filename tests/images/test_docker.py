"""Images to and from the real Docker."""

import io
import json
import subprocess
import tarfile

import pytest
from tests.images.samples import image_of, member, saved, simple_image, tar_of
from tests.peers import Dockerd

from wherry.images import ImageStore, LayerWriter
from wherry.oci import parse_reference

pytestmark = [pytest.mark.root, pytest.mark.dockerd]


def docker(dockerd: Dockerd, *args: str, data: bytes | None = None) -> bytes:
    done = subprocess.run(dockerd.argv(*args), input=data, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_docker_loads_what_we_save(dockerd: Dockerd, store: ImageStore) -> None:
    with store.hold():
        with LayerWriter(store.blobs) as writer:
            writer.add_file("a", b"1")
            writer.add_file("b", b"2")
            first = writer.commit()
        with LayerWriter(store.blobs) as writer:
            writer.add_whiteout("a")
            second = writer.commit()
        image = image_of(store, first, second, name="example.com/ours:1")
    store.tag(image.target, parse_reference("ours"))
    told = docker(dockerd, "load", data=saved(store, "example.com/ours:1", "ours"))
    assert b"example.com/ours:1" in told and b"ours:latest" in told
    inspected = json.loads(docker(dockerd, "image", "inspect", "ours"))[0]
    assert sorted(inspected["RepoTags"]) == ["example.com/ours:1", "ours:latest"]
    assert inspected["RootFS"]["Layers"] == image.config.rootfs.diff_ids
    assert (inspected["Os"], inspected["Architecture"]) == ("linux", "wasm")
    assert inspected["Config"]["Entrypoint"] == ["/hello.wasm"]


def test_we_load_what_docker_saves(dockerd: Dockerd, store: ImageStore) -> None:
    tar = tar_of(member("x", b"1"), member("d", type=tarfile.DIRTYPE, mode=0o755))
    base = docker(dockerd, "import", "-", "theirs:1", data=tar).decode().strip()
    dockerfile = b'FROM theirs:1\nLABEL a=b\nENV K=V\nCOPY Dockerfile /x\nCMD ["/x"]\n'
    context = tar_of(member("Dockerfile", dockerfile))
    subprocess.run(
        dockerd.argv("build", "-q", "-t", "theirs:2", "-"),
        input=context,
        check=True,
        capture_output=True,
        env={"DOCKER_BUILDKIT": "0", "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
    )
    archive = docker(dockerd, "save", "theirs:1", "theirs:2")
    assert sorted(store.load(io.BytesIO(archive))) == ["theirs:1", "theirs:2"]
    assert store.resolve("theirs:1").id == base
    image = store.resolve("theirs:2")
    inspected = json.loads(docker(dockerd, "image", "inspect", "theirs:2"))[0]
    assert image.id == inspected["Id"]
    assert image.config.config and image.config.config.labels == {"a": "b"}
    assert (store.lowerdirs(image)[0] / "x").read_bytes() == dockerfile
    assert store.check() == []


def test_an_image_comes_back_from_docker(dockerd: Dockerd, store: ImageStore) -> None:
    image = simple_image(store, "round", "trip")
    docker(dockerd, "load", data=saved(store, "round"))
    store.remove("round")
    assert store.load(io.BytesIO(docker(dockerd, "save", "round"))) == ["round:latest"]
    assert (
        store.resolve("round").id
        == json.loads(docker(dockerd, "image", "inspect", "round"))[0]["Id"]
    )
    assert store.resolve("round").config.rootfs == image.config.rootfs
