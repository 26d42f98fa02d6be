"""Blobs on their way in from elsewhere: what has come stays, so that the next try goes on there."""

import fcntl
import hashlib
import os
from pathlib import Path
from typing import Self

from wherry.images.errors import DigestMismatch, StorageFull, storage_errors
from wherry.oci import Digest

_CHUNK = 1 << 20
_DOING = "write an image"


class PartialBlob:
    """A blob of which `offset` bytes are here, in a file that outlives this process.

    A context manager, which waits until no other process writes the same blob. What was written
    stays, unless it turns out to be wrong or the disk is full.
    """

    def __init__(self, path: Path, target: Path, digest: Digest, size: int) -> None:
        self.offset = 0
        self._path = path
        self._target = target
        self._digest = digest
        self._size = size
        self._fd = -1
        self._committed = False
        self._hash = hashlib.new(digest.partition(":")[0])

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`. Raises StorageFull; then nothing of the blob is kept."""
        self._hash.update(data)
        view = memoryview(data)
        try:
            with storage_errors(_DOING):
                while view:
                    view = view[os.write(self._fd, view) :]
        except StorageFull:
            self._discard()
            raise
        self.offset += len(data)

    def restart(self) -> None:
        """Begin anew: what has come is not wanted."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.new(self._digest.partition(":")[0])
        self.offset = 0

    def commit(self) -> None:
        """Put the blob into its place. Raises DigestMismatch; then nothing of it is kept.

        Its name survives a power cut only after the folder was synced, which is for the caller to
        do, once for many blobs; its content does as soon as there is the name.
        """
        found = f"{self._digest.partition(':')[0]}:{self._hash.hexdigest()}"
        if self.offset != self._size or found != self._digest:
            self._discard()
            if self.offset != self._size:
                said = f"{self.offset} bytes, {self._size} were announced"
                raise DigestMismatch(f"{self._digest}: {said}")
            raise DigestMismatch(f"content of {self._digest} has the digest {found}")
        with storage_errors(_DOING):
            os.fdatasync(self._fd)
            self._target.parent.mkdir(exist_ok=True)
            self._path.rename(self._target)
        self._committed = True

    def __enter__(self) -> Self:
        with storage_errors(_DOING):
            self._fd = self._open()
            self._take_up()
        return self

    def __exit__(self, *_: object) -> None:
        if not self.offset and not self._committed:
            self._discard()
        os.close(self._fd)

    def _open(self) -> int:
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            try:
                if os.stat(self._path).st_ino == os.fstat(fd).st_ino:
                    return fd
            except FileNotFoundError:
                pass  # Another process has finished it, or given up.
            os.close(fd)

    def _take_up(self) -> None:
        while data := os.read(self._fd, _CHUNK):
            self._hash.update(data)
            self.offset += len(data)
        if self.offset > self._size:
            self.restart()

    def _discard(self) -> None:
        self._path.unlink(missing_ok=True)
