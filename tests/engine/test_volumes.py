"""Volumes, named and anonymous, from their first use to their end; bind mounts."""

from pathlib import Path

import pytest
from tests.engine.kitchen import make, make_image, run

from wherry.engine import Conflict, Engine, EngineError, InvalidRequest, NotFound
from wherry.engine.config import ContainerConfig, HostConfig, MountRequest, VolumeOptions
from wherry.engine.containers.container import Container
from wherry.engine.containers.context import Context
from wherry.engine.containers.task import make_task
from wherry.engine.containers.volume_parts import mounted_path
from wherry.engine.filters import Filters
from wherry.engine.record import Mounted
from wherry.oci import RuntimeConfig


def content(engine: Engine, name: str) -> dict[str, str]:
    """The files of a volume."""
    top = engine.volumes.path(name)
    return {
        str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()
    }


async def test_volumes_are_made_listed_and_removed(engine: Engine) -> None:
    made = engine.volumes.create("data", labels={"tier": "test"})
    assert engine.volumes.create("data") == made
    assert Path(made.mountpoint).is_dir()
    nameless = engine.volumes.create()
    assert len(nameless.name) == 64
    assert [volume.name for volume in engine.volumes.list(Filters({"label": ["tier"]}))] == ["data"]
    assert [volume.name for volume in engine.volumes.list(Filters({"name": ["dat"]}))] == ["data"]
    await engine.volumes.remove("data")
    with pytest.raises(NotFound, match="get data: no such volume"):
        engine.volumes.get("data")
    await engine.volumes.remove("data", force=True)
    assert not Path(made.mountpoint).exists()


@pytest.mark.parametrize("name", ["a", "../up", "a/b", "-x", "ü1"])
async def test_names_that_are_none(engine: Engine, name: str) -> None:
    with pytest.raises(InvalidRequest, match="includes invalid characters"):
        engine.volumes.create(name)


async def test_a_volume_in_use_cannot_be_removed(engine: Engine) -> None:
    container = await make(engine, host=HostConfig(binds=["data:/data"]))
    with pytest.raises(Conflict, match=f"volume is in use - .{container.id}"):
        await engine.volumes.remove("data")
    assert engine.volumes.list(Filters({"dangling": ["true"]})) == []
    await engine.containers.remove(container, volumes=True)
    assert [volume.name for volume in engine.volumes.list()] == ["data"]
    await engine.volumes.remove("data")


async def test_anonymous_volumes_go_with_their_container_when_asked(engine: Engine) -> None:
    make_image(engine.store, "vol", config=RuntimeConfig(cmd=["/echo.wasm"], volumes={"/d": {}}))
    first, second = await make(engine, image="vol"), await make(engine, image="vol")
    assert len(engine.volumes.list()) == 2
    await engine.containers.remove(first, volumes=True)
    (left,) = engine.volumes.list()
    await engine.containers.remove(second)
    assert engine.volumes.list() == [left]
    report = await engine.volumes.prune()
    assert report.volumes_deleted == [left.name]


async def test_prune_spares_named_volumes_unless_all(engine: Engine) -> None:
    engine.volumes.create("named")
    (engine.volumes.path("named") / "file").write_bytes(b"x" * 100)
    assert (await engine.volumes.prune()).volumes_deleted == []
    report = await engine.volumes.prune(Filters({"all": ["true"]}))
    assert (report.volumes_deleted, report.space_reclaimed) == (["named"], 4096)


async def test_usage_counts_bytes_and_containers(engine: Engine) -> None:
    await make(engine, host=HostConfig(binds=["data:/data"]))
    (engine.volumes.path("data") / "file").write_bytes(b"x" * 100)
    (volume,) = await engine.volumes.usage()
    assert (volume.usage_data.size, volume.usage_data.ref_count) == (4096, 1)  # type: ignore[union-attr]


async def test_an_empty_volume_gets_what_the_image_has_there(engine: Engine) -> None:
    files: dict[str, bytes | str | None] = {
        "data/one": b"1",
        "data/deep/two": b"2",
        "data/link": "one",
    }
    make_image(engine.store, "full", files)
    await make(engine, image="full", host=HostConfig(binds=["vol:/data"]))
    assert content(engine, "vol") == {"one": "1", "deep/two": "2", "link": "1"}
    assert (engine.volumes.path("vol") / "link").is_symlink()


async def test_a_volume_with_something_in_it_stays_as_it_is(engine: Engine) -> None:
    make_image(engine.store, "full", {"data/one": b"1"})
    engine.volumes.create("vol")
    (engine.volumes.path("vol") / "own").write_text("own")
    await make(engine, image="full", host=HostConfig(binds=["vol:/data"]))
    assert content(engine, "vol") == {"own": "own"}


async def test_nothing_is_copied_when_not_wanted(engine: Engine) -> None:
    make_image(engine.store, "full", {"data/one": b"1"})
    request = MountRequest(
        type="volume", source="vol", target="/data", volume_options=VolumeOptions(no_copy=True)
    )
    await make(engine, image="full", host=HostConfig(mounts=[request]))
    assert content(engine, "vol") == {}


async def test_what_is_copied_never_comes_from_outside_the_image(engine: Engine) -> None:
    outside = engine.root / "secret"
    outside.mkdir()
    (outside / "key").write_text("secret")
    make_image(engine.store, "sly", {"data": str(outside)})
    await make(engine, image="sly", host=HostConfig(binds=["vol:/data"]))
    assert content(engine, "vol") == {}


async def test_a_missing_bind_source_is_made_for_v(engine: Engine, tmp_path: Path) -> None:
    source = tmp_path / "not" / "there"
    container = await make(
        engine, "/exit.wasm", host=HostConfig(binds=[f"{source}:/data", "vol:/vol:ro"])
    )
    assert source.is_dir()
    assert await run(engine, container) == (0, "")
    shown = {
        point.destination: point for point in (await engine.containers.inspect(container)).mounts
    }
    assert (shown["/data"].type, shown["/data"].source) == ("bind", str(source))
    assert (shown["/vol"].name, shown["/vol"].rw) == ("vol", False)
    assert shown["/vol"].source == str(engine.volumes.path("vol"))


async def test_volumes_from_brings_another_containers_mounts(engine: Engine) -> None:
    await make(engine, name="first", host=HostConfig(binds=["vol:/data"]))
    second = await make(engine, host=HostConfig(volumes_from=["first:ro"]))
    (mount,) = second.record.mounts
    assert (mount.name, mount.destination, mount.read_only) == ("vol", "/data", True)


async def test_a_container_that_fails_to_be_made_leaves_no_anonymous_volume(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wherry.engine.containers.create._make_bundle", full)
    config = ContainerConfig(volumes={"/data": {}})
    with pytest.raises(Exception, match="No space left on device"):
        await make(engine, config=config)
    assert engine.volumes.list() == []
    assert list((engine.root / "containers").iterdir()) == []


@pytest.mark.parametrize("then", ["start", "copy"])
async def test_a_part_that_becomes_a_link_before_it_is_mounted_is_not_mounted(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    engine.volumes.create("data")
    part = engine.volumes.path("data") / "part"
    part.mkdir()
    part.joinpath("file").write_text("mine")
    request = MountRequest(
        type="volume", source="data", target="/m", volume_options=VolumeOptions(subpath="part")
    )
    container = await make(engine, "/echo.wasm", host=HostConfig(mounts=[request]))
    assert (await run(engine, container))[0] == 0
    assert (await engine.containers.stat_path(container, "/m/file")).size == len("mine")

    def found_too_early(context: Context, mount: Mounted) -> str:
        path = mounted_path(context, mount)
        part.rename(part.with_name("aside"))
        part.symlink_to("../..")  # out of the volume
        return path

    module = "task" if then == "start" else "rootfs"
    monkeypatch.setattr(f"wherry.engine.containers.{module}.mounted_path", found_too_early)
    with pytest.raises(EngineError, match="'part' of volume data was replaced"):
        if then == "start":
            await engine.containers.start(container)
        else:
            await engine.containers.stat_path(container, "/m/file")


async def test_a_part_is_not_taken_for_mounted_because_it_is_seen_by_another_way(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.volumes.create("data")
    volume = engine.volumes.path("data")
    part, way = volume / "part", volume / "way"
    part.mkdir()
    way.symlink_to("/other")
    mounts = [
        MountRequest(type="volume", source="data", target="/v"),
        MountRequest(type="volume", source="other", target="/other"),
        MountRequest(
            type="volume", source="data", target="/v/way",
            volume_options=VolumeOptions(subpath="part"),
        ),
    ]  # fmt: skip
    container = await make(engine, "/echo.wasm", host=HostConfig(mounts=mounts))

    def found_too_early(context: Context, mount: Mounted) -> str:
        path = mounted_path(context, mount)
        if mount.subpath:
            part.rename(part.with_name("aside"))
            part.symlink_to("../..")  # out of the volume
        return path

    async def made(context: Context, container: Container) -> tuple[object, int]:
        task = await make_task(context, container)
        part.unlink()
        part.with_name("aside").rename(part)
        way.unlink()
        way.symlink_to("part")
        return task

    monkeypatch.setattr("wherry.engine.containers.task.mounted_path", found_too_early)
    monkeypatch.setattr("wherry.engine.containers.lifecycle.make_task", made)
    with pytest.raises(EngineError, match="'part' of volume data was replaced"):
        await engine.containers.start(container)
