"""Layers on each other: the same tree that umoci, containerd and GNU tar make of them."""

import gzip
import itertools
import os
import shutil
import stat
import struct
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import peers
from tests.conftest import without
from tests.image_tools import tool
from tests.images.samples import image_of, layer_of, member, tar_of

from wherry.images import Image, ImageStore, Layer, LayerWriter

pytestmark = pytest.mark.root

Listing = dict[str, tuple[object, ...]]
Members = list[tuple[tarfile.TarInfo, bytes]]


def listing(root: Path) -> Listing:
    """All that a layer can say of each path below `root`."""
    found: Listing = {}
    inodes: dict[int, str] = {}
    for folder, folders, files in os.walk(root):
        folders.sort()  # a file is called by its first name, which two copies must agree about
        for name in sorted([*folders, *files]):
            path = Path(folder) / name
            status, relative = path.lstat(), str(path.relative_to(root))
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            attributes = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
                if not key.startswith("trusted.overlay.")
            }
            found[relative] = (
                status.st_mode,
                (status.st_uid, status.st_gid),
                content,
                inodes.setdefault(status.st_ino, relative),
                None if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns,
                attributes,
            )
    return found


@contextmanager
def stacked(store: ImageStore, image: Image) -> Iterator[Path]:
    """The image's layers under one overlay."""
    with ExitStack() as stack:
        target, empty = (Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2))
        # Of one layer alone no overlay can be made; there is always one above in a container.
        lower = ":".join(map(str, (*store.lowerdirs(image), empty)))
        words = ["-t", "overlay", "-o", f"lowerdir={lower}", "overlay", str(target)]
        subprocess.run(["mount", *words], check=True)
        stack.callback(lambda: subprocess.run(["umount", target], check=True))
        yield target


def program(name: str) -> str:
    try:
        return peers.program(name)
    except peers.PeerMissing as error:
        without(str(error))


def by_umoci(store: ImageStore, image: Image, name: str) -> Listing:
    """What umoci makes of an image in the store."""
    layout = store.blobs.path(image.digest).parents[2]
    with tempfile.TemporaryDirectory() as folder:
        words = ("raw", "unpack", "--image", f"{layout}:{name}", f"{folder}/rootfs")
        done = subprocess.run([program("umoci"), *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return listing(Path(folder) / "rootfs")


NAMES = st.sampled_from(["a", "b", "c"])
KINDS = st.sampled_from(["file", "folder", "folder", "link", "hard link", "pipe", "gone", "opaque"])
STEPS = st.lists(st.tuples(st.lists(NAMES, min_size=1, max_size=3), KINDS), max_size=7)


def layer_members(steps: Sequence[tuple[list[str], str]], below: set[str]) -> Members:
    """A layer whose entries have folders for parents, each path once: as real ones are.

    It deletes only what is `below`, which then is what lies there with this layer: of a whiteout in
    a folder that only one layer has, overlayfs shows the name.
    """
    kinds: dict[str, str] = {}
    hidden: set[str] = set()
    deleted: set[str] = set()
    members: Members = []
    for number, (parts, kind) in enumerate(steps):
        path, folder = "/".join(parts), "/".join(parts[:-1])
        if path in kinds or any(path == other or path.startswith(f"{other}/") for other in deleted):
            continue
        parents = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        if any(kinds.get(parent, "folder") != "folder" for parent in parents):
            continue
        for parent in parents:
            if parent not in kinds:
                kinds[parent] = "folder"
                members.append(member(f"{parent}/", type=tarfile.DIRTYPE, mode=0o755, mtime=1))
        content = f"{number}".encode()
        files = [info for info, _ in members if info.isreg() and info.uid]
        match kind:
            case "file":
                members.append(member(path, content, mode=0o4711, mtime=number, uid=number + 1))
            case "folder":
                members.append(member(f"{path}/", type=tarfile.DIRTYPE, mode=0o711, mtime=number))
            case "link":
                members.append(member(path, type=tarfile.SYMTYPE, linkname="../a", mtime=number))
            case "hard link" if files:
                first = files[0]  # Its owner, mode and time again, or others would set new ones.
                info, _ = member(path, type=tarfile.LNKTYPE, linkname=first.name, uid=first.uid)
                info.mode, info.mtime = first.mode, first.mtime
                members.append((info, b""))
            case "pipe":
                members.append(member(path, type=tarfile.FIFOTYPE, mode=0o600, mtime=number))
            case "gone" if path in below and hidden.isdisjoint(parents):
                deleted.add(path)
                members.append(member(f"{folder}/.wh.{parts[-1]}".lstrip("/")))
                continue
            case "opaque":
                members.append(member(f"{path}/", type=tarfile.DIRTYPE, mode=0o700, mtime=number))
                members.append(member(f"{path}/.wh..wh..opq"))
                hidden.add(path)
            case _:
                continue
        kinds[path] = "folder" if kind == "opaque" else kind
    emptied = deleted | hidden | {path for path, kind in kinds.items() if kind != "folder"}
    below.difference_update(deleted)
    below -= {path for path in below if any(path.startswith(f"{top}/") for top in emptied)}
    below |= kinds.keys()
    return members


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(layers=st.lists(STEPS, min_size=1, max_size=4))
def test_any_layers_stack_as_umoci_unpacks_them(
    store: ImageStore, layers: list[list[tuple[list[str], str]]]
) -> None:
    below: set[str] = set()
    made = [layer_of(store, tar_of(*layer_members(steps, below))) for steps in layers]
    image = image_of(store, *made, name="any")
    with stacked(store, image) as root:
        assert listing(root) == by_umoci(store, image, "any:latest")
    assert store.check() == []


def varied_layers(store: ImageStore) -> list[Layer]:
    """Two layers with what ordinary and less ordinary images have."""
    headers = {"SCHILY.xattr.user.mine": "value"}
    lower = [
        member("bin/", type=tarfile.DIRTYPE, mode=0o755, mtime=5),
        member("bin/tool", b"tool" * 1000, mode=0o6755, mtime=7, uid=12, gid=34),
        member(
            "bin/again",
            type=tarfile.LNKTYPE,
            linkname="bin/tool",
            mode=0o6755,
            mtime=7,
            uid=12,
            gid=34,
        ),
        member("bin/sh", type=tarfile.SYMTYPE, linkname="/bin/tool", mtime=8),
        member("etc/", type=tarfile.DIRTYPE, mode=0o755),
        member("etc/" + "long" * 50, b"long", mtime=9, pax_headers=headers),
        member("etc/gone", b"x", mtime=1),
        member("opaque/", type=tarfile.DIRTYPE, mode=0o1777),
        member("opaque/below", b"x", mtime=1),
        member("replaced/", type=tarfile.DIRTYPE, mode=0o755),
        member("replaced/below", b"x", mtime=1),
        member("pipe", type=tarfile.FIFOTYPE, mode=0o640, mtime=1),
        member("huge", b"", uid=3_000_000_000, gid=2**31, mtime=1 << 33),
    ]
    upper = [
        member("etc/", type=tarfile.DIRTYPE, mode=0o700),
        member("etc/.wh.gone"),
        member("opaque/", type=tarfile.DIRTYPE, mode=0o755),
        member("opaque/.wh..wh..opq"),
        member("opaque/above", b"x", mtime=2),
        member("replaced", b"now a file", mtime=3),
    ]
    return [
        layer_of(store, tar_of(*lower)),
        layer_of(store, tar_of(*upper, format=tarfile.GNU_FORMAT)),
    ]


@pytest.mark.containerd
def test_layers_stack_as_containerd_mounts_them(
    store: ImageStore, containerd: peers.Containerd, tmp_path: Path
) -> None:
    image = image_of(store, *varied_layers(store), name="varied:1")
    with open(tmp_path / "varied.tar", "wb") as out:
        store.save(["varied:1"], out)
    done = containerd.ctr(
        "images", "import", "--platform", "wasi/wasm", str(tmp_path / "varied.tar")
    )
    assert done.returncode == 0, done.stderr
    name, target = "docker.io/library/varied:1", tmp_path / "mounted"
    target.mkdir()
    done = containerd.ctr("images", "mount", "--platform", "wasi/wasm", name, str(target))
    assert done.returncode == 0, done.stderr
    try:
        theirs = listing(target)
    finally:
        subprocess.run(["umount", target], check=True)
    with stacked(store, image) as root:
        assert listing(root) == theirs
    assert "etc/gone" not in theirs and "opaque/below" not in theirs


@pytest.mark.parametrize("compression", ["zstd:chunked", "zstd", "gzip"])
def test_what_skopeo_compresses_is_read(
    store: ImageStore, tmp_path: Path, compression: str
) -> None:
    """zstd:chunked has an index of its files behind them, in frames that are skipped."""
    with LayerWriter(store.blobs, compression="none") as writer:
        for number in range(20):
            writer.add_file(f"file{number}", os.urandom(2000) * 20, mtime=number)
        layer = writer.commit()
    image = image_of(store, layer, name="plain")
    flags = (
        "--dest-compress",
        "--dest-force-compress-format",
        "--dest-compress-format",
        compression,
    )
    done = tool("skopeo").run(
        "--insecure-policy", "copy", *flags,
        f"oci:{tmp_path}/data/images:plain:latest", f"oci:{tmp_path}/data/images:packed:latest",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    packed = store.resolve("packed")
    descriptor = packed.manifest.layers[0]
    assert descriptor.digest != layer.descriptor.digest
    assert descriptor.media_type.endswith(f"+{compression.partition(':')[0]}")
    if compression == "zstd:chunked":
        assert any("zstd-chunked" in key for key in descriptor.annotations or {})
    (ours,) = store.lowerdirs(image)
    expected = listing(ours)
    other = ImageStore(tmp_path / "other")  # Where nothing of that diff_id is unpacked yet.
    with open(tmp_path / "packed.tar", "wb") as out:
        store.save(["packed"], out)
    with open(tmp_path / "packed.tar", "rb") as file:
        other.load(file)
    (theirs,) = other.lowerdirs(other.resolve("packed"))
    assert listing(theirs) == expected


def test_what_an_estargz_is_made_of_is_read(store: ImageStore) -> None:
    """eStargz: a gzip member for each file, a table of contents, and an empty one as footer."""
    tar = tar_of(member("one", b"1" * 700), member("two", b"2" * 300), member("stargz.index.json"))
    cuts = [0, 512 + 1024, 2 * 512 + 1024 + 512, len(tar)]
    blob = b"".join(gzip.compress(tar[a:b]) for a, b in itertools.pairwise(cuts))
    footer = (
        b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + struct.pack("<H", 26) + b"SG" + struct.pack("<H", 22)
    )
    footer += b"%016xSTARGZ" % cuts[2] + b"\x01\0\0\xff\xff" + bytes(8)
    (path,) = store.layer_lowerdirs([layer_of(store, tar, blob + footer)])
    assert (path / "two").read_bytes() == b"2" * 300


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with all that tar has formats for."""
    root = tmp_path / "tree"
    root.mkdir()
    (root / ("deep/" * 30)).mkdir(parents=True)
    (root / ("deep/" * 30) / ("n" * 200)).write_bytes(b"long")
    (root / "link").symlink_to("x" * 150)
    (root / "program").write_bytes(b"x" * 100)
    (root / "program").chmod(0o4755)
    capability = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
    os.setxattr(root / "program", "security.capability", capability)
    os.setxattr(root / "program", "user.bytes", b"a\n\0b")
    (root / "old").write_bytes(b"")
    os.utime(root / "old", ns=(0, -86_400_000_000_000))
    (root / "exact").write_bytes(b"")
    os.utime(root / "exact", ns=(0, 1_234_567_890_123_456_789))
    (root / "owned").write_bytes(b"")
    os.chown(root / "owned", 4_000_000_000, 3_000_000_000)
    with open(root / "sparse", "wb") as file:
        for place in range(12):
            file.seek(place << 20)
            file.write(b"here")
        file.truncate(64 << 20)
    (root / "last").hardlink_to(root / "program")
    return root


@pytest.mark.parametrize("words", [
    ["--format=gnu"],
    ["--format=posix", "--sparse-version=0.0"],
    ["--format=posix", "--sparse-version=0.1"],
    ["--format=posix", "--sparse-version=1.0"],
])  # fmt: skip
def test_what_gnu_tar_packs_comes_out_as_it_was(
    store: ImageStore, tree: Path, words: list[str]
) -> None:
    posix = words[0] == "--format=posix"
    flags = ["--sparse", "--sort=name", *(["--xattrs", "--xattrs-include=*"] if posix else [])]
    done = subprocess.run(
        [program("tar"), "-c", *words, *flags, "-C", tree, "."], capture_output=True
    )
    assert done.returncode == 0, done.stderr
    (path,) = store.layer_lowerdirs([layer_of(store, done.stdout)])
    expected, found = listing(tree), listing(path)
    if not posix:  # It has whole seconds, and no attributes.
        for each in (expected, found):
            for name, (mode, owner, content, inode, time, _) in each.items():
                whole = time // 1_000_000_000 if isinstance(time, int) else None
                each[name] = (mode, owner, content, inode, whole, None)
    assert found == expected
    assert (path / "sparse").stat().st_blocks * 512 < 1 << 20
    shutil.rmtree(tree)
