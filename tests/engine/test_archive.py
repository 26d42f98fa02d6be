"""Copying in and out of containers that run and that do not, never out of their root."""

import io
import stat
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest
from tests.engine.kitchen import interactive, make, make_image

from wherry.engine import Engine, Forbidden, InvalidRequest, NotFound
from wherry.engine.config import HostConfig
from wherry.engine.containers import Container


async def container(engine: Engine, *, running: bool, host: HostConfig | None = None) -> Container:
    make_image(
        engine.store,
        "files",
        {"etc/motd": b"hello", "data/a": b"A", "data/deep/b": b"B", "link": "/data/a"},
    )
    config = interactive("/echo.wasm")
    config.image = "files"
    made = await make(engine, image="files", config=config, host=host)
    if running:
        await engine.containers.start(made)
    return made


async def fetch(engine: Engine, made: Container, path: str) -> dict[str, bytes]:
    _, tar = await engine.containers.get_archive(made, path)
    return await unpacked(tar)


async def unpacked(tar: AsyncGenerator[bytes, None]) -> dict[str, bytes]:
    data = b"".join([chunk async for chunk in tar])
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            found[member.name] = file.read() if file else b""
    return found


def packed(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


async def sent(data: bytes) -> AsyncIterator[bytes]:
    yield data


@pytest.mark.parametrize("running", [False, True])
async def test_files_come_out_and_go_in(engine: Engine, running: bool) -> None:
    made = await container(engine, running=running)
    assert await fetch(engine, made, "/data") == {
        "data": b"",
        "data/a": b"A",
        "data/deep": b"",
        "data/deep/b": b"B",
    }
    await engine.containers.put_archive(made, "/data", sent(packed(new=b"N")))
    assert await fetch(engine, made, "/data/new") == {"new": b"N"}
    changes = {change.path: change.kind for change in await engine.containers.changes(made)}
    assert changes["/data/new"] == 1
    assert changes["/data"] == 0
    exported = await unpacked(engine.containers.export(made))
    assert exported["data/new"] == b"N"
    assert exported["etc/motd"] == b"hello"
    assert "hosts" not in exported


@pytest.mark.parametrize("running", [False, True])
async def test_volumes_are_part_of_it(engine: Engine, running: bool) -> None:
    made = await container(engine, running=running, host=HostConfig(binds=["vol:/vol"]))
    await engine.containers.put_archive(made, "/vol", sent(packed(kept=b"K")))
    assert (engine.volumes.path("vol") / "kept").read_bytes() == b"K"
    assert await fetch(engine, made, "/vol/kept") == {"kept": b"K"}
    assert "vol/kept" not in await unpacked(engine.containers.export(made))


async def test_what_is_at_a_path(engine: Engine) -> None:
    made = await container(engine, running=False)
    found = await engine.containers.stat_path(made, "/data/a")
    assert (found.name, found.size, found.mode) == ("a", 1, 0o644)
    folder = await engine.containers.stat_path(made, "/data/")
    assert folder.mode == 1 << 31 | 0o755
    link = await engine.containers.stat_path(made, "/link")
    assert link.mode & 1 << 27
    assert link.link_target == "/data/a"
    with pytest.raises(NotFound):
        await engine.containers.stat_path(made, "/nothing")
    with pytest.raises(NotFound):
        await engine.containers.get_archive(made, "/nothing")


@pytest.mark.parametrize("running", [False, True])
async def test_no_path_and_no_link_leads_out(engine: Engine, tmp_path: Path, running: bool) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    make_image(engine.store, "sly", {"out": str(secret), "up": "../../../../../../.."})
    config = interactive("/echo.wasm")
    config.image = "sly"
    made = await make(engine, image="sly", config=config)
    if running:
        await engine.containers.start(made)
    for path in ("/out/key", f"/up{secret}/key", f"/../../../..{secret}/key", f"{secret}/key"):
        with pytest.raises((NotFound, InvalidRequest)):
            await engine.containers.get_archive(made, path)
    with pytest.raises((NotFound, InvalidRequest)):
        await engine.containers.put_archive(made, "/out", sent(packed(key=b"mine")))
    with pytest.raises(InvalidRequest):
        await engine.containers.put_archive(made, "/", sent(packed(**{"../key": b"mine"})))
    assert stat.S_ISREG((secret / "key").stat().st_mode)
    assert (secret / "key").read_text() == "secret"


async def test_read_only_roots_and_volumes_stay_as_they_are(engine: Engine) -> None:
    host = HostConfig(readonly_rootfs=True, binds=["vol:/vol:ro", "free:/free"])
    made = await container(engine, running=False, host=host)
    with pytest.raises(Forbidden, match="container rootfs is marked read-only"):
        await engine.containers.put_archive(made, "/", sent(packed(x=b"")))
    with pytest.raises(Forbidden, match="mounted volume is marked read-only"):
        await engine.containers.put_archive(made, "/vol", sent(packed(x=b"")))
    await engine.containers.put_archive(made, "/free", sent(packed(x=b"X")))
    assert (engine.volumes.path("free") / "x").read_bytes() == b"X"


async def test_broken_tars_are_refused(engine: Engine) -> None:
    made = await container(engine, running=False)
    with pytest.raises(InvalidRequest):
        await engine.containers.put_archive(made, "/data", sent(b"no tar" * 200))
    with pytest.raises((NotFound, InvalidRequest)):
        await engine.containers.put_archive(made, "/data/a", sent(packed(x=b"")))
