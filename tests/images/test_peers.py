"""What we write, read by skopeo, umoci and GNU tar."""

import json
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import without
from tests.images.samples import image_of, layer_of, member, simple_image, tar_of
from tests.images.test_attachments import hang

from wherry.images import Image, ImageStore, LayerWriter

DIRECTORY = tarfile.DIRTYPE


def run(*argv: str | Path) -> str:
    """What a peer prints; skips when it is not there."""
    if not shutil.which(str(argv[0])):
        without(f"{argv[0]} is not installed")
    done = subprocess.run([str(arg) for arg in argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rich_image(store: ImageStore) -> Image:
    """Three layers with everything that a tar of files can have and any tool keeps."""
    with store.hold():
        with LayerWriter(store.blobs) as writer:
            writer.add_directory("bin", mtime=100)
            writer.add_file("bin/tool", b"tool" * 1000, mode=0o4755, mtime=123)
            writer.add_hardlink("bin/other", "bin/tool")
            writer.add_symlink("bin/sh", "/bin/tool", mtime=55)
            writer.add_file("etc/" + "long" * 60, b"long", uid=1000, gid=100)
            writer.add_file("etc/é", b"accent", mode=0o600, xattrs={"user.mine": b"1\n2"})
            writer.add_directory("var/gone", mode=0o1777)
            writer.add_file("var/gone/a", b"a")
            writer.add_file("var/opaque/a", b"a")
            writer.add_file("var/replaced/a", b"a")
            first = writer.commit()
        with LayerWriter(store.blobs, compression="none") as writer:
            writer.add_whiteout("var/gone")
            writer.add_directory("var/opaque", mtime=7)
            writer.add_opaque("var/opaque")
            writer.add_file("var/opaque/b", b"b", uid=3_000_000)
            writer.add_file("var/replaced", b"now a file")
            second = writer.commit()
        third = layer_of(
            store,
            tar_of(
                member("srv/", type=DIRECTORY, mode=0o755),
                member("srv/" + "x" * 200, b"pax"),
                member("srv/pipe", type=tarfile.FIFOTYPE, mode=0o640),
                format=tarfile.GNU_FORMAT,
            ),
        )
        return image_of(store, first, second, third, name="rich:1")


def listing(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything about each file below `root` that a layer can say."""
    found: dict[str, tuple[object, ...]] = {}
    inodes: dict[int, str] = {}
    for folder, folders, files in os.walk(root):
        folders.sort()  # a file is called by its first name, which two copies must agree about
        for name in sorted([*folders, *files]):
            path = Path(folder) / name
            status = path.lstat()
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
            is_folder = stat.S_ISDIR(status.st_mode)
            found[str(path.relative_to(root))] = (
                status.st_mode,
                status.st_uid,
                status.st_gid,
                content,
                inodes.setdefault(status.st_ino, str(path.relative_to(root))),
                None if is_folder else int(status.st_mtime),
                attributes,
            )
    return found


@pytest.fixture
def merged(tmp_path: Path) -> Iterator[Path]:
    """A mount point for an overlay."""
    path = tmp_path / "merged"
    path.mkdir()
    yield path
    subprocess.run(["umount", path])


@pytest.mark.root
def test_the_stacked_layers_are_what_umoci_unpacks(
    store: ImageStore, tmp_path: Path, merged: Path
) -> None:
    image = rich_image(store)
    run("umoci", "raw", "unpack", "--image", f"{tmp_path}/data/images:rich:1", tmp_path / "rootfs")
    lower = ":".join(map(str, store.lowerdirs(image)))
    options = f"lowerdir={lower}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", merged], check=True)
    theirs, ours = listing(tmp_path / "rootfs"), listing(merged)
    for name in ("var", "etc"):  # Folders that no layer has an entry for.
        assert stat.S_ISDIR(ours[name][0])  # type: ignore[arg-type]
    assert ours == theirs
    assert "var/opaque/a" not in ours
    assert "var/gone" not in ours


def test_skopeo_reads_the_store(store: ImageStore, tmp_path: Path) -> None:
    image = simple_image(store, "hello")
    simple_image(store, "example.com/other:2", "2")
    for name in ("hello:latest", "example.com/other:2"):
        told = json.loads(run("skopeo", "inspect", f"oci:{tmp_path}/data/images:{name}"))
        assert told["Os"] == "wasi"
        assert told["Architecture"] == "wasm"
    told = json.loads(run("skopeo", "inspect", f"oci:{tmp_path}/data/images:hello:latest"))
    assert told["Digest"] == image.digest
    assert told["Layers"] == [layer.digest for layer in image.manifest.layers]


@pytest.mark.parametrize("kind", ["oci", "dir", "oci-archive", "docker-archive"])
def test_skopeo_copies_out_of_the_store(store: ImageStore, tmp_path: Path, kind: str) -> None:
    image = rich_image(store)
    target = f"{kind}:{tmp_path}/copy"
    run("skopeo", "copy", f"oci:{tmp_path}/data/images:rich:1", target)
    told = json.loads(run("skopeo", "inspect", "--raw", target))
    assert told["config"]["digest"] == image.id
    if kind != "docker-archive":  # Compressed layers are copied as they are.
        assert told["layers"][0]["digest"] == image.manifest.layers[0].digest
        assert told["layers"][2]["digest"] == image.manifest.layers[2].digest


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_what_skopeo_writes_is_loaded(store: ImageStore, tmp_path: Path, kind: str) -> None:
    image = rich_image(store)
    copy = f"{kind}:{tmp_path}/copy.tar:rich:1"
    run("skopeo", "copy", f"oci:{tmp_path}/data/images:rich:1", copy)
    other = ImageStore(tmp_path / "other")
    with open(tmp_path / "copy.tar", "rb") as file:
        assert other.load(file) == ["rich:1"]
    loaded = other.resolve("rich:1")
    assert loaded.id == image.id
    assert other.check() == []
    assert [listing(path) for path in other.lowerdirs(loaded)] == [
        listing(path) for path in store.lowerdirs(image)
    ]


@pytest.mark.parametrize("reader", ["oci-archive", "docker-archive"])
def test_skopeo_reads_what_save_writes(store: ImageStore, tmp_path: Path, reader: str) -> None:
    image = rich_image(store)
    hang(store, image, b"a signature, say")
    with open(tmp_path / "saved.tar", "wb") as out:
        store.save(["rich:1"], out)
    run("skopeo", "copy", f"{reader}:{tmp_path}/saved.tar:rich:1", f"dir:{tmp_path}/copy")
    manifest = json.loads((tmp_path / "copy/manifest.json").read_bytes())
    config = manifest["config"]["digest"]
    assert (config == image.id) is (reader == "oci-archive")  # Docker's says it is for linux.
    raw = json.loads((tmp_path / "copy" / config.removeprefix("sha256:")).read_bytes())
    assert raw["rootfs"]["diff_ids"] == image.config.rootfs.diff_ids


def test_what_skopeo_puts_into_the_store_is_an_image(store: ImageStore, tmp_path: Path) -> None:
    image = simple_image(store, "hello")
    run("skopeo", "copy", f"oci:{tmp_path}/data/images:hello:latest", f"oci:{tmp_path}/copy:x:1")
    run("skopeo", "copy", f"oci:{tmp_path}/copy:x:1", f"oci:{tmp_path}/data/images:y:2")
    assert store.resolve("y:2").id == image.id


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_gnu_tar_reads_our_layers(store: ImageStore, tmp_path: Path, compression: str) -> None:
    with LayerWriter(store.blobs, compression=compression) as writer:  # type: ignore[arg-type]
        writer.add_file("a/" + "b" * 300, b"x" * 1000, mtime=-5, uid=1 << 22)
        writer.add_file("é", b"", mtime=1 << 34)
        layer = writer.commit()
    blob = store.blobs.path(layer.descriptor.digest)  # type: ignore[arg-type]
    flag = {"gzip": ["-z"], "zstd": ["--zstd"], "none": []}[compression]
    if compression == "zstd" and not shutil.which("zstd"):
        without("zstd is not installed")
    told = run("tar", "--list", "--verbose", "--numeric-owner", *flag, "-f", blob)
    first, second = told.splitlines()
    assert first.split()[1:3] == [f"{1 << 22}/0", "1000"]
    assert "1969-12-31" in first or "1970-01-01" in first
    assert "2514-05-30" in second
