"""Content by digest."""

import hashlib
import os
from pathlib import Path

import pytest

from wherry.images import DigestMismatch, ImageNotFound, ImageStore, InvalidImage
from wherry.oci import Digest, digest_of


def test_what_is_written_is_read(store: ImageStore) -> None:
    with store.blobs.writer() as writer:
        writer.write(b"some ")
        writer.write(memoryview(b"bytes"))
        found = writer.commit("text/plain")
    digest = digest_of(b"some bytes")
    assert (found.digest, found.size, found.media_type) == (digest, 10, "text/plain")
    assert store.blobs.has(digest)
    assert store.blobs.size(digest) == 10
    assert store.blobs.read(digest, 10) == b"some bytes"
    with store.blobs.open(digest) as file:
        assert file.read() == b"some bytes"


def test_a_blob_without_a_commit_was_never_there(store: ImageStore, tmp_path: Path) -> None:
    with store.blobs.writer() as writer:
        writer.write(b"x")
    assert [*store.blobs.digests()] == []
    assert os.listdir(tmp_path / "data/images/ingest") == []


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_the_digest_and_size_that_are_expected_are_checked(
    store: ImageStore, algorithm: str
) -> None:
    right = Digest(f"{algorithm}:{hashlib.new(algorithm, b'x').hexdigest()}")
    wrong = Digest(f"{algorithm}:{hashlib.new(algorithm, b'y').hexdigest()}")
    for digest, size in ((wrong, 1), (right, 2), (wrong, None)):
        with pytest.raises(DigestMismatch), store.blobs.writer() as writer:
            writer.write(b"x")
            writer.commit("text/plain", digest, size)
    assert [*store.blobs.digests()] == []
    with store.blobs.writer() as writer:
        writer.write(b"x")
        assert writer.commit("text/plain", right, 1).digest == right
    assert [*store.blobs.digests()] == [right]
    assert store.blobs.read(right, 1) == b"x"


def test_the_same_content_twice_is_one_blob(store: ImageStore) -> None:
    for new in (True, False):
        with store.blobs.writer() as writer:
            writer.write(b"x")
            writer.commit("text/plain")
        assert writer.created is new
    assert len([*store.blobs.digests()]) == 1


def test_what_is_not_there_is_told(store: ImageStore) -> None:
    nothing = digest_of(b"nothing")
    assert not store.blobs.has(nothing)
    for action in (store.blobs.open, store.blobs.size, lambda digest: store.blobs.read(digest, 9)):
        with pytest.raises(ImageNotFound, match=nothing):
            action(nothing)
    assert store.blobs.delete(nothing) == 0


def test_reading_is_bounded_and_checked(store: ImageStore) -> None:
    digest = Digest(store.blobs.write("text/plain", b"x" * 100).digest)
    with pytest.raises(InvalidImage, match="larger than the 99 bytes"):
        store.blobs.read(digest, 99)
    store.blobs.path(digest).write_bytes(b"y" * 100)
    with pytest.raises(DigestMismatch, match="damaged"):
        store.blobs.read(digest, 100)
