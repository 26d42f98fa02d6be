"""Layers that we write."""

import gzip
import hashlib
import io
import tarfile
from typing import Literal

import pytest
import zstandard

from wherry.images import ImageError, ImageStore, Layer, LayerWriter
from wherry.images.compression import decompressed
from wherry.oci import Digest, MediaType


def write(
    store: ImageStore,
    compression: Literal["gzip", "zstd", "none"] = "gzip",
    clamp: int | None = None,
) -> Layer:
    with LayerWriter(store.blobs, compression=compression, clamp=clamp) as writer:
        writer.add_directory("app", mtime=5)
        writer.add_file("app/run", b"data" * 10_000, mode=0o755, mtime=50)
        writer.add_file("app/stream", io.BytesIO(b"stream"), 6)
        writer.add_symlink("link", "/app/run")
        writer.add_hardlink("again", "app/run")
        writer.add_whiteout("gone/file")
        writer.add_opaque("hidden")
        return writer.commit()


def content(store: ImageStore, layer: Layer) -> bytes:
    with store.blobs.open(Digest(layer.descriptor.digest)) as blob:
        stream = decompressed(blob)
        parts = []
        while data := stream.read(1 << 16):
            parts.append(data)
    return b"".join(parts)


@pytest.mark.parametrize(
    ("compression", "kind"),
    [
        ("gzip", MediaType.LAYER_GZIP),
        ("zstd", MediaType.LAYER_ZSTD),
        ("none", MediaType.LAYER),
    ],
)
def test_a_layer_is_what_its_digests_say(
    store: ImageStore, compression: Literal["gzip", "zstd", "none"], kind: str
) -> None:
    layer = write(store, compression)
    assert layer.descriptor.media_type == kind
    blob = store.blobs.path(Digest(layer.descriptor.digest)).read_bytes()
    assert layer.descriptor.size == len(blob)
    assert layer.descriptor.digest == "sha256:" + hashlib.sha256(blob).hexdigest()
    tar = content(store, layer)
    assert layer.diff_id == "sha256:" + hashlib.sha256(tar).hexdigest()
    if compression == "gzip":
        assert gzip.decompress(blob) == tar
    elif compression == "zstd":
        assert zstandard.ZstdDecompressor().decompressobj().decompress(blob) == tar
    else:
        assert blob == tar


def test_a_layer_has_what_was_added(store: ImageStore) -> None:
    with tarfile.open(fileobj=io.BytesIO(content(store, write(store)))) as tar:
        assert tar.getnames() == [
            "app", "app/run", "app/stream", "link", "again", "gone/.wh.file", "hidden/.wh..wh..opq",
        ]  # fmt: skip
        assert tar.getmember("app/run").mtime == 50
        assert all(info.uname == info.gname == "" for info in tar)
        stream = tar.extractfile("app/stream")
        assert stream and stream.read() == b"stream"


def test_the_same_entries_are_the_same_layer(store: ImageStore) -> None:
    kinds: tuple[Literal["gzip", "zstd", "none"], ...] = ("gzip", "zstd", "none")
    for compression in kinds:
        assert write(store, compression) == write(store, compression)


def test_no_time_is_later_than_the_clamp(store: ImageStore) -> None:
    with tarfile.open(fileobj=io.BytesIO(content(store, write(store, clamp=10)))) as tar:
        assert {info.name: info.mtime for info in tar if info.mtime} == {"app": 5, "app/run": 10}


def test_the_gzip_header_says_nothing_of_the_machine(store: ImageStore) -> None:
    layer = write(store)
    blob = store.blobs.path(Digest(layer.descriptor.digest)).read_bytes()
    assert blob[:10] == bytes.fromhex("1f8b08000000000000ff")


def test_a_layer_that_is_not_committed_leaves_nothing(store: ImageStore) -> None:
    with pytest.raises(RuntimeError), LayerWriter(store.blobs) as writer:
        writer.add_file("f", b"x" * 1_000_000)
        raise RuntimeError
    assert [*store.blobs.digests()] == []
    assert [*store.blobs.leftovers()] == []


def test_a_file_that_becomes_shorter_is_told(store: ImageStore) -> None:
    with pytest.raises(ImageError, match="shorter"), LayerWriter(store.blobs) as writer:
        writer.add_file("f", io.BytesIO(b"abc"), 5)


def test_a_file_that_becomes_longer_is_cut(store: ImageStore) -> None:
    with LayerWriter(store.blobs) as writer:
        writer.add_file("f", io.BytesIO(b"abcdef"), 3)
        layer = writer.commit()
    assert (store.layer_lowerdirs([layer])[0] / "f").read_bytes() == b"abc"
