"""The check of a store: each fault is found and said in one line, and what can be is mended."""

import os
import shutil
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.images.samples import found_faults, image_of, layer_of, member, simple_image, tar_of

from wherry.images import Image, ImageStore
from wherry.images.checking import Fault, Progress
from wherry.oci import Digest

XATTR = {"SCHILY.xattr.user.mine": "value"}
SPARSE = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": "100003",
          "GNU.sparse.map": "100000,3"}  # fmt: skip


@pytest.fixture
def image(store: ImageStore) -> Image:
    """A bit of everything that a layer can have."""
    lower = layer_of(store, tar_of(member("below", b"x" * 5000)))
    upper = layer_of(
        store,
        tar_of(
            member("folder", type=tarfile.DIRTYPE, mode=0o755, mtime=1000),
            member("folder/file", os.urandom(300_000), mode=0o644, mtime=2000, pax_headers=XATTR),
            member("folder/again", type=tarfile.LNKTYPE, linkname="folder/file"),
            member("link", type=tarfile.SYMTYPE, linkname="folder/file"),
            member("pipe", type=tarfile.FIFOTYPE, mode=0o600),
            member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
            member("replaced", b"first"),
            member("kept", type=tarfile.LNKTYPE, linkname="replaced"),
            member("replaced", b"second"),
            member("sparse", b"end", mode=0o600, pax_headers=SPARSE),
            member("folder/.wh.below"),
            member("other/.wh..wh..opq"),
            member("other/caf\udce9", b""),
        ),
    )
    image = image_of(store, lower, upper, name="whole")
    store.lowerdirs(image)
    return image


def test_a_whole_store_has_no_faults_and_the_check_says_how_far_it_is(
    store: ImageStore, image: Image
) -> None:
    found = [*store.checking()]
    assert not [each for each in found if isinstance(each, Fault)]
    steps = [each for each in found if isinstance(each, Progress)]
    assert [*dict.fromkeys(step.part for step in steps)] == ["images", "blobs", "layers"]
    for part in ("images", "blobs", "layers"):
        done = [step.done for step in steps if step.part == part]
        assert done == sorted(done)
        assert [step.total for step in steps if step.part == part][-1] == done[-1] > 0
    assert os.listdir(store.lowerdirs(image)[0].parents[1] / "ingest") == []


def flip(path: Path, at: int = 1000) -> None:
    """One bit, and the time as it was: what a disk does."""
    status = path.stat()
    with open(path, "r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def renumber(root: Path) -> None:
    (root / "null").unlink()
    os.mknod(root / "null", 0o644 | stat.S_IFCHR, os.makedev(1, 1))
    os.utime(root / "null", (0, 0))


def break_link(root: Path) -> None:
    content = (root / "folder/again").read_bytes()
    (root / "folder/again").unlink()
    (root / "folder/again").write_bytes(content)


def opaque(root: Path) -> None:
    for name in os.listxattr(root / "other"):
        os.removexattr(root / "other", name)


def relink(root: Path) -> None:
    (root / "link").unlink()
    (root / "link").symlink_to("elsewhere")


HARM: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit": (lambda root: flip(root / "folder/file"), "/folder/again has other content"),
    "a bit in a hole": (lambda root: flip(root / "sparse"), "/sparse has other content"),
    "device": (renumber, "/null is another device"),
    "mode": (lambda root: (root / "folder/file").chmod(0o4755), "the mode 4755 instead of 644"),
    "owner": (lambda root: os.chown(root / "pipe", 5, 6), "belongs to 5:6 instead of 0:0"),
    "folder's mode": (lambda root: (root / "folder").chmod(0o700), "/folder has the mode 700"),
    "time": (
        lambda root: os.utime(root / "folder/file", (5, 5)),
        "/folder/again has another time",
    ),
    "missing": (lambda root: (root / "other/caf\udce9").unlink(), "/other/caf\\udce9 is missing"),
    "added": (lambda root: (root / "other/new").touch(), "/other/new does not belong there"),
    "attribute": (lambda root: os.removexattr(root / "folder/file", "user.mine"), "attributes"),
    "whiteout": (lambda root: (root / "folder/below").unlink(), "/folder has another time"),
    "opaque": (opaque, "/other has other extended attributes"),
    "hard link": (break_link, "/folder has another time"),
    "link": (relink, "/link leads elsewhere"),
    "no folder": (shutil.rmtree, "files are missing"),
}


@pytest.mark.root
@pytest.mark.parametrize("harm", [*HARM])
def test_a_changed_layer_is_one_line_and_is_made_anew(
    store: ImageStore, image: Image, harm: str
) -> None:
    change, said = HARM[harm]
    root = store.lowerdirs(image)[0]
    change(root)
    (fault,) = found_faults(store)
    assert said in str(fault) and "\n" not in str(fault)
    assert "system check --repair" in fault.remedy
    (held,) = found_faults(store, root, repair=True)
    assert "end them" in held.remedy and not held.mended
    (mended,) = found_faults(store, repair=True)
    assert mended.mended and "made anew" in mended.remedy
    assert found_faults(store) == []
    assert os.listdir(root.parents[1] / "ingest") == []


@pytest.mark.root
def test_what_does_not_show_in_a_folders_time_is_found_as_well(
    store: ImageStore, image: Image
) -> None:
    root = store.lowerdirs(image)[0]
    before = (root / "folder").stat().st_mtime_ns
    break_link(root)
    (root / "folder/below").unlink()
    os.utime(root / "folder", ns=(before, before))
    (fault,) = found_faults(store)
    assert "/folder/below is missing, and 2 more" in fault.what


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"key": "sha256:00"}'])
def test_a_layer_without_its_record_is_removed_and_comes_back(
    store: ImageStore, image: Image, content: bytes
) -> None:
    root = store.lowerdirs(image)[0]
    (root.parent / "layer.json").write_bytes(content)
    (fault,) = found_faults(store)
    assert str(root.parent) in fault.what
    (mended,) = found_faults(store, repair=True)
    assert mended.mended
    assert found_faults(store) == []
    assert store.lowerdirs(image)[0].exists()


def test_layers_of_no_image_are_looked_at_if_they_are_named(store: ImageStore) -> None:
    layer = layer_of(store, tar_of(member("file", b"x", mtime=5)))
    (root,) = store.layer_lowerdirs([layer])
    (root / "file").write_bytes(b"y")
    assert found_faults(store) == []
    found = [each for each in store.checking(layers=[layer]) if isinstance(each, Fault)]
    assert "/file has other content" in found[0].what
    missing = layer_of(store, tar_of(member("other")))
    assert len([*store.checking(layers=[missing])]) > 0


def test_a_damaged_blob_names_the_images_it_is_of_and_is_removed(
    store: ImageStore, image: Image
) -> None:
    path = store.blobs.path(Digest(image.manifest.layers[1].digest))
    flip(path, 20)
    found = found_faults(store)
    assert f"blob {image.manifest.layers[1].digest} is damaged" in found[0].what
    assert "whole:latest" in found[0].remedy
    with store.hold():
        store.blobs.keep([image.manifest.layers[1].digest])
        assert "being used" in found_faults(store, repair=True)[0].remedy
    removed = found_faults(store, repair=True)[0]
    assert not path.exists() and not removed.mended
    assert "whole:latest" in str(found_faults(store)[0]) and "is missing" in str(
        found_faults(store)[0]
    )


def test_a_damaged_blob_that_nobody_needs_just_goes(store: ImageStore) -> None:
    orphan = store.blobs.write("text/plain", b"x" * 100)
    flip(store.blobs.path(Digest(orphan.digest)), 1)
    (fault,) = found_faults(store, repair=True)
    assert fault.mended
    assert found_faults(store) == []


def test_a_blob_of_another_size_or_none_is_told_of_its_image(
    store: ImageStore, image: Image
) -> None:
    simple_image(store, "good")
    path = store.blobs.path(Digest(image.manifest.layers[0].digest))
    os.truncate(path, 10)
    said = [str(fault) for fault in found_faults(store)]
    assert any("image whole:latest" in line and "10 bytes" in line for line in said)
    path.unlink()
    (fault,) = found_faults(store)
    assert "is missing" in fault.what
    assert "pull" in fault.remedy


def test_a_damaged_catalog_does_not_end_the_check(store: ImageStore, image: Image) -> None:
    flip(store.blobs.path(Digest(image.manifest.config.digest)), 5)
    (store.blobs.path(Digest("sha256:0")).parents[2] / "index.json").write_text("{")
    found = [str(fault) for fault in found_faults(store)]
    assert any("index.json" in line for line in found)
    assert any("is damaged, its digest is" in line for line in found)
