"""Archives from a container, honest ones and others."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wherry.client.unpack import UnpackError, unpack


def member(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> Iterator[bytes]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    data = out.getvalue()
    return (data[start : start + 300] for start in range(0, len(data), 300))


def folder(name: str, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.DIRTYPE, **{"mode": 0o755, **fields})


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=kind, linkname=target)


complaints: list[str] = []


def take(stream: Iterator[bytes], target: Path) -> int:
    complaints.clear()
    return unpack(stream, str(target), complain=complaints.append)


def test_a_tree_gets_its_names_contents_modes_and_times(tmp_path: Path) -> None:
    size = take(
        archive(
            folder("etc", mode=0o750, mtime=1_000_000),
            member("etc/a", b"one", mode=0o4755, mtime=2_000_000),
            link("etc/l", "/etc/passwd"),
            link("etc/h", "etc/a", tarfile.LNKTYPE),
            folder("etc/sub", mode=0o555),
            member("etc/sub/b", b"two"),
        ),
        tmp_path / "out",
    )
    out = tmp_path / "out"
    assert size == 6
    assert (out / "a").read_bytes() == b"one"
    assert stat.S_IMODE((out / "a").stat().st_mode) == 0o755, "set-user-id must go"
    assert int((out / "a").stat().st_mtime) == 2_000_000
    assert os.readlink(out / "l") == "/etc/passwd"
    assert (out / "h").samefile(out / "a")
    assert (out / "sub" / "b").read_bytes() == b"two"
    assert stat.S_IMODE((out / "sub").stat().st_mode) == 0o555
    assert stat.S_IMODE(out.stat().st_mode) == 0o750
    assert int(out.stat().st_mtime) == 1_000_000


def test_a_file_replaces_a_file_and_a_link_but_no_folder(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("safe")
    (tmp_path / "f").symlink_to("outside")
    take(archive(member("x", b"new")), tmp_path / "f")
    assert (tmp_path / "outside").read_text() == "safe"
    assert (tmp_path / "f").read_bytes() == b"new"
    assert not (tmp_path / "f").is_symlink()
    (tmp_path / "d").mkdir()
    with pytest.raises(UnpackError, match="in the place of a file"):
        take(archive(member("x", b"new")), tmp_path / "d")


def test_a_root_called_dot_fills_the_target(tmp_path: Path) -> None:
    take(archive(folder("./"), member("./a", b"1")), tmp_path / "out")
    assert (tmp_path / "out" / "a").read_bytes() == b"1"


@pytest.mark.parametrize(
    "members",
    [
        [folder("d"), member("d/../../escaped", b"x")],
        [folder("d"), member("../escaped", b"x")],
        [folder("d"), member("/escaped", b"x")],
        [folder("d"), member("escaped", b"x")],
        [folder("d"), link("d/out", ".."), member("d/out/escaped", b"x")],
        [folder("d"), link("d/out", "/tmp"), folder("d/out/escaped")],
        [folder("d"), link("d/h", "../escaped", tarfile.LNKTYPE)],
        [folder("d"), link("d/h", "/etc/passwd", tarfile.LNKTYPE)],
        [link("d", "/tmp"), member("d/escaped", b"x")],
    ],
)
def test_no_archive_writes_or_links_outside_of_the_target(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    with pytest.raises(UnpackError):
        take(archive(*members), inner / "out")
    assert not list(tmp_path.rglob("escaped"))
    assert not Path("/tmp/escaped").exists()


def test_a_link_of_the_archive_is_replaced_by_a_folder_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    take(
        archive(folder("d"), link("d/x", "../elsewhere"), folder("d/x"), member("d/x/f", b"1")),
        tmp_path / "d",
    )
    assert (tmp_path / "d" / "x" / "f").read_bytes() == b"1"
    assert not list((tmp_path / "elsewhere").iterdir())


def test_devices_are_left_out_and_told(tmp_path: Path) -> None:
    take(
        archive(folder("d"), member("d/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)),
        tmp_path / "d",
    )
    assert not (tmp_path / "d" / "null").exists()
    assert complaints == ["d/null: a device or FIFO, left out"]


@pytest.mark.parametrize("length", [100, 1100])
def test_a_damaged_archive_is_told(tmp_path: Path, length: int) -> None:
    data = b"".join(archive(folder("d"), member("d/a", b"x" * 5000)))
    with pytest.raises(UnpackError, match="damaged"):
        take(iter([data[:length]]), tmp_path / "d")
