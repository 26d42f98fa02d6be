"""Images that travel through skopeo and a real registry, and pulls onto a full disk."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.images.mover import Mover, index_of, ingested, sized_image
from tests.images.samples import layer_of, member, simple_image, tar_of
from tests.images.test_full_disk import fill
from tests.images.test_peers import rich_image, run
from tests.registries import Faults, RealRegistry

from wherry.images import ImageError, StorageFull
from wherry.images.transfer import progress
from wherry.oci import (
    Descriptor,
    Digest,
    ImageConfig,
    Manifest,
    MediaType,
    RootFS,
    decode,
    encode,
    parse_platform,
    parse_reference,
)

_DIRECT = ("--src-tls-verify=false", "--dest-tls-verify=false")


def test_digests_survive_every_leg_of_a_round_trip(
    real: RealRegistry, here: Mover, there: Mover, tmp_path: Path
) -> None:
    first, second = f"{real.name}/trip/first:1", f"{real.name}/trip/second:1"
    name = parse_reference(first)
    image = rich_image(here.store)
    index = index_of(here.store, first, [(image, "wasi/wasm")])
    here.push(first)
    layout = tmp_path / "layout"
    run(
        "skopeo",
        "copy",
        "--all",
        "--preserve-digests",
        *_DIRECT,
        f"docker://{first}",
        f"oci:{layout}:x",
    )
    run(
        "skopeo",
        "copy",
        "--all",
        "--preserve-digests",
        *_DIRECT,
        f"oci:{layout}:x",
        f"docker://{second}",
    )
    pulled = there.pull(second)
    assert pulled.target.digest == index.digest
    assert pulled.image.digest == image.digest
    assert pulled.image.id == image.id
    for digest in (index.digest, *image.blobs):
        data = there.store.blobs.path(Digest(digest)).read_bytes()
        assert data == here.store.blobs.path(Digest(digest)).read_bytes()
    assert there.store.check() == []
    assert here.store.target(name)


def test_dockers_manifests_stay_as_they_are(
    real: RealRegistry, here: Mover, there: Mover, tmp_path: Path
) -> None:
    plain, schema2 = f"{real.name}/docker/oci:1", f"{real.name}/docker/v2s2:1"
    simple_image(here.store, plain)
    here.push(plain)
    run("skopeo", "copy", "-f", "v2s2", *_DIRECT, f"docker://{plain}", f"docker://{schema2}")
    raw = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{schema2}"],
        check=True,
        capture_output=True,
    ).stdout
    pulled = there.pull(schema2)
    assert pulled.target.media_type == MediaType.DOCKER_MANIFEST
    assert there.store.blobs.path(pulled.image.digest).read_bytes() == raw
    again = f"{real.name}/docker/again:1"
    there.store.tag(pulled.target, parse_reference(again))
    there.push(again)
    assert here.pull(again).target == pulled.target


def test_manifests_without_a_media_type_stay_as_they_are(
    real: RealRegistry, here: Mover, there: Mover
) -> None:
    name = f"{real.name}/untyped:1"
    image = simple_image(here.store, None, "untyped")
    data = here.store.blobs.read(image.digest, 1 << 20)
    document = json.loads(data)
    del document["mediaType"]
    bare = json.dumps(document, indent=3).encode()
    with here.store.hold():
        target = here.store.blobs.write(MediaType.MANIFEST, bare)
        here.store.tag(target, parse_reference(name))
    here.push(name)
    pulled = there.pull(name)
    assert pulled.image.digest == target.digest
    assert there.store.blobs.path(pulled.image.digest).read_bytes() == bare


def test_layers_of_linux_images_are_unpacked_as_they_come(
    real: RealRegistry, here: Mover, there: Mover, tmp_path: Path
) -> None:
    name = f"{real.name}/linux:1"
    platform = parse_platform("linux/arm64")
    with here.store.hold():
        layers = [layer_of(here.store, tar_of(member(f"f{n}", b"x" * n))) for n in range(3)]
        config = ImageConfig(
            architecture=platform.architecture,
            os=platform.os,
            rootfs=RootFS(diff_ids=[layer.diff_id for layer in layers]),
        )
        found = [layer.descriptor for layer in layers]
        here.store.write_image(config, found, reference=parse_reference(name))
        again = parse_reference(f"{real.name}/linux:2")
        here.store.write_image(config, found, reference=again, annotations={"another": "manifest"})
    here.push(name)
    here.push(str(again))
    pulled = there.pull(name, platform)
    for layer in layers:
        assert there.states(layer.descriptor.digest)[-2:] == ["Extracting", "Pull complete"]
    unpacked = [path for path in (tmp_path / "there" / "layers").iterdir() if path.name != "empty"]
    assert len([path for path in unpacked if (path / "fs").is_dir()]) == 3
    assert there.store.lowerdirs(pulled.image)
    there.pull(str(again), platform)
    for layer in layers:
        assert there.states(layer.descriptor.digest) == ["Already exists"]


def test_layers_on_other_hosts_are_not_fetched(
    real: RealRegistry, here: Mover, there: Mover
) -> None:
    name = f"{real.name}/foreign:1"
    image = simple_image(here.store, None, "foreign")
    manifest = decode(here.store.blobs.read(image.digest, 1 << 20), Manifest, "manifest")
    with Faults() as elsewhere:
        foreign = {
            **json.loads(encode(manifest.layers[0])),
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "urls": [f"{elsewhere.url}/layer"],
        }
        document = {**json.loads(encode(manifest)), "layers": [foreign]}
        with here.store.hold():
            target = here.store.blobs.write(MediaType.MANIFEST, json.dumps(document).encode())
            here.store.tag(target, parse_reference(name))
        here.push(name)
        with pytest.raises(ImageError, match="on other hosts"):
            there.pull(name)
        assert elsewhere.requests() == []
    assert there.store.list() == []


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2M", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.mark.root
def test_a_full_disk_is_told_and_given_back(real: RealRegistry, here: Mover, small: Path) -> None:
    name = f"{real.name}/big:1"
    sized_image(here.store, name, [10_000, 900_000, 900_000], seed="full")
    here.push(name)
    full = Mover(small / "data")
    kept = simple_image(full.store, "kept")
    fill(small, 1_200_000)
    before = {path for path in small.rglob("*") if path.is_file()}
    with pytest.raises(StorageFull, match="no space left"):
        full.pull(name)
    assert [image.digest for image in full.store.list()] == [kept.digest]
    assert full.store.check() == []
    left = ingested(small / "data")
    assert {path for path in small.rglob("*") if path.is_file()} - before == {
        small / "data" / "images" / "ingest" / each for each in left
    }
    (small / "ballast").unlink()
    full.store.prune()
    assert ingested(small / "data") == {}


def test_progress_is_told_a_few_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    told: list[progress.Event] = []
    blob = Descriptor(media_type="x", digest="sha256:" + "a" * 64, size=1000)
    meter = progress.Meter(told.append, blob, progress.BlobState.DOWNLOADING)
    for done in range(1000):
        meter.at(done)
        now[0] += 0.001
    assert 9 <= len(told) <= 11
