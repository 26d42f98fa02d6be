"""Archives in and out: every format, every lie."""

import gzip
import hashlib
import io
import json
import tarfile
from functools import partial
from pathlib import Path

import pytest
import zstandard
from tests.images.samples import (
    Snapshot,
    archive_of,
    edited,
    image_of,
    layer_of,
    member,
    saved,
    simple_image,
    tar_of,
)

from wherry.images import (
    DigestMismatch,
    ImageError,
    ImageNotFound,
    ImageStore,
    InvalidImage,
    InvalidLayer,
)
from wherry.oci import Index, MediaType, encode, parse_reference


class Pipe(io.RawIOBase):
    """A stream that cannot seek and gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int = 1000) -> None:
        self._data = io.BytesIO(data)
        self._step = step

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, self._step) if size >= 0 else self._step)


@pytest.fixture
def other(tmp_path: Path) -> ImageStore:
    """Another empty store."""
    return ImageStore(tmp_path / "other")


def docker_archive(*, layout: str = "classic", tags: list[str] | None = None) -> bytes:
    """What `docker save` wrote before version 25: layers by folder, one of them a link."""
    tar = tar_of(member("hello.wasm", b"\0asm\1\0\0\0"))
    diff_id = "sha256:" + hashlib.sha256(tar).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2023-01-01T00:00:00.123456789Z",
            "docker_version": "20.10.24",
            "container_config": {"Hostname": "x", "Cmd": None},
            "config": {"Env": None, "Cmd": ["/hello"], "Labels": None, "OnBuild": None},
            "history": [{"created": "2023-01-01T00:00:00Z", "created_by": "COPY"}],
            "rootfs": {"type": "layers", "diff_ids": [diff_id, diff_id]},
        }
    ).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, data in (("aaa/VERSION", b"1.0"), ("aaa/json", b"{}"), ("aaa/layer.tar", tar)):
            archive.addfile(*_filed(path, data))
        if layout == "classic":
            link = tarfile.TarInfo("bbb/layer.tar")
            link.type, link.linkname = tarfile.SYMTYPE, "../aaa/layer.tar"
            archive.addfile(link)
        archive.addfile(*_filed(name, config))
        layers = ["aaa/layer.tar", "bbb/layer.tar" if layout == "classic" else "aaa/layer.tar"]
        manifest = [{"Config": name, "RepoTags": tags, "Layers": layers}]
        archive.addfile(*_filed("manifest.json", json.dumps(manifest).encode()))
    return out.getvalue()


def _filed(name: str, data: bytes) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info, content = member(name, data)
    return info, io.BytesIO(content)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_what_is_saved_is_loaded_alike(store: ImageStore, other: ImageStore, pack: object) -> None:
    assert callable(pack)
    simple_image(store, "hello", "1")
    store.tag(simple_image(store, "example.com/x/y:2", "2").target, parse_reference("z"))
    archive = saved(store, "hello", "example.com/x/y:2", "z")
    assert other.load(Pipe(pack(archive))) == ["hello:latest", "example.com/x/y:2", "z:latest"]
    assert other.list() == store.list()
    assert other.check() == []
    assert saved(other, "hello", "example.com/x/y:2", "z") == archive


def test_an_image_saved_by_id_has_no_name_after(store: ImageStore, other: ImageStore) -> None:
    image = simple_image(store, "hello")
    assert other.load(io.BytesIO(saved(store, image.id))) == [image.id]
    assert other.resolve(image.id).names == []


def test_an_index_is_saved_with_all_its_images(store: ImageStore, other: ImageStore) -> None:
    first, second = simple_image(store, None, "1"), simple_image(store, None, "2")
    index = Index(schema_version=2, manifests=[first.descriptor, second.descriptor])
    with store.hold():
        target = store.blobs.write(MediaType.INDEX, encode(index))
        store.tag(target, parse_reference("multi"))
    assert other.load(io.BytesIO(saved(store, "multi"))) == ["multi:latest"]
    assert other.resolve("multi").target.digest == target.digest
    assert len(other.platforms("multi")) == 2


def test_nothing_is_written_for_a_name_that_is_not_there(store: ImageStore) -> None:
    simple_image(store, "hello")
    out = io.BytesIO()
    with pytest.raises(ImageNotFound):
        store.save(["hello", "nope"], out)
    assert out.getvalue() == b""


@pytest.mark.parametrize("layout", ["classic", "shared"])
def test_a_classic_docker_archive_keeps_the_id(other: ImageStore, layout: str) -> None:
    archive = docker_archive(layout=layout, tags=["busybox:1", "example.com/b:2"])
    assert other.load(Pipe(archive)) == ["busybox:1", "example.com/b:2"]
    image = other.resolve("busybox:1")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        name = next(n for n in tar.getnames() if n.endswith(".json") and len(n) == 69)
    assert image.id == f"sha256:{name.removesuffix('.json')}"
    assert image.config.config and image.config.config.cmd == ["/hello"]
    assert (other.lowerdirs(image)[0] / "hello.wasm").exists()
    assert other.check() == []
    kept = {*image.blobs}
    assert {*other.blobs.digests()} == kept  # VERSION and its like are not.


def test_a_docker_archive_without_names_is_loaded_by_id(other: ImageStore) -> None:
    assert other.load(Pipe(docker_archive())) == [other.list()[0].id]


def test_compressed_layers_in_a_docker_archive(other: ImageStore) -> None:
    archive = edited(
        docker_archive(layout="shared", tags=["x"]),
        lambda name, data: (name, gzip.compress(data) if name.endswith("layer.tar") else data),
    )
    other.load(Pipe(archive))
    assert other.resolve("x").manifest.layers[0].media_type == MediaType.LAYER_GZIP
    assert other.lowerdirs(other.resolve("x"))


def test_a_layer_of_another_content_than_the_config_says(other: ImageStore) -> None:
    wrong = tar_of(member("other", b"x"))
    for data in (wrong, gzip.compress(wrong)):
        archive = edited(
            docker_archive(layout="shared"),
            partial(_with_layer, data),
        )
        assert_refused(other, archive, DigestMismatch)


def _with_layer(layer: bytes, name: str, old: bytes) -> tuple[str, bytes]:
    return name, layer if name.endswith("layer.tar") else old


def assert_refused(
    store: ImageStore,
    archive: bytes,
    kind: type[ImageError] = InvalidImage,
    about: str | None = None,
) -> None:
    """Loading fails with one line, and the store is as it was."""
    root = store.blobs.path("sha256:0").parents[3]  # type: ignore[arg-type]
    before = Snapshot.of(root)
    with pytest.raises(kind, match=about) as caught:
        store.load(Pipe(archive))
    assert "\n" not in str(caught.value)
    assert Snapshot.of(root) == before


@pytest.fixture
def good(store: ImageStore) -> bytes:
    """An archive in which everything is right."""
    image_of(store, layer_of(store, tar_of(member("f", b"x" * 3000))), name="good")
    return saved(store, "good")


@pytest.fixture
def full(other: ImageStore) -> ImageStore:
    """A store with an image in it, which must survive."""
    simple_image(other, "kept")
    return other


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\0",
        b"this is no archive",
        b"\0" * 10240,
        b"\x1f\x8b",
        gzip.compress(b"neither is this", mtime=0),
        b"\x28\xb5\x2f\xfd garbage",
        b"\0asm\1\0\0\0",
        archive_of([]),
        archive_of([("etc/passwd", b"root")]),
        archive_of([("index.json", b"{}"), ("oci-layout", b"{}")]),
        archive_of([("index.json", b"["), ("oci-layout", b"{}")]),
        archive_of([("index.json", b'{"schemaVersion":2,"manifests":[]}'), ("oci-layout", b"{}")]),
        archive_of([("manifest.json", b"{}")]),
        archive_of([("manifest.json", b"[]")]),
        archive_of([("manifest.json", b'[{"Config":"nope","Layers":[]}]')]),
        archive_of([("manifest.json", b'[{"Config":"../../etc/passwd","Layers":[]}]')]),
        archive_of([("manifest.json", b'[{"Config":"manifest.json","Layers":null}]')]),
        archive_of([("manifest.json", b"[" * 100_000)]),
    ],
)
def test_garbage_is_refused(full: ImageStore, garbage: bytes) -> None:
    assert_refused(full, garbage)


def test_an_archive_cut_anywhere_is_refused(full: ImageStore, good: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(good)) as tar:
        end = max(info.offset_data + info.size for info in tar)
    for cut in range(0, end, 777):
        assert_refused(full, good[:cut])
    packed = gzip.compress(good)
    for cut in range(0, len(packed), 333):
        assert_refused(full, packed[:cut])


def test_a_blob_of_another_digest_is_refused(full: ImageStore, good: bytes) -> None:
    def change(name: str, data: bytes) -> tuple[str, bytes]:
        return (name, data[:-1] + b"?") if name.startswith("blobs/") else (name, data)

    assert_refused(full, edited(good, change), DigestMismatch)


@pytest.mark.parametrize("missing", range(3))
def test_a_missing_blob_is_named(full: ImageStore, good: bytes, missing: int) -> None:
    with tarfile.open(fileobj=io.BytesIO(good)) as tar:
        blobs = [info.name for info in tar if info.isfile() and info.name.startswith("blobs/")]
    gone = blobs[missing]
    archive = edited(good, lambda name, data: None if name == gone else (name, data))
    assert_refused(full, archive, InvalidImage, gone.rpartition("/")[2])


def test_sizes_that_lie_are_refused(full: ImageStore, good: bytes) -> None:
    def change(name: str, data: bytes) -> tuple[str, bytes]:
        if name == "index.json":
            index = json.loads(data)
            index["manifests"][0]["size"] += 1
            data = json.dumps(index).encode()
        return name, data

    assert_refused(full, edited(good, change), InvalidImage, "announced")


@pytest.mark.parametrize(
    "kind", ["application/vnd.cncf.helm.config.v1+json", "text/html", MediaType.INDEX]
)
def test_other_media_types_are_refused(full: ImageStore, good: bytes, kind: str) -> None:
    def change(name: str, data: bytes) -> tuple[str, bytes]:
        if name == "index.json":
            data = data.replace(MediaType.MANIFEST.encode(), kind.encode())
        return name, data

    assert_refused(full, edited(good, change))


def test_an_index_that_contains_itself_in_depth_is_refused(full: ImageStore) -> None:
    files: list[tuple[str, bytes]] = []
    inner = b'{"schemaVersion":2,"manifests":[]}'
    for _ in range(10):
        digest = hashlib.sha256(inner).hexdigest()
        files.append((f"blobs/sha256/{digest}", inner))
        child = {"mediaType": MediaType.INDEX, "digest": f"sha256:{digest}", "size": len(inner)}
        inner = json.dumps({"schemaVersion": 2, "manifests": [child]}).encode()
    assert_refused(
        full, archive_of([*files, ("index.json", inner), ("oci-layout", b"{}")]), InvalidImage
    )


def test_an_index_within_an_index_is_loaded(store: ImageStore, other: ImageStore) -> None:
    image = simple_image(store, None)
    inner = store.blobs.write(
        MediaType.INDEX, encode(Index(schema_version=2, manifests=[image.descriptor]))
    )
    outer = store.blobs.write(MediaType.INDEX, encode(Index(schema_version=2, manifests=[inner])))
    store.tag(outer, parse_reference("nested"))
    assert other.load(io.BytesIO(saved(store, "nested"))) == ["nested:latest"]
    assert other.resolve("nested").id == image.id
    assert store.remove("nested").deleted == [image.id]


def test_indexes_that_name_each_other_a_thousand_times_are_read_once(
    store: ImageStore, other: ImageStore
) -> None:
    descriptor = simple_image(store, None).descriptor
    for _ in range(4):
        index = Index(schema_version=2, manifests=[descriptor] * 1000)
        descriptor = store.blobs.write(MediaType.INDEX, encode(index))
    store.tag(descriptor, parse_reference("many"))
    assert other.load(io.BytesIO(saved(store, "many"))) == ["many:latest"]
    assert len(other.platforms("many")) == 1


def test_thousands_of_layers_are_refused(full: ImageStore) -> None:
    tar = tar_of(member("f"))
    diff_id = "sha256:" + hashlib.sha256(tar).hexdigest()
    config = json.dumps(
        {
            "architecture": "wasm",
            "os": "wasi",
            "rootfs": {"type": "layers", "diff_ids": [diff_id] * 3000},
        }
    ).encode()
    manifest = json.dumps([{"Config": "c.json", "Layers": ["l.tar"] * 3000}]).encode()
    archive = archive_of([("l.tar", tar), ("c.json", config), ("manifest.json", manifest)])
    assert_refused(full, archive, InvalidImage, "3000 layers, at most 127")


@pytest.mark.parametrize(
    "name", ["../../escaped", "/../escaped", "a/../../escaped", "blobs/sha256/../../../escaped"]
)
def test_names_that_climb_out_are_refused(full: ImageStore, good: bytes, name: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(good)) as tar:
        files = [(i.name, tar.extractfile(i)) for i in tar if i.isfile()]
        parts = [(path, file.read()) for path, file in files if file]
    assert_refused(full, archive_of([(name, b"x"), *parts]), InvalidImage, "climbs out")


@pytest.mark.parametrize("name", ["blobs/sha256/short", "blobs/md5/" + "0" * 32])
def test_blobs_that_have_no_digest_for_a_name_are_refused(
    full: ImageStore, good: bytes, name: str
) -> None:
    assert_refused(full, archive_of([(name, b"x")]), InvalidImage, "blob with the name")


def test_links_and_devices_in_an_archive_lead_nowhere(full: ImageStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("{}")
    archive = tar_of(
        member("config.json", type=tarfile.SYMTYPE, linkname=str(secret)),
        member("loop", type=tarfile.SYMTYPE, linkname="loop"),
        member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        member("manifest.json", b'[{"Config":"config.json","Layers":["loop"]}]'),
    )
    assert_refused(full, archive, InvalidImage, "no file 'config.json'")


def test_a_bomb_is_stopped(full: ImageStore) -> None:
    info, _ = member("x")
    info.size = 1 << 40
    packer = zstandard.ZstdCompressor().compressobj()
    parts = [packer.compress(info.tobuf())]
    parts += [packer.compress(bytes(1 << 24)) for _ in range(70)]
    bomb = b"".join(parts) + packer.flush()
    assert len(bomb) < 1_000_000
    assert_refused(full, bomb, InvalidImage, "bomb")


def test_names_that_are_none_are_refused_or_left_out(full: ImageStore) -> None:
    assert_refused(full, docker_archive(tags=["UPPER:x"]), InvalidImage, "UPPER")


def test_an_oci_archive_with_a_name_that_is_none_is_loaded_by_id(
    other: ImageStore, good: bytes
) -> None:
    def change(name: str, data: bytes) -> tuple[str, bytes]:
        return name, data.replace(b"good:latest", b"Not A Name")

    assert other.load(Pipe(edited(good, change))) == [other.list()[0].id]


def test_a_name_that_moves_by_loading_leaves_its_image_dangling(
    store: ImageStore, other: ImageStore
) -> None:
    old = simple_image(other, "hello", "old")
    new = simple_image(store, "hello", "new")
    other.load(Pipe(saved(store, "hello")))
    assert other.resolve("hello").id == new.id
    assert other.resolve(old.id).names == []


def test_a_reader_that_fails_is_told_and_leaves_nothing(full: ImageStore, good: bytes) -> None:
    class Broken(Pipe):
        def read(self, size: int = -1) -> bytes:
            data = super().read(size)
            if not data:
                raise ConnectionResetError("the client went away")
            return data

    before = {*full.blobs.digests()}
    with pytest.raises(ConnectionResetError):
        full.load(Broken(good[: len(good) // 2]))
    assert {*full.blobs.digests()} == before


def test_broken_compression_names_itself(full: ImageStore, good: bytes) -> None:
    packed = bytearray(gzip.compress(good))
    packed[len(packed) // 2] ^= 0xFF
    assert_refused(full, bytes(packed), InvalidImage)
    assert issubclass(InvalidLayer, InvalidImage)
