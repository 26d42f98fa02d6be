"""What it costs to find files in layers that lie on each other."""

import tarfile
from pathlib import Path

import pytest
from tests.images.samples import layer_of, member, tar_of
from tests.images.test_lower_links import link, make

from wherry.images import ImageStore
from wherry.images.stack import Stack
from wherry.images.tree import TreeWriter
from wherry.images.unpack import unpack
from wherry.oci import Digest

DEEP = "/".join("d" * 100)


@pytest.mark.parametrize("count", [1, 20])
def test_a_folder_is_looked_for_once(store: ImageStore, tmp_path: Path, count: int) -> None:
    files = [f"{DEEP}/{n}" for n in range(count)]
    lower = [layer_of(store, tar_of(member(f"{DEEP}/{n}-", b"y"))) for n in range(10)]
    lower.append(layer_of(store, tar_of(*(member(file, b"x") for file in files))))
    folders = [store.layer_folder([layer]) for layer in lower]
    upper = layer_of(store, tar_of(*(link(f"new{n}", file) for n, file in enumerate(files))))
    with (
        store.blobs.open(Digest(upper.descriptor.digest)) as blob,
        Stack(folders) as below,
        TreeWriter(tmp_path) as tree,
    ):
        unpack(blob, upper.descriptor, upper.diff_id, tree, below)
    # Of the whole way once, then of the topmost folder alone, and of the file in each of them.
    assert below.looks < 11 * 101 + count * (101 + 100 + 11)
    for n, file in enumerate(files):
        assert (tmp_path / file).samefile(tmp_path / f"new{n}")
        assert (tmp_path / file).read_bytes() == b"x"


def test_a_link_to_a_device_that_could_not_be_made_is_left_out_with_it(store: ImageStore) -> None:
    """One that overlay takes for a deletion, which nobody can make; others root can."""
    node = member("node", type=tarfile.CHRTYPE)
    image = make(store, [node, member("file", b"x")], [link("new", "node"), link("more", "new")])
    top = store.lowerdirs(image)[0]
    assert [*top.iterdir()] == []
    assert sorted(store.left_out(image)) == ["more", "new", "node"]
    again = make(store, [node], [member("node", b"x"), link("new", "node")], name="again")
    assert (store.lowerdirs(again)[0] / "new").read_bytes() == b"x"
