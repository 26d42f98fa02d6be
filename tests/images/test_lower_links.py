"""Hard links from a layer to files of those below it."""

import os
import stat
import tarfile
from pathlib import Path

import pytest
from tests.images.mover import Mover
from tests.images.samples import found_faults, image_of, layer_of, member, tar_of
from tests.images.test_stacked import by_umoci, listing, stacked
from tests.registries import RealRegistry

from wherry.disk import allocated
from wherry.engine.artifacts import places
from wherry.images import Image, ImageStore, InvalidLayer, rootfs
from wherry.images.stack import Stack
from wherry.images.tree import TreeWriter
from wherry.images.unpack import Limits, unpack
from wherry.oci import Digest, ImageConfig, RootFS, parse_reference

Members = list[tuple[tarfile.TarInfo, bytes]]

XATTR = {"SCHILY.xattr.user.mine": "value"}
BASE = [
    member("usr/", type=tarfile.DIRTYPE, mode=0o755, mtime=1),
    member("usr/lib/", type=tarfile.DIRTYPE, mode=0o2751, uid=3, mtime=2, pax_headers=XATTR),
    member("usr/lib/file", b"content", mode=0o4711, uid=5, gid=6, mtime=3, pax_headers=XATTR),
    member("usr/lib/again", type=tarfile.LNKTYPE, linkname="usr/lib/file"),
    member("usr/lib/pipe", type=tarfile.FIFOTYPE, mode=0o640, mtime=4),
    member("usr/lib/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mtime=4),
    member("lib", type=tarfile.SYMTYPE, linkname="/usr/lib", mtime=5),
    member("up", type=tarfile.SYMTYPE, linkname="../../lib/../lib", mtime=5),
    member("loop", type=tarfile.SYMTYPE, linkname="loop", mtime=5),
    member("gone", b"gone", mtime=6),
]


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def make(store: ImageStore, *layers: Members, name: str = "linked") -> Image:
    return image_of(store, *(layer_of(store, tar_of(*each)) for each in layers), name=name)


UPPER: dict[str, Members] = {
    "a file": [link("new", "usr/lib/file")],
    "several": [link("new", "usr/lib/file"), link("more", "usr/lib/file"), link("most", "new")],
    "beside it": [link("usr/lib/new", "usr/lib/file")],
    "behind a link": [link("new", "lib/file")],
    "behind a link that climbs": [link("new", "up/file")],
    "behind a link of its own": [
        member("way", type=tarfile.SYMTYPE, linkname="usr/lib", mtime=9),
        link("new", "way/file"),
    ],
    "a symbolic link": [link("new", "lib")],
    "a link that leads nowhere": [link("new", "loop")],
    "a pipe": [link("new", "usr/lib/pipe")],
    "a device": [link("new", "usr/lib/null")],
    "replaced afterwards": [link("new", "gone"), member("gone", b"other", mtime=9)],
    "deleted afterwards": [link("new", "gone"), member(".wh.gone")],
    "a folder of its own": [
        member("usr/lib/", type=tarfile.DIRTYPE, mode=0o700, mtime=9),
        link("new", "usr/lib/file"),
    ],
    "a folder that comes afterwards": [
        link("usr/new", "usr/lib/file"),
        member("usr/lib/", type=tarfile.DIRTYPE, mode=0o700, mtime=9),
    ],
}


@pytest.mark.root
@pytest.mark.parametrize("upper", [*UPPER])
def test_they_are_as_umoci_makes_them(store: ImageStore, upper: str) -> None:
    # What has several names below has them no more once one is brought up, as in every overlay.
    base = [each for each in BASE if each[0].name != "usr/lib/again"]
    image = make(store, base, UPPER[upper])
    with stacked(store, image) as root:
        found = listing(root)
    wanted = by_umoci(store, image, "linked:latest")
    assert {path: each[2:4] for path, each in found.items()} == {
        path: each[2:4] for path, each in wanted.items()
    }
    assert store.check() == []


@pytest.mark.root
def test_owner_mode_time_and_attributes_are_those_below(store: ImageStore) -> None:
    image = make(store, BASE, [link("new", "lib/file")])
    with stacked(store, image) as root:
        found = listing(root)
    with stacked(store, make(store, BASE, name="base")) as root:
        base = listing(root)
    assert found["new"] == (*base["usr/lib/file"][:3], "new", *base["usr/lib/file"][4:])
    assert found["usr/lib"] == base["usr/lib"]
    top, below = store.lowerdirs(image)
    assert (top / "usr/lib").stat().st_mtime == 2
    assert (top / "new").stat().st_nlink == (below / "usr/lib/again").stat().st_nlink == 2


BROKEN: dict[str, Members] = {
    "not there": [link("new", "usr/lib/none")],
    "deleted": [member(".wh.gone"), link("new", "gone")],
    "deleted with its folder": [member(".wh.usr"), link("new", "lib/file")],
    "in an opaque folder": [member("usr/lib/.wh..wh..opq"), link("new", "usr/lib/file")],
    "below a file": [member("usr/lib", b""), link("new", "usr/lib/file")],
    "a folder": [link("new", "usr/lib")],
    "a loop": [link("new", "loop/file")],
    "the root": [link("new", "/")],
}


@pytest.mark.parametrize("upper", [*BROKEN])
def test_one_that_leads_to_no_file_is_refused(store: ImageStore, upper: str) -> None:
    image = make(store, BASE, BROKEN[upper])
    with pytest.raises(InvalidLayer, match="is no file of the layer or of those below") as caught:
        store.lowerdirs(image)
    assert "\n" not in str(caught.value)
    assert len(store.lowerdirs(make(store, BASE))) == 1


def test_none_leads_out(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("host")
    base = [member("way", type=tarfile.SYMTYPE, linkname=f"../../..{tmp_path}")]
    with pytest.raises(InvalidLayer):
        store.lowerdirs(make(store, base, [link("new", "way/secret")]))


def test_a_hole_stays_a_hole(store: ImageStore) -> None:
    sparse = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(1 << 30),
              "GNU.sparse.map": f"0,3,{(1 << 30) - 3},3"}  # fmt: skip
    image = make(store, [member("big", b"onetwo", pax_headers=sparse)], [link("new", "big")])
    top = store.lowerdirs(image)[0] / "new"
    assert top.stat().st_size == 1 << 30 and allocated(top) < 1 << 20
    with open(top, "rb") as file:
        assert file.read(4) == b"one\0"
        file.seek(-4, os.SEEK_END)
        assert file.read() == b"\0two"


def test_what_it_takes_to_find_them_is_bounded(store: ImageStore, tmp_path: Path) -> None:
    names = [f"{n}" for n in range(20)]
    below = store.layer_folder([layer_of(store, tar_of(*(member(n, b"x") for n in names)))])
    layer = layer_of(store, tar_of(*(link(f"new{n}", n) for n in names)))
    for count, limit in enumerate([Limits(looks=30), Limits(size=19)]):
        path = tmp_path / f"{count}"
        path.mkdir()
        with (
            pytest.raises(InvalidLayer, match=r"too long|more than 19 bytes"),
            store.blobs.open(Digest(layer.descriptor.digest)) as blob,
            Stack([below]) as stack,
            TreeWriter(path) as tree,
        ):
            unpack(blob, layer.descriptor, layer.diff_id, tree, stack, limit)


def test_a_layer_is_unpacked_once_for_what_is_below_it(store: ImageStore, tmp_path: Path) -> None:
    upper = [link("new", "a")]
    one = make(store, [member("a", b"1")], upper, name="one")
    same = make(store, [member("a", b"1")], upper, [member("c", b"")], name="same")
    two = make(store, [member("a", b"2")], upper, name="two")
    assert store.lowerdirs(one) == store.lowerdirs(same)[1:]
    assert (store.lowerdirs(one)[0] / "new").read_bytes() == b"1"
    assert (store.lowerdirs(two)[0] / "new").read_bytes() == b"2"
    assert len(os.listdir(tmp_path / "data/layers")) == 5 + len(["ingest", "empty"])
    # Who builds upon an image, or looks what is in it, wants its layers one by one.
    assert store.layer_folder(two.layers) == store.lowerdirs(two)[0]
    folders = [Path(place.folder) for place in places(store, two)]
    assert folders == store.lowerdirs(two)[::-1]


def test_a_pull_unpacks_them_when_all_has_come(
    real: RealRegistry, here: Mover, there: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{real.name}/linked:1"
    contents = [[member("a", b"1")], [link("new", "a")], [link("newer", "new")]]
    layers = [layer_of(here.store, tar_of(*each)) for each in contents]
    diff_ids: list[str] = [layer.diff_id for layer in layers]
    config = ImageConfig(architecture="amd64", os="linux", rootfs=RootFS(diff_ids=diff_ids))
    descriptors = [layer.descriptor for layer in layers]
    here.store.write_image(config, descriptors, reference=parse_reference(name))
    here.push(name)
    image = there.pull(name).image

    def never(*_: object) -> None:
        raise AssertionError("it is unpacked again")

    monkeypatch.setattr(rootfs, "unpack", never)
    top, middle, _ = there.store.lowerdirs(image)
    assert (top / "newer").read_bytes() == (middle / "new").read_bytes() == b"1"


def test_they_are_counted_checked_and_removed(store: ImageStore, tmp_path: Path) -> None:
    upper, data = [link("new", "a"), member("b", b"x" * 9000)], tmp_path / "data"
    first = make(store, [member("a", os.urandom(9000))], upper, name="first")
    make(store, [member("a", os.urandom(9000))], upper, name="second")
    for image in store.list():
        store.lowerdirs(image)
    usage = store.usage()
    assert usage.layers == sum(
        allocated(path) for path in (data / "layers").iterdir() if path.name.isalnum()
        and path.name not in ("ingest", "empty")
    )  # fmt: skip
    # Damage below is not said of who was compared with it, and nothing is made anew of it.
    top, below = store.lowerdirs(first)
    (below / "a").write_bytes(b"other")
    (told,) = store.check()
    assert str(below.parent) in told
    assert [each.mended for each in found_faults(store, below, repair=True)] == [False]
    assert [each.mended for each in found_faults(store, repair=True)] == [True]
    assert store.check() == []
    (top / "new").write_bytes(b"other")
    (told,) = store.check()
    assert str(top.parent) in told and "other content" in told
    assert [each.mended for each in found_faults(store, repair=True)] == [True]
    assert store.check() == [] and (top / "new").stat().st_size == 9000
    taken = allocated(top.parent) + allocated(below.parent)
    blobs = sum(store.blobs.allocated(digest) for digest in first.blobs)
    shared = store.blobs.allocated(Digest(first.manifest.layers[1].digest))
    assert store.remove("first").reclaimed == taken + blobs - shared
    assert not top.exists() and store.check() == []
    store.remove("second")
    assert store.usage().total == 0
    assert stat.S_ISDIR(os.stat(data / "layers/empty").st_mode)
