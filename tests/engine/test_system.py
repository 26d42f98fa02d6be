"""The engine as a whole: what it tells of itself, and room counted to the byte."""

import asyncio
import os
import subprocess

import pytest
from tests.engine.kitchen import make, make_image, run

from wherry import __version__, disk
from wherry.engine import Engine, InvalidRequest
from wherry.engine.config import HostConfig
from wherry.engine.filters import Filters
from wherry.engine.inspection import VolumeUsage
from wherry.oci import Digest

pytestmark = pytest.mark.root


async def test_versions_name_the_engine_and_its_parts(engine: Engine) -> None:
    version = engine.system.version(api="1.51", oldest_api="1.24")
    assert (version.version, version.api_version) == (__version__, "1.51")
    assert [part.name for part in version.components] == ["Engine", "wasmtime"]


async def test_info_counts_what_there_is(engine: Engine) -> None:
    running = await make(engine, "/loop.wasm")
    await make(engine, "/echo.wasm")
    await engine.containers.start(running)
    info = await engine.system.info()
    assert (info["Containers"], info["ContainersRunning"], info["ContainersStopped"]) == (2, 1, 1)
    assert info["Images"] == 1
    assert info["DockerRootDir"] == str(engine.root)


async def test_usage_of_images_is_what_the_disk_says(engine: Engine) -> None:
    make_image(engine.store, "one", {"shared": b"1" * 1000})
    await engine.images.tag("one", "two", "")
    container = await make(engine, "/echo.wasm", image="one")
    usage = await engine.system.usage()
    blobs = sum(disk.allocated(path) for path in (engine.root / "images/blobs/sha256").iterdir())
    layers = [p for p in (engine.root / "layers").iterdir() if p.name not in ("empty", "ingest")]
    assert len(layers) == 1
    assert usage.layers_size == blobs + disk.allocated(layers[0])
    assert isinstance(usage.images, list)
    used = {image.id: image.containers for image in usage.images}
    assert used[container.image_id] == 1
    assert sorted(used.values()) == [0, 1]


async def test_all_kinds_together_are_what_du_says(engine: Engine) -> None:
    make_image(engine.store, "one", {"content": os.urandom(100_000)})
    orphan = engine.store.blobs.write("text/plain", os.urandom(50_000))
    host = HostConfig(binds=["kept:/data"])
    container = await make(engine, "/echo.wasm", "words", image="one", host=host)
    await run(engine, container)
    await make(engine, "/echo.wasm", image="one", host=HostConfig(binds=["unused:/data"]))
    (engine.volumes.path("kept") / "file").write_bytes(os.urandom(30_000))
    (engine.root / "containers" / container.id / "upper/written").write_bytes(b"x" * 20_000)
    async with asyncio.timeout(60):
        while True:  # the engine may be at work between the two
            usage = await engine.system.usage()
            assert isinstance(usage.disk, list)
            told = sum(kind.size for kind in usage.disk)
            du = ["du", "-sB1", str(engine.root)]
            said = subprocess.run(du, capture_output=True, text=True, check=True)
            if told == int(said.stdout.split()[0]):
                break
    kinds = {kind.type: kind for kind in usage.disk}
    assert [*kinds] == [
        "Images", "Containers", "Local Volumes", "Build Cache", "Compiled Code", "Engine",
    ]  # fmt: skip
    assert kinds["Build Cache"].size == disk.allocated(
        engine.store.blobs.path(Digest(orphan.digest))
    )
    assert (kinds["Containers"].total_count, kinds["Containers"].active) == (2, 0)
    assert kinds["Containers"].size == disk.below(engine.root / "containers")
    assert isinstance(usage.containers, list) and isinstance(usage.volumes, list)
    written = {each.id: each.size_rw for each in usage.containers}
    upper = engine.root / "containers" / container.id / "upper"
    assert written[container.id] == disk.below(upper) >= 20_000
    held = {volume.name: volume.usage_data or VolumeUsage() for volume in usage.volumes}
    assert held["kept"].size == disk.below(engine.volumes.path("kept")) > 0
    assert held["unused"].size == 0


async def test_what_is_called_reclaimable_is_what_pruning_frees(engine: Engine) -> None:
    make_image(engine.store, "one", {"content": os.urandom(100_000)})
    engine.store.lowerdirs(engine.store.resolve("one"))
    await make(engine, "/echo.wasm")
    before = await engine.system.usage()
    report = await engine.images.prune(Filters({"dangling": ["false"]}))
    after = await engine.system.usage()
    assert isinstance(before.disk, list) and isinstance(after.disk, list)
    assert report.space_reclaimed == before.disk[0].reclaimable > 100_000
    assert before.disk[0].size - after.disk[0].size == report.space_reclaimed
    assert after.disk[0].reclaimable == 0


async def test_usage_is_told_before_anything_was_built(engine: Engine) -> None:
    assert not (engine.root / "build").exists()
    usage = await engine.system.usage(["build-cache"])
    assert (usage.build_cache, usage.builder_size) == ([], 0)


async def test_only_what_was_asked_for_is_counted(engine: Engine) -> None:
    usage = await engine.system.usage(["volume"])
    assert usage.volumes == []
    assert not usage.images
    with pytest.raises(InvalidRequest, match="nonsense"):
        await engine.system.usage(["nonsense"])
