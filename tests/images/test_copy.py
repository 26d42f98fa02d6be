"""Copying in and out of a root filesystem that is not to be trusted."""

import gzip
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from tests.images.samples import member, tar_of

from wherry.images import ImageError, InvalidLayer
from wherry.images.copy import (
    NoSuchPath,
    WrongKind,
    copy_tree,
    read_tree,
    stat_path,
    write_tree,
)


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    """A root filesystem with links that try to lead out."""
    root = tmp_path / "rootfs"
    (root / "app/data").mkdir(parents=True)
    (root / "app/data/file").write_text("data")
    (root / "app/data/again").hardlink_to(root / "app/data/file")
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("inside")
    (root / "link").symlink_to("/app/data")
    (root / "out").symlink_to("/../../../../../../etc")
    (root / "host").symlink_to(tmp_path / "secret")
    os.mkfifo(root / "app/pipe")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("secret")
    return root


def read(root: Path, path: str, name: str | None = None) -> dict[str, tuple[bytes, bytes, str]]:
    out = io.BytesIO()
    read_tree(root, path, out, name=name)
    out.seek(0)
    found = {}
    with tarfile.open(fileobj=out) as tar:
        for info in tar:
            file = tar.extractfile(info) if info.isreg() else None
            found[info.name] = (info.type, file.read() if file else b"", info.linkname)
    return found


FOLDER, FILE, HARD, SOFT = tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE


def test_a_folder_comes_under_its_own_name(rootfs: Path) -> None:
    expected = {
        "data": (FOLDER, b"", ""),
        "data/again": (FILE, b"data", ""),
        "data/file": (HARD, b"", "data/again"),
    }
    for path in ("/app/data", "app/data", "/app/data/", "/app/../app//data", "../../app/data"):
        assert read(rootfs, path) == expected


def test_a_file_comes_under_its_own_name(rootfs: Path) -> None:
    assert read(rootfs, "/etc/passwd") == {"passwd": (FILE, b"inside", "")}


def test_the_name_can_be_another_or_none(rootfs: Path) -> None:
    assert [*read(rootfs, "/app/data", "x")] == ["x", "x/again", "x/file"]
    assert [*read(rootfs, "/app/data", "")] == ["again", "file"]
    assert "etc/passwd" in read(rootfs, "/", "")


def test_the_whole_root_comes_with_slashes(rootfs: Path) -> None:
    out = io.BytesIO()
    read_tree(rootfs, "/", out)
    out.seek(0)
    assert b"/app/data/" in out.read()


def test_a_last_link_is_followed_only_with_a_slash(rootfs: Path) -> None:
    assert read(rootfs, "/link") == {"link": (SOFT, b"", "/app/data")}
    assert [*read(rootfs, "/link/")] == ["data", "data/again", "data/file"]
    assert read(rootfs, "/link/file") == {"file": (FILE, b"data", "")}


@pytest.mark.parametrize("path", ["/host", "/host/key", "/host/"])
def test_links_do_not_lead_out_when_reading(rootfs: Path, path: str) -> None:
    if path == "/host":
        assert read(rootfs, path)["host"][0] == SOFT
    else:
        with pytest.raises(NoSuchPath):
            read(rootfs, path)
    assert read(rootfs, "/out/passwd")["passwd"][1] == b"inside"


def test_what_is_not_there_is_told(rootfs: Path) -> None:
    with pytest.raises(NoSuchPath, match="/nope"):
        read(rootfs, "/nope")
    with pytest.raises(NoSuchPath):
        stat_path(rootfs, "/app/nope/x")
    with pytest.raises(WrongKind):
        stat_path(rootfs, "/etc/passwd/x")
    with pytest.raises(NoSuchPath):
        write_tree(rootfs, "/nope", io.BytesIO(tar_of(member("f"))))
    with pytest.raises(WrongKind):
        write_tree(rootfs, "/etc/passwd", io.BytesIO(tar_of(member("f"))))


def test_what_is_at_a_path(rootfs: Path) -> None:
    info = stat_path(rootfs, "/etc/passwd")
    assert (info.name, info.size, stat.S_ISREG(info.mode)) == ("passwd", 6, True)
    assert stat_path(rootfs, "/").name == "/"
    link = stat_path(rootfs, "/link")
    assert (link.name, link.target, stat.S_ISLNK(link.mode)) == ("link", "/app/data", True)
    assert stat_path(rootfs, "/out").target == "/etc"
    assert stat.S_ISDIR(stat_path(rootfs, "/link/").mode)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_tar_is_unpacked_into_a_folder(rootfs: Path, pack: object) -> None:
    assert callable(pack)
    tar = pack(tar_of(member("a/b", b"new", mode=0o755, mtime=7), member("file", b"over")))
    write_tree(rootfs, "/link", io.BytesIO(tar))
    assert (rootfs / "app/data/a/b").read_bytes() == b"new"
    assert (rootfs / "app/data/a/b").stat().st_mtime == 7
    assert (rootfs / "app/data/file").read_bytes() == b"over"
    assert (rootfs / "app/data/again").read_bytes() == b"data"
    assert (rootfs / "link").is_symlink()


@pytest.mark.root
def test_owners_can_be_overruled(rootfs: Path) -> None:
    tar = tar_of(member("f", uid=1, gid=2))
    write_tree(rootfs, "/", io.BytesIO(tar))
    assert (rootfs / "f").stat().st_uid == 1
    write_tree(rootfs, "/", io.BytesIO(tar), owner=(7, 8))
    assert ((rootfs / "f").stat().st_uid, (rootfs / "f").stat().st_gid) == (7, 8)


@pytest.mark.parametrize("name", ["../x", "/../x", "a/../../x"])
def test_names_that_climb_out_are_refused(rootfs: Path, name: str) -> None:
    with pytest.raises(InvalidLayer, match="climbs out"):
        write_tree(rootfs, "/app", io.BytesIO(tar_of(member(name, b"x"))))


def test_links_do_not_lead_out_when_writing(rootfs: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError):
        write_tree(rootfs, "/", io.BytesIO(tar_of(member("host/planted", b"x"))))
    write_tree(rootfs, "/", io.BytesIO(tar_of(member("out/planted", b"x"))))
    assert (rootfs / "etc/planted").read_bytes() == b"x"
    stolen = member("stolen", type=HARD, linkname=str(tmp_path / "secret/key"))
    with pytest.raises(ImageError):
        write_tree(rootfs, "/", io.BytesIO(tar_of(stolen)))
    assert os.listdir(tmp_path / "secret") == ["key"]


def test_whiteout_names_are_names_like_others_here(rootfs: Path) -> None:
    write_tree(rootfs, "/etc", io.BytesIO(tar_of(member(".wh.passwd"))))
    assert sorted(os.listdir(rootfs / "etc")) == [".wh.passwd", "passwd"]


def test_kinds_are_kept_when_asked(rootfs: Path) -> None:
    folder = tar_of(member("passwd", type=FOLDER, mode=0o755))
    file = tar_of(member("data", b"x"))
    with pytest.raises(WrongKind, match="/etc/passwd"):
        write_tree(rootfs, "/etc", io.BytesIO(folder), keep_kinds=True)
    with pytest.raises(WrongKind, match="/app/data"):
        write_tree(rootfs, "/app", io.BytesIO(file), keep_kinds=True)
    write_tree(rootfs, "/etc", io.BytesIO(folder))
    write_tree(rootfs, "/app", io.BytesIO(file))
    assert (rootfs / "etc/passwd").is_dir()
    assert (rootfs / "app/data").read_bytes() == b"x"


def test_devices_are_left_out(rootfs: Path) -> None:
    node = member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
    write_tree(rootfs, "/", io.BytesIO(tar_of(node, member("f"))))
    assert not (rootfs / "null").exists()
    assert (rootfs / "f").exists()


@pytest.mark.parametrize(
    "garbage", [b"no tar", b"\x1f\x8bno gzip", tar_of(member("f", b"x"))[:700]]
)
def test_garbage_is_refused(rootfs: Path, garbage: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        write_tree(rootfs, "/", io.BytesIO(garbage))
    assert "\n" not in str(caught.value)


def test_a_folder_is_copied_with_all_it_has(rootfs: Path, tmp_path: Path) -> None:
    os.chmod(rootfs / "app", 0o711)
    target = tmp_path / "volume"
    target.mkdir()
    copy_tree(rootfs, "/app", target)
    assert (target / "data/file").read_text() == "data"
    assert (target / "data/file").samefile(target / "data/again")
    assert stat.S_ISFIFO((target / "pipe").stat().st_mode)
    assert stat.S_IMODE(target.stat().st_mode) == 0o711


def test_a_file_that_becomes_a_pipe_does_not_block(rootfs: Path) -> None:
    assert read(rootfs, "/app/pipe") == {"pipe": (tarfile.FIFOTYPE, b"", "")}
