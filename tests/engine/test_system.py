"""The engine as a whole: what it tells of itself, and room counted to the byte."""

import pytest
from tests.engine.kitchen import make, make_image

from wherry import __version__
from wherry.engine import Engine, InvalidRequest

pytestmark = pytest.mark.root


async def test_versions_name_the_engine_and_its_parts(engine: Engine) -> None:
    version = engine.system.version(api="1.45", oldest_api="1.24")
    assert (version.version, version.api_version) == (__version__, "1.45")
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
    blobs = sum(path.stat().st_size for path in (engine.root / "images/blobs/sha256").iterdir())
    unpacked = sum(
        path.lstat().st_size
        for path in (engine.root / "layers").glob("*/fs/**/*")
        if path.is_file() and not path.is_symlink()
    )
    assert unpacked > 0
    assert usage.layers_size == blobs + unpacked
    assert isinstance(usage.images, list)
    used = {image.id: image.containers for image in usage.images}
    assert used[container.image_id] == 1
    assert sorted(used.values()) == [0, 1]


async def test_only_what_was_asked_for_is_counted(engine: Engine) -> None:
    usage = await engine.system.usage(["volume"])
    assert usage.volumes == []
    assert not usage.images
    with pytest.raises(InvalidRequest, match="nonsense"):
        await engine.system.usage(["nonsense"])
