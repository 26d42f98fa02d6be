"""A full disk: one line, and the store as it was."""

import io
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.images.samples import (
    Snapshot,
    found_faults,
    image_of,
    layer_of,
    member,
    saved,
    simple_image,
    tar_of,
)

from wherry.images import Image, ImageError, ImageStore, LayerWriter, StorageFull

pytestmark = pytest.mark.root

SIZE = 2 << 20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of two MiB."""
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


def fill(path: Path, leave: int) -> None:
    """Leave some bytes free."""
    free = os.statvfs(path).f_bavail * os.statvfs(path).f_bsize
    (path / "ballast").write_bytes(bytes(max(0, free - leave)))


def big_image(store: ImageStore, size: int = 20_000) -> Image:
    layers = [
        layer_of(store, tar_of(*(member(f"{p}{n}", os.urandom(size)) for n in range(40))))
        for p in "abc"
    ]
    return image_of(store, *layers, name="big")


def assert_as_it_was(store: ImageStore, root: Path, action: Callable[[], object]) -> None:
    before = Snapshot.of(root)
    with pytest.raises(StorageFull) as caught:
        action()
    assert "\n" not in str(caught.value)
    assert "no space left" in str(caught.value)
    assert Snapshot.of(root) == before
    assert store.check() == []
    assert store.resolve("kept")


def test_loading(small: Path, tmp_path: Path) -> None:
    made = ImageStore(tmp_path / "made")
    big_image(made)
    archive = saved(made, "big")
    store = ImageStore(small / "data")
    simple_image(store, "kept")
    assert_as_it_was(store, small / "data", lambda: store.load(io.BytesIO(archive)))


def test_unpacking(small: Path) -> None:
    store = ImageStore(small / "data")
    simple_image(store, "kept")
    layer = layer_of(store, tar_of(*(member(f"{n}", bytes(20_000)) for n in range(200))))
    image = image_of(store, layer, name="big")
    assert_as_it_was(store, small / "data", lambda: store.lowerdirs(image))
    assert store.remove("big").untagged == ["big:latest"]


def test_unpacking_a_link_to_a_file_below(small: Path) -> None:
    store = ImageStore(small / "data")
    simple_image(store, "kept")
    lower = layer_of(store, tar_of(member("big", bytes(SIZE - (SIZE >> 2)))))
    upper = layer_of(store, tar_of(member("new", type=tarfile.LNKTYPE, linkname="big")))
    image = image_of(store, lower, upper, name="linked")
    store.layer_lowerdirs([lower])
    assert_as_it_was(store, small / "data", lambda: store.lowerdirs(image))


def test_writing_a_layer(small: Path) -> None:
    store = ImageStore(small / "data")
    simple_image(store, "kept")

    def write() -> None:
        with LayerWriter(store.blobs, compression="none") as writer:
            writer.add_file("f", bytes(SIZE))
            writer.commit()

    assert_as_it_was(store, small / "data", write)


@pytest.mark.parametrize("leave", [0, 4096, 8192, 12288, 16384, 20480])
def test_writing_an_image_with_room_for_a_part_of_it(small: Path, leave: int) -> None:
    store = ImageStore(small / "data")
    kept = simple_image(store, "kept")
    fill(small, leave)
    names = [image.names for image in store.list()]
    try:
        simple_image(store, "other", "x" * 3000)
    except StorageFull:
        assert [image.names for image in store.list()] == names
    (small / "ballast").unlink()
    store.collect()
    assert store.check() == []
    assert store.resolve("kept").id == kept.id


def test_a_full_disk_can_be_cleared(small: Path) -> None:
    store = ImageStore(small / "data")
    simple_image(store, "kept")
    image = image_of(store, layer_of(store, os.urandom(300_000)), name="big")
    fill(small, 0)
    assert store.remove("big").deleted == [image.id]
    assert store.resolve("kept")


def test_a_full_disk_can_be_checked(small: Path) -> None:
    store = ImageStore(small / "data")
    root = store.lowerdirs(big_image(store, 2_000))[0]
    fill(small, 0)
    assert store.check() == []
    with open(root / "c7", "r+b") as file:
        file.write(b"other")
    (told,) = store.check()
    assert "/c7 has other content" in told
    # Only what makes a layer anew needs room.
    (refused,) = map(str, found_faults(store, repair=True))
    assert "cannot be made anew" in refused and "no space left" in refused
    (small / "ballast").unlink()
    assert [each.mended for each in found_faults(store, repair=True)] == [True]
    assert store.check() == []


def test_that_there_is_no_room_for_a_check_is_told_once(small: Path) -> None:
    store = ImageStore(small / "data")
    store.lowerdirs(big_image(store, 2_000))
    inodes = os.statvfs(small).f_files - os.statvfs(small).f_ffree
    subprocess.run(["mount", "-o", f"remount,nr_inodes={inodes + 10}", small], check=True)
    (told,) = store.check()
    assert "cannot be compared" in told and "no space left" in told


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(ImageError) as caught:
        ImageStore(tmp_path / "data")
    assert "\n" not in str(caught.value)
