"""Layers become folders; whatever is in them, nothing outside of the folder changes."""

import gzip
import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
import zstandard
from tests.images.samples import Snapshot, image_of, layer_of, member, tar_of, unpacked

from wherry.images import DigestMismatch, ImageStore, InvalidLayer, Layer
from wherry.images.tree import TreeWriter
from wherry.images.unpack import Limits, unpack
from wherry.oci import Descriptor, Digest, MediaType

DIRECTORY = tarfile.DIRTYPE
SYMLINK = tarfile.SYMTYPE
HARDLINK = tarfile.LNKTYPE
root_only = pytest.mark.root


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that no layer may touch."""
    path = tmp_path / "outside"
    path.mkdir()
    (path / "secret").write_text("secret")
    return path


def assert_untouched(outside: Path) -> None:
    assert os.listdir(outside) == ["secret"]
    assert (outside / "secret").read_text() == "secret"
    assert (outside / "secret").stat().st_nlink == 1


def test_files_folders_and_links_come_out_as_they_went_in(store: ImageStore) -> None:
    path = unpacked(
        store,
        member("app", type=DIRECTORY, mode=0o750, mtime=1000),
        member("app/run", b"data", mode=0o4755, mtime=2000),
        member("app/again", type=HARDLINK, linkname="app/run"),
        member("app/link", type=SYMLINK, linkname="/etc/passwd", mtime=3000),
        member("pipe", type=tarfile.FIFOTYPE, mode=0o600),
    )
    assert (path / "app/run").read_bytes() == b"data"
    assert stat.S_IMODE((path / "app/run").stat().st_mode) == 0o4755
    assert (path / "app/run").stat().st_mtime == 2000
    assert (path / "app/again").samefile(path / "app/run")
    assert (path / "app/link").readlink() == Path("/etc/passwd")
    assert (path / "app/link").lstat().st_mtime == 3000
    assert stat.S_IMODE((path / "app").stat().st_mode) == 0o750
    assert (path / "app").stat().st_mtime == 1000
    assert stat.S_ISFIFO((path / "pipe").lstat().st_mode)


@root_only
def test_owners_are_kept(store: ImageStore) -> None:
    link = member("l", type=SYMLINK, linkname="f", uid=5, gid=6)
    path = unpacked(store, member("f", uid=12, gid=34), link)
    assert ((path / "f").stat().st_uid, (path / "f").stat().st_gid) == (12, 34)
    assert ((path / "l").lstat().st_uid, (path / "l").lstat().st_gid) == (5, 6)


def test_a_folder_without_an_entry_of_its_own_is_made(store: ImageStore) -> None:
    assert (unpacked(store, member("a/b/c", b"x")) / "a/b/c").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../x", "..", "./../x", "a/b/../../../x"])
def test_a_name_that_climbs_out_is_refused(store: ImageStore, name: str) -> None:
    with pytest.raises(InvalidLayer, match="climbs out"):
        unpacked(store, member(name, b"x"))


def test_absolute_names_stay_below_the_root(store: ImageStore) -> None:
    assert (unpacked(store, member("/etc//./x", b"x")) / "etc/x").read_bytes() == b"x"


@pytest.mark.parametrize("up", ["absolute", "relative"])
def test_a_link_leads_nowhere_outside(store: ImageStore, outside: Path, up: str) -> None:
    target = str(outside) if up == "absolute" else "../" * 40 + str(outside)
    path = unpacked(
        store,
        member(str(outside).lstrip("/"), type=DIRECTORY, mode=0o755),
        member("out", type=SYMLINK, linkname=target),
        member("out/planted", b"x"),
        member("out/secret", b"overwritten"),
    )
    assert_untouched(outside)
    assert (path / str(outside).lstrip("/") / "planted").read_bytes() == b"x"


def test_a_dangling_link_as_a_folder_is_an_error(store: ImageStore, outside: Path) -> None:
    with pytest.raises(InvalidLayer, match="out/planted"):
        unpacked(
            store,
            member("out", type=SYMLINK, linkname=str(outside)),
            member("out/planted", b"x"),
        )
    assert_untouched(outside)


def test_a_link_loop_is_an_error(store: ImageStore) -> None:
    with pytest.raises(InvalidLayer):
        unpacked(
            store,
            member("a", type=SYMLINK, linkname="b"),
            member("b", type=SYMLINK, linkname="a"),
            member("a/x", b"x"),
        )


def test_a_link_of_another_layer_is_not_followed(store: ImageStore, outside: Path) -> None:
    lower = layer_of(store, tar_of(member("out", type=SYMLINK, linkname=str(outside))))
    upper = layer_of(store, tar_of(member("out/planted", b"x")))
    top, _ = store.layer_lowerdirs([lower, upper])
    assert_untouched(outside)
    assert (top / "out/planted").read_bytes() == b"x"


def test_a_file_replaces_a_link_instead_of_writing_through_it(
    store: ImageStore, outside: Path
) -> None:
    path = unpacked(
        store,
        member("f", type=SYMLINK, linkname=str(outside / "secret")),
        member("f", b"mine"),
    )
    assert_untouched(outside)
    assert (path / "f").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["absolute", "relative", "by link"])
def test_a_hard_link_to_outside_is_refused(store: ImageStore, outside: Path, name: str) -> None:
    secret = str(outside / "secret")
    target = {
        "absolute": secret,
        "relative": "../" * 40 + secret.lstrip("/"),
        "by link": "out/secret",
    }[name]
    with pytest.raises(InvalidLayer):
        unpacked(
            store,
            member("out", type=SYMLINK, linkname=str(outside)),
            member("stolen", type=HARDLINK, linkname=target),
        )
    assert_untouched(outside)


def test_a_hard_link_before_its_file_is_refused_by_name(store: ImageStore) -> None:
    with pytest.raises(InvalidLayer, match="'b', which is no file of the layer or of those below"):
        unpacked(store, member("a", type=HARDLINK, linkname="b"), member("b", b"x"))


def test_a_hard_link_to_itself_changes_nothing(store: ImageStore) -> None:
    path = unpacked(store, member("a", b"x"), member("a", type=HARDLINK, linkname="./a"))
    assert (path / "a").read_bytes() == b"x"


@pytest.mark.root
@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_device_nodes_are_made(store: ImageStore, kind: bytes) -> None:
    path = unpacked(
        store,
        device("dev/node", kind, 8, 300, mode=0o640, uid=5, mtime=7),
        device("dev/most", kind, 4095, (1 << 20) - 1),
        member("dev/other", type=HARDLINK, linkname="dev/node"),
    )
    status = (path / "dev/node").lstat()
    assert stat.S_ISCHR(status.st_mode) == (kind == tarfile.CHRTYPE) != stat.S_ISBLK(status.st_mode)
    assert (os.major(status.st_rdev), os.minor(status.st_rdev)) == (8, 300)
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_mtime) == (0o640, 5, 7)
    assert (path / "dev/other").lstat().st_ino == status.st_ino
    for numbers in ((4096, 0), (0, 1 << 20), ((1 << 21) - 1, (1 << 21) - 1)):
        with pytest.raises(InvalidLayer, match="no device has such a number"):
            unpacked(store, device("node", kind, *numbers))


def device(
    name: str, kind: bytes, major: int, minor: int, mode: int = 0o600, uid: int = 0, mtime: int = 0
) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=kind, devmajor=major, devminor=minor, mode=mode, uid=uid, mtime=mtime)


def test_a_device_that_overlay_takes_for_a_deletion_is_left_out(store: ImageStore) -> None:
    path = unpacked(
        store,
        device("node", tarfile.CHRTYPE, 0, 0),
        member("again", type=HARDLINK, linkname="node"),
        member("file", b"x"),
    )
    assert os.listdir(path) == ["file"]


def test_a_later_entry_replaces_an_earlier_one(store: ImageStore) -> None:
    path = unpacked(
        store,
        member("a", b"old"),
        member("a", type=DIRECTORY, mode=0o755),
        member("a/b", b"x"),
        member("c/d", b"x"),
        member("c", b"file"),
        member("e", b"old and long"),
        member("e", b"new"),
        member("f", type=DIRECTORY, mode=0o755),
        member("f/kept", b"x"),
        member("f", type=DIRECTORY, mode=0o711),
    )
    assert (path / "a/b").read_bytes() == b"x"
    assert (path / "c").read_bytes() == b"file"
    assert (path / "e").read_bytes() == b"new"
    assert (path / "f/kept").exists()
    assert stat.S_IMODE((path / "f").stat().st_mode) == 0o711


def test_the_root_itself_can_have_an_entry(store: ImageStore) -> None:
    path = unpacked(store, member("./", type=DIRECTORY, mode=0o711, mtime=77), member("./a"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o711
    assert path.stat().st_mtime == 77


def test_a_root_that_is_no_folder_is_refused(store: ImageStore) -> None:
    with pytest.raises(InvalidLayer, match="root"):
        unpacked(store, member("./", type=SYMLINK, linkname="/etc"))


def is_whiteout(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path: Path) -> bool:
    return b"y" in [
        os.getxattr(path, name) for name in os.listxattr(path) if name.endswith("overlay.opaque")
    ]


def test_whiteouts_become_those_of_overlay(store: ImageStore) -> None:
    path = unpacked(
        store,
        member("a/.wh.gone"),
        member("b/.wh..wh..opq"),
        member(".wh.top"),
        member("a/.wh..wh.plnk"),
    )
    assert is_whiteout(path / "a/gone")
    assert is_whiteout(path / "top")
    assert is_opaque(path / "b")
    assert not is_opaque(path / "a")
    assert sorted(os.listdir(path)) == ["a", "b", "top"]
    assert os.listdir(path / "a") == ["gone"]


@pytest.mark.parametrize("order", ["deleted first", "deleted last"])
def test_what_a_layer_deletes_and_has_as_well_is_its_own(store: ImageStore, order: str) -> None:
    deletions = [member(".wh.dir"), member(".wh.file"), member(".wh.implied")]
    files = [
        member("dir", type=DIRECTORY, mode=0o755),
        member("dir/new", b"x"),
        member("file", b"x"),
        member("implied/new", b"x"),
    ]
    both = deletions + files if order == "deleted first" else files + deletions
    path = unpacked(store, *both)
    assert (path / "dir/new").read_bytes() == (path / "file").read_bytes() == b"x"
    assert is_opaque(path / "dir")
    assert is_opaque(path / "implied")


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "a/.wh.", "a/.wh.."])
def test_a_whiteout_of_nothing_is_refused(store: ImageStore, name: str) -> None:
    with pytest.raises(InvalidLayer, match="no whiteout"):
        unpacked(store, member(name))


def test_a_folder_with_a_whiteouts_name_is_refused(store: ImageStore) -> None:
    with pytest.raises(InvalidLayer, match="reserved"):
        unpacked(store, member("a/.wh.b/c", b"x"))


def test_extended_attributes_are_kept_but_those_of_overlay(store: ImageStore) -> None:
    headers = {
        "SCHILY.xattr.user.mine": "value",
        "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.user.containers.override_stat": "0:0:4755",
    }
    path = unpacked(
        store,
        member("f", b"x", pax_headers=headers),
        member("d", type=DIRECTORY, mode=0o755, pax_headers=headers),
    )
    assert os.listxattr(path / "f") == os.listxattr(path / "d") == ["user.mine"]
    assert os.getxattr(path / "f", "user.mine") == b"value"


def test_long_and_undecodable_names(store: ImageStore) -> None:
    long = "/".join(["x" * 250] * 5)
    path = unpacked(store, member(long, b"1"), member("caf\udce9", b"2"), member("日本", b"3"))
    assert (path / long).read_bytes() == b"1"
    assert (path / "caf\udce9").read_bytes() == b"2"
    assert (path / "日本").read_bytes() == b"3"


def test_a_name_no_filesystem_takes_is_an_error(store: ImageStore) -> None:
    with pytest.raises(InvalidLayer):
        unpacked(store, member("x" * 300, b""))


def test_thousands_of_nested_folders_are_refused(store: ImageStore) -> None:
    with pytest.raises(InvalidLayer, match="nested"):
        unpacked(store, member("a/" * 1500 + "x", b""))


def test_nesting_by_links_is_removed_again(store: ImageStore) -> None:
    deep = "/".join(["d"] * 200)
    members = [member(f"{deep}/l0", type=SYMLINK, linkname="."), member("s0", b"")]
    place = deep
    for depth in range(1, 8):
        members += [
            member(f"s{depth}", type=SYMLINK, linkname=place),
            member(f"s{depth}/{deep}/x", b""),
        ]
        place = f"s{depth}/{deep}"
    layer = layer_of(store, tar_of(*members))
    image = image_of(store, layer, name="deep")
    store.lowerdirs(image)
    store.remove("deep")
    assert store.usage().total == 0
    assert store.check() == []


def test_a_folder_that_is_taken_away_by_another_way_is_no_fault(store: ImageStore) -> None:
    path = unpacked(
        store,
        member("real/x", b""),
        member("link", type=SYMLINK, linkname="real"),
        member("link/folder", type=DIRECTORY, mode=0o711),
        member("real", b"now a file"),
    )
    assert (path / "real").read_bytes() == b"now a file"


def test_many_entries(store: ImageStore) -> None:
    path = unpacked(store, *(member(f"{n % 100}/{n}", b"x") for n in range(5000)))
    assert sum(len(files) for _, _, files in os.walk(path)) == 5000


@pytest.mark.parametrize("compression", ["gzip", "members", "zstd", "frames", "none"])
def test_every_compression_is_read(store: ImageStore, compression: str) -> None:
    tar = tar_of(member("f", os.urandom(100_000)), member("g", bytes(300_000)))
    half = len(tar) // 2
    compress = zstandard.ZstdCompressor().compress
    blob = {
        "gzip": gzip.compress(tar),
        "members": gzip.compress(tar[:half]) + gzip.compress(tar[half:]) + bytes(100),
        "zstd": compress(tar),
        "frames": b"\x50\x2a\x4d\x18\x04\0\0\0meta" + compress(tar[:half]) + compress(tar[half:]),
        "none": tar,
    }[compression]
    path = store.layer_lowerdirs([layer_of(store, tar, blob)])[0]
    assert (path / "g").stat().st_size == 300_000


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress, bytes])
def test_a_truncated_layer_is_refused_wherever_it_ends(store: ImageStore, pack: object) -> None:
    assert callable(pack)
    tar = tar_of(member("f", b"x" * 2000), member("g", b"y" * 2000))
    blob = pack(tar)
    for cut in range(1, len(blob), max(1, len(blob) // 50)):
        with pytest.raises((InvalidLayer, DigestMismatch)):
            store.layer_lowerdirs([layer_of(store, tar, blob[:cut])])
    assert [*(store.blobs.path(Digest("sha256:0")).parents[2] / "layers/ingest").glob("*")] == []


def test_content_of_another_diff_id_is_refused(store: ImageStore, tmp_path: Path) -> None:
    good = layer_of(store, tar_of(member("f", b"good")))
    bad = layer_of(store, tar_of(member("f", b"bad")))
    with pytest.raises(DigestMismatch, match="the config says"):
        store.layer_lowerdirs([Layer(bad.descriptor, good.diff_id)])
    assert sorted(os.listdir(tmp_path / "data/layers")) == ["empty", "ingest"]


def test_a_damaged_blob_is_refused(store: ImageStore) -> None:
    layer = layer_of(store, tar_of(member("f", b"x" * 5000)))
    path = store.blobs.path(Digest(layer.descriptor.digest))
    path.write_bytes(gzip.compress(tar_of(member("f", b"y" * 5000))))
    with pytest.raises(DigestMismatch, match="damaged"):
        store.layer_lowerdirs([layer])


def test_a_size_that_lies_is_refused(store: ImageStore) -> None:
    layer = layer_of(store, tar_of(member("f", b"x")))
    lying = Descriptor(media_type=MediaType.LAYER_GZIP, digest=layer.descriptor.digest, size=17)
    with pytest.raises(DigestMismatch, match="17 were announced"):
        store.layer_lowerdirs([Layer(lying, layer.diff_id)])


def test_what_follows_the_end_of_the_tar_belongs_to_the_digest(store: ImageStore) -> None:
    tar = tar_of(member("f", b"x")) + b"trailing" * 1000
    assert (store.layer_lowerdirs([layer_of(store, tar)])[0] / "f").exists()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(size=100_000), "bytes of files"),
        (Limits(entries=2), "more than 2 entries"),
        (Limits(ratio=10, free_bytes=50_000), "decompression bomb"),
    ],
)
def test_a_bomb_is_stopped(store: ImageStore, tmp_path: Path, limits: Limits, message: str) -> None:
    layer = layer_of(store, tar_of(*(member(f"f{n}", bytes(90_000)) for n in range(3))))
    (tmp_path / "out").mkdir()
    with (
        pytest.raises(InvalidLayer, match=message),
        store.blobs.open(Digest(layer.descriptor.digest)) as blob,
        TreeWriter(tmp_path / "out") as tree,
    ):
        unpack(blob, layer.descriptor, layer.diff_id, tree, limits=limits)


def test_a_sparse_file_of_absurd_size_is_refused(store: ImageStore) -> None:
    headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.size": str(1 << 60),
        "GNU.sparse.map": f"{(1 << 60) - 1},1",
    }
    with pytest.raises(InvalidLayer, match="bytes of files"):
        unpacked(store, member("f", b"x", pax_headers=headers))


def test_a_fault_leaves_the_store_as_it_was(store: ImageStore, tmp_path: Path) -> None:
    image_of(store, layer_of(store, tar_of(member("good", b"x"))), name="good")
    bad = layer_of(store, tar_of(*(member(f"f{n}", b"x") for n in range(50)), member("../x")))
    before = Snapshot.of(tmp_path)
    with pytest.raises(InvalidLayer):
        store.layer_lowerdirs([bad])
    assert Snapshot.of(tmp_path) == before


def test_errors_are_one_line_and_name_the_layer(store: ImageStore) -> None:
    layer = layer_of(store, tar_of(member("../evil\n", b"x")))
    with pytest.raises(InvalidLayer) as caught:
        store.layer_lowerdirs([layer])
    assert "\n" not in str(caught.value)
    assert layer.descriptor.digest in str(caught.value)


def test_a_layer_is_unpacked_once(store: ImageStore) -> None:
    layer = layer_of(store, tar_of(member("f", b"x")))
    first = store.layer_lowerdirs([layer])
    store.blobs.delete(Digest(layer.descriptor.digest))
    assert store.layer_lowerdirs([layer]) == first


def test_a_layer_that_occurs_twice_is_given_once(store: ImageStore) -> None:
    a, b = (layer_of(store, tar_of(member(name, b"x"))) for name in "ab")
    paths = store.layer_lowerdirs([a, b, a])
    assert [os.listdir(path) for path in paths] == [["a"], ["b"]]


def test_an_image_without_layers_has_an_empty_folder(store: ImageStore) -> None:
    paths = store.lowerdirs(image_of(store, name="empty"))
    assert len(paths) == 1
    assert os.listdir(paths[0]) == []


def test_other_users_cannot_look_into_the_layers(store: ImageStore, tmp_path: Path) -> None:
    for folder in ("layers", "images"):
        assert stat.S_IMODE((tmp_path / "data" / folder).stat().st_mode) == 0o700


def test_a_sparse_file_keeps_its_holes(store: ImageStore, tmp_path: Path) -> None:
    with open(tmp_path / "holes", "wb") as file:
        file.write(b"begin")
        file.seek(50 << 20)
        file.write(b"end")
    for flag in ("--format=gnu", "--format=pax", "--sparse-version=0.0", "--sparse-version=0.1"):
        made = subprocess.run(
            ["tar", "-c", "--sparse", flag, "-C", str(tmp_path), "holes"],
            capture_output=True,
            check=True,
        )
        path = store.layer_lowerdirs([layer_of(store, made.stdout)])[0] / "holes"
        assert path.stat().st_size == (50 << 20) + 3
        assert path.stat().st_blocks < 1000
        with open(path, "rb") as file:
            assert file.read(6) == b"begin\0"
            file.seek(50 << 20)
            assert file.read() == b"end"


def test_reading_stops_at_the_end_of_what_is_announced(store: ImageStore) -> None:
    """A tar member that says it is longer than the tar."""
    tar = tar_of(member("f", b"x" * 600))
    info = tarfile.TarInfo("f")
    info.size = 1 << 40
    lying = info.tobuf() + tar[512:]
    with pytest.raises(InvalidLayer):
        store.layer_lowerdirs([layer_of(store, lying)])
    assert io.BytesIO(lying).read(1)
