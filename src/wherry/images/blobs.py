"""Content by digest: the `blobs/` folder of an OCI image layout (image-layout.md)."""

import hashlib
import itertools
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Self

from wherry.disk import allocated, below
from wherry.images.durable import begin_flush, sync_directory
from wherry.images.errors import DigestMismatch, ImageNotFound, InvalidImage, storage_errors
from wherry.images.holds import Holds
from wherry.images.partial import PartialBlob
from wherry.oci import Descriptor, Digest, parse_digest

_CHUNK = 1 << 20
_ALGORITHMS = ("sha256", "sha512")
_PARTIAL = ("sha256-", "sha512-")
_PATIENCE = 86400.0
"""Seconds that a download nobody goes on with is kept."""


class BlobStore:
    """Blobs below `root/blobs/ALGORITHM/HEX`; a blob that is there is whole."""

    def __init__(self, root: Path, holds: Holds) -> None:
        self._root = root / "blobs"
        self._folder = str(self._root)
        self._ingest = root / "ingest"
        self._holds = holds
        self._numbers = itertools.count()
        (self._root / "sha256").mkdir(parents=True, exist_ok=True)
        self._ingest.mkdir(exist_ok=True)

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        return Path(self._name(digest))

    def keep(self, *digests: Iterable[str]) -> None:
        """Spare blobs, whether they are there or not, until the holds around the caller end."""
        for some in digests:
            self._holds.touch(*some)

    def has(self, digest: Digest) -> bool:
        """Whether the blob is there; within a hold it stays so."""
        self._holds.touch(digest)
        return os.path.exists(self._name(digest))

    def size(self, digest: Digest) -> int:
        """The blob's bytes. Raises ImageNotFound."""
        self._holds.touch(digest)
        try:
            return os.stat(self._name(digest)).st_size
        except FileNotFoundError:
            raise _missing(digest) from None

    def allocated(self, digest: Digest) -> int:
        """The bytes that the blob takes on disk; 0 if it is not there."""
        return allocated(self._name(digest))

    def open(self, digest: Digest) -> FileIO:
        """The blob as an unbuffered file. Raises ImageNotFound."""
        self._holds.touch(digest)
        try:
            return open(self._name(digest), "rb", buffering=0)
        except FileNotFoundError:
            raise _missing(digest) from None

    def read(self, digest: Digest, limit: int) -> bytes:
        """The whole blob, its digest checked. `limit` is in bytes.

        Raises ImageNotFound, InvalidImage when it is larger, DigestMismatch when it was damaged.
        """
        with self.open(digest) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise InvalidImage(f"{digest} is larger than the {limit} bytes allowed for it")
        algorithm, _, encoded = digest.partition(":")
        if hashlib.new(algorithm, data).hexdigest() != encoded:
            raise DigestMismatch(f"blob {digest} is damaged: load or build the image again")
        return data

    def write(self, media_type: str, data: bytes, *, sync: bool = True) -> Descriptor:
        """Store `data` as a blob; `sync` as for `BlobWriter.commit`."""
        with self.writer() as writer:
            writer.write(data)
            return writer.commit(media_type, sync=sync)

    def writer(self) -> "BlobWriter":
        """A new blob, in a hold of its own until it is committed or aborted."""
        path = self._ingest / f"{os.getpid()}-{next(self._numbers)}-{os.urandom(4).hex()}"
        return BlobWriter(self, path, self._holds)

    def partial(self, digest: Digest, size: int) -> PartialBlob:
        """A blob of `size` bytes that is to come from elsewhere, with what has come before.

        To be used inside a hold, by one thread at a time for each digest.
        """
        path = self._ingest / digest.replace(":", "-")
        self._holds.touch(path.name, digest)
        return PartialBlob(path, self.path(digest), digest, size)

    def sync(self) -> None:
        """Make the names of all blobs that are there survive a power cut."""
        for algorithm in _ALGORITHMS:
            if (folder := self._root / algorithm).is_dir():
                with storage_errors("write an image"):
                    sync_directory(folder)

    def delete(self, digest: Digest) -> int:
        """Remove a blob if it is there; returns the bytes given back on disk."""
        size = self.allocated(digest)
        self.path(digest).unlink(missing_ok=True)
        return size

    def digests(self) -> Iterator[Digest]:
        """Every blob in the store; files that are no blobs are passed over."""
        for algorithm in _ALGORITHMS:
            folder = self._root / algorithm
            if not folder.is_dir():
                continue
            for name in os.listdir(folder):
                try:
                    yield parse_digest(f"{algorithm}:{name}")
                except ValueError:
                    continue

    def _name(self, digest: Digest) -> str:
        # Listing a store opens thousands of blobs; pathlib would take half of the time.
        return f"{self._folder}/{digest.replace(':', '/', 1)}"

    def unfinished(self) -> int:
        """Bytes on disk of half-written blobs."""
        return below(self._ingest)

    def leftovers(self, *, downloads: bool = False) -> Iterator[Path]:
        """Half-written blobs: of writers at work, or of ones that were killed.

        Downloads can be gone on with for a day; with `downloads` they are among them at once.
        """
        for path in self._ingest.iterdir():
            if downloads or not path.name.startswith(_PARTIAL) or _is_stale(path):
                yield path


class BlobWriter:
    """A blob being written: invisible until `commit`, gone without it.

    A context manager; leaving it without a commit aborts. `created` tells after the commit
    whether the blob was new to the store.
    """

    def __init__(self, blobs: BlobStore, path: Path, holds: Holds) -> None:
        self.size = 0
        self.created = False
        self._blobs = blobs
        self._path = path
        self._holds = holds
        self._hash = hashlib.sha256()
        self._stack = ExitStack()
        self._stack.enter_context(holds.hold())
        holds.touch(path.name)
        with storage_errors("write an image"):
            self._file = open(path, "xb", buffering=0)  # noqa: SIM115
        self._stack.callback(self._discard)

    def write(self, data: bytes | memoryview) -> int:
        """Append `data`; returns its length. Raises StorageFull."""
        self._hash.update(data)
        view = memoryview(data)
        with storage_errors("write an image"):
            done = 0
            while done < len(view):
                done += self._file.write(view[done:]) or 0
        self.size += len(view)
        return len(view)

    def begin_flush(self) -> None:
        """All is written, and the commit still some time away: let the disk begin meanwhile."""
        begin_flush(self._file.fileno())

    def commit(
        self,
        media_type: str,
        expected_digest: Digest | None = None,
        expected_size: int | None = None,
        *,
        sync: bool = True,
    ) -> Descriptor:
        """Put the blob under its digest. Raises DigestMismatch, StorageFull; then nothing stays.

        Without `sync` its name survives a power cut only after `BlobStore.sync`.
        """
        try:
            digest = self._check(expected_digest, expected_size)
            path = self._blobs.path(digest)
            self._holds.touch(digest)
            if not path.exists():
                with storage_errors("write an image"):
                    os.fsync(self._file.fileno())
                    path.parent.mkdir(exist_ok=True)
                    self._path.rename(path)
                    if sync:
                        sync_directory(path.parent)
                self.created = True
        finally:
            self.abort()
        return Descriptor(media_type=media_type, digest=digest, size=self.size)

    def abort(self) -> None:
        """Drop what was written; harmless after a commit."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def _check(self, expected: Digest | None, size: int | None) -> Digest:
        if size is not None and size != self.size:
            raise DigestMismatch(f"{expected or 'blob'}: {self.size} bytes, {size} were announced")
        digest = Digest("sha256:" + self._hash.hexdigest())
        if expected is None or expected == digest:
            return digest
        algorithm = expected.partition(":")[0]
        if algorithm != "sha256":
            with open(self._path, "rb") as file:
                digest = Digest(f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}")
        if digest != expected:
            raise DigestMismatch(f"content of {expected} has the digest {digest}")
        return digest

    def _discard(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


def copy(source: BinaryIO, writer: BlobWriter, size: int | None = None) -> None:
    """Copy a stream, or `size` bytes of it, into `writer`."""
    left = size
    while left is None or left > 0:
        chunk = source.read(_CHUNK if left is None else min(_CHUNK, left))
        if not chunk:
            break
        writer.write(chunk)
        if left is not None:
            left -= len(chunk)


def _is_stale(path: Path) -> bool:
    try:
        return path.stat().st_mtime < time.time() - _PATIENCE
    except FileNotFoundError:
        return False


def _missing(digest: Digest) -> ImageNotFound:
    return ImageNotFound(f"blob {digest} is not in the store: load or build the image again")
