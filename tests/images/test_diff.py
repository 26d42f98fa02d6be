"""What a container changed, as a layer and as a list."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.images.samples import layer_of, member, tar_of
from tests.images.test_peers import listing

from wherry.images import ImageStore, Layer, LayerWriter
from wherry.images.diff import changes, write_diff

pytestmark = pytest.mark.root


@dataclass
class Overlay:
    """A mounted overlay of one layer, and its parts."""

    store: ImageStore
    base: Layer
    path: Path
    upper: Path
    work: Path

    @property
    def lowerdirs(self) -> list[Path]:
        return self.store.layer_lowerdirs([self.base])


@pytest.fixture
def overlay(store: ImageStore, tmp_path: Path) -> Iterator[Overlay]:
    base = layer_of(
        store,
        tar_of(
            member("etc/config", b"old"),
            member("etc/kept", b"kept"),
            member("gone/file", b"x"),
            member("remade/file", b"x"),
            member("file", b"x"),
        ),
    )
    parts = [tmp_path / name for name in ("merged", "upper", "work")]
    for part in parts:
        part.mkdir()
    made = Overlay(store, base, *parts)
    options = f"lowerdir={made.lowerdirs[0]},upperdir={made.upper},workdir={made.work}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", made.path], check=True)
    yield made
    subprocess.run(["umount", made.path], check=True)


def change(path: Path) -> None:
    """Everything a container can do to its files."""
    (path / "etc/config").write_text("new")
    (path / "new").mkdir(mode=0o700)
    (path / "new/file").write_text("data")
    os.chown(path / "new/file", 12, 34)
    os.link(path / "new/file", path / "new/again")
    os.symlink("../etc/config", path / "new/link")
    os.mkfifo(path / "new/pipe")
    os.setxattr(path / "new/file", "user.mine", b"value")
    shutil.rmtree(path / "gone")
    shutil.rmtree(path / "remade")
    (path / "remade").mkdir()
    (path / "remade/other").write_text("y")
    (path / "file").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path / "socket"))


def diff(overlay: Overlay) -> Layer:
    with LayerWriter(overlay.store.blobs) as writer:
        write_diff(overlay.upper, writer)
        return writer.commit()


def test_the_layer_of_a_diff_gives_the_same_files_again(overlay: Overlay, tmp_path: Path) -> None:
    change(overlay.path)
    (overlay.path / "socket").unlink()
    expected = listing(overlay.path)
    layer = diff(overlay)
    again = tmp_path / "again"
    again.mkdir()
    lower = ":".join(map(str, overlay.store.layer_lowerdirs([overlay.base, layer])))
    subprocess.run(
        ["mount", "-t", "overlay", "-o", f"lowerdir={lower}", "overlay", again], check=True
    )
    try:
        assert listing(again) == expected
    finally:
        subprocess.run(["umount", again], check=True)


def test_sockets_are_left_out_and_devices_are_not(overlay: Overlay) -> None:
    change(overlay.path)
    subprocess.run(["mknod", overlay.path / "null", "c", "1", "3"], check=True)
    path = overlay.store.layer_lowerdirs([diff(overlay)])[0]
    assert not (path / "socket").exists()
    assert (path / "null").lstat().st_rdev == os.makedev(1, 3)
    assert (path / "new/file").read_text() == "data"


def test_the_same_changes_give_the_same_layer(overlay: Overlay) -> None:
    change(overlay.path)
    assert diff(overlay) == diff(overlay)


def test_changes_are_told_as_docker_tells_them(overlay: Overlay) -> None:
    change(overlay.path)
    found = {(change.kind, change.path) for change in changes(overlay.upper, overlay.lowerdirs)}
    assert found == {
        ("modified", "/etc"),
        ("modified", "/etc/config"),
        ("added", "/new"),
        ("added", "/new/file"),
        ("added", "/new/again"),
        ("added", "/new/link"),
        ("added", "/new/pipe"),
        ("deleted", "/gone"),
        ("modified", "/remade"),
        ("added", "/remade/other"),
        ("deleted", "/file"),
    }


def test_what_an_upper_layer_deleted_and_a_container_makes_again_is_added(
    store: ImageStore, tmp_path: Path
) -> None:
    lower = layer_of(store, tar_of(member("a/b", b"x"), member("c", b"x"), member("d/e", b"x")))
    upper = layer_of(store, tar_of(member(".wh.a"), member(".wh.c"), member("d/.wh..wh..opq")))
    for name in ("a", "d"):
        (tmp_path / "upper" / name).mkdir(parents=True)
    for name in ("a/b", "c", "d/e"):
        (tmp_path / "upper" / name).write_text("again")
    found = {
        c.path: c.kind for c in changes(tmp_path / "upper", store.layer_lowerdirs([lower, upper]))
    }
    assert found == {
        "/a": "added",
        "/a/b": "added",
        "/c": "added",
        "/d": "modified",
        "/d/e": "added",
    }


def test_nothing_changed_is_an_empty_layer(overlay: Overlay) -> None:
    assert changes(overlay.upper, overlay.lowerdirs) == []
    assert os.listdir(overlay.store.layer_lowerdirs([diff(overlay)])[0]) == []
