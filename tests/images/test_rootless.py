"""The store of an ordinary user: in a user namespace of one id, and without any."""

import ctypes
import os
import shutil
import stat
import tarfile
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.images.samples import WASM, image_of, layer_of, member, saved, tar_of

from wherry.images import Image, ImageStore, LayerWriter
from wherry.images.beneath import Root
from wherry.images.diff import write_diff
from wherry.images.tar import Entry
from wherry.images.walk import walk

pytestmark = pytest.mark.root  # Root can become anyone; the tests need an id of their own.

NOBODY = 65534
PR_SET_DUMPABLE = 4
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000
DIRECTORY = tarfile.DIRTYPE


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that belongs to an ordinary user."""
    path = Path(tempfile.mkdtemp(prefix="wherry-rootless-"))
    os.chown(path, NOBODY, NOBODY)
    yield path
    shutil.rmtree(path)


def as_nobody(work: Callable[[], None], *, namespace: bool) -> None:
    """Do `work` in a child without privileges, or with those of a user namespace."""
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            if namespace:
                libc = ctypes.CDLL(None, use_errno=True)
                libc.prctl(PR_SET_DUMPABLE, 1)  # Else /proc/self belongs to root.
                done = libc.unshare(CLONE_NEWUSER | CLONE_NEWNS)
                assert done == 0, os.strerror(ctypes.get_errno())
                Path("/proc/self/setgroups").write_text("deny")
                Path("/proc/self/gid_map").write_text(f"0 {NOBODY} 1")
                Path("/proc/self/uid_map").write_text(f"0 {NOBODY} 1")
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def make(store: ImageStore) -> Image:
    lower = layer_of(
        store,
        tar_of(
            member("ours", b"x", mode=0o644),
            member("theirs", b"x", uid=1000, gid=50, mode=0o4755),
            member("folder", type=DIRECTORY, mode=0o555, uid=7, gid=8),
            member("folder/file", b"x", uid=7),
            member("opaque/old", b"x"),
            member("gone", b"x"),
            member("link", type=tarfile.SYMTYPE, linkname="ours", uid=3),
            member("dev/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
            member("null", type=tarfile.LNKTYPE, linkname="dev/null"),
        ),
    )
    upper = layer_of(store, tar_of(member(".wh.gone"), member("opaque/.wh..wh..opq")))
    return image_of(store, lower, upper, name="image")


@pytest.mark.parametrize("namespace", [True, False])
def test_owners_that_cannot_be_set_are_remembered(folder: Path, namespace: bool) -> None:
    def work() -> None:
        store = ImageStore(folder / "data")
        image = make(store)
        upper, lower = store.lowerdirs(image)
        with Root(lower) as root:
            found: dict[str, Entry] = {entry.name: entry for entry in walk(root)}
        assert (found["theirs"].uid, found["theirs"].gid) == (1000, 50)
        assert found["theirs"].mode == 0o4755
        assert (found["folder"].uid, found["folder"].gid, found["folder"].mode) == (7, 8, 0o555)
        assert found["ours"].uid == 0
        assert (lower / "folder/file").read_bytes() == b"x"
        assert stat.S_ISCHR((upper / "gone").lstat().st_mode)
        assert os.getxattr(upper / "opaque", "user.overlay.opaque") == b"y"
        assert sorted(store.left_out(image)) == ["dev/null", "null"]
        assert not (lower / "null").exists()
        assert store.check() == []
        store.remove("image")
        assert store.usage().total == 0

    as_nobody(work, namespace=namespace)


def test_overlay_of_a_user_namespace_reads_our_layers(folder: Path) -> None:
    def work() -> None:
        store = ImageStore(folder / "data")
        lower = ":".join(map(str, store.lowerdirs(make(store))))
        for name in ("merged", "upper", "work"):
            (folder / name).mkdir()
        options = f"userxattr,lowerdir={lower},upperdir={folder}/upper,workdir={folder}/work"
        libc = ctypes.CDLL(None, use_errno=True)
        merged = str(folder / "merged").encode()
        done = libc.mount(b"overlay", merged, b"overlay", 0, options.encode())
        assert done == 0, os.strerror(ctypes.get_errno())
        assert sorted(os.listdir(merged)) == [
            b"dev",
            b"folder",
            b"link",
            b"opaque",
            b"ours",
            b"theirs",
        ]
        assert os.listdir(folder / "merged/opaque") == []
        (folder / "merged/new").write_bytes(WASM)
        shutil.rmtree(folder / "merged/folder")
        (folder / "merged/theirs").write_bytes(b"changed")
        with LayerWriter(store.blobs) as writer:
            write_diff(folder / "upper", writer)
            layer = writer.commit()
        path = store.layer_lowerdirs([layer])[0]
        assert stat.S_ISCHR((path / "folder").lstat().st_mode)
        with Root(path) as root:
            found = {entry.name: entry for entry in walk(root)}
        assert (found["theirs"].uid, found["theirs"].mode) == (1000, 0o4755)

    as_nobody(work, namespace=True)


def test_an_archive_of_a_user_is_that_of_root(folder: Path, tmp_path: Path) -> None:
    def work() -> None:
        store = ImageStore(folder / "data")
        make(store)
        (folder / "archive.tar").write_bytes(saved(store, "image"))

    as_nobody(work, namespace=True)
    store = ImageStore(tmp_path / "data")
    make(store)
    assert (folder / "archive.tar").read_bytes() == saved(store, "image")
