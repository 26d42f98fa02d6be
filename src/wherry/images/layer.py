"""Writing layers: a reproducible tar, compressed into a blob (image-spec, layer.md)."""

import hashlib
from collections.abc import Mapping
from typing import Literal, Self

import msgspec

from wherry.images.blobs import BlobStore, BlobWriter
from wherry.images.compression import COMPRESSORS, Compressed, Source
from wherry.images.errors import ImageError
from wherry.images.tar import Entry, Kind, TarWriter
from wherry.oci import Descriptor, Digest

WHITEOUT = ".wh."
"""Before a name: the name is deleted (layer.md, "Whiteouts")."""
OPAQUE = ".wh..wh..opq"
"""In a folder: all that lower layers have in it is deleted."""

_CHUNK = 1 << 20
_NANOSECONDS = 1_000_000_000
_NO_XATTRS: Mapping[str, bytes] = {}


class Layer(msgspec.Struct, frozen=True):
    """A layer at rest: its blob, and the digest of its uncompressed tar."""

    descriptor: Descriptor
    diff_id: Digest


class LayerWriter:
    """Writes one layer into the store, entries in the order they are added.

    Equal entries give a byte-identical blob: owner, mode and time are what the caller says, and
    nothing else of the machine gets in. Paths are relative to the root ("app/hello.wasm"); times
    are seconds since the epoch and none is later than `clamp`. Used as a context manager: without
    `commit` nothing stays in the store.
    """

    def __init__(
        self,
        blobs: BlobStore,
        *,
        compression: Literal["gzip", "zstd", "none"] = "gzip",
        clamp: int | None = None,
    ) -> None:
        compressor, self._media_type = COMPRESSORS[compression]
        self._blob: BlobWriter = blobs.writer()
        self._compressed = Compressed(self._blob, compressor())
        self._diff = hashlib.sha256()
        self._tar = TarWriter(self)
        self._clamp = clamp

    def write(self, data: bytes) -> int:
        """Take bytes of the tar; for the tar writer."""
        self._diff.update(data)
        return self._compressed.write(data)

    def add_file(
        self,
        path: str,
        content: bytes | Source,
        size: int | None = None,
        *,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        mtime: int = 0,
        xattrs: Mapping[str, bytes] = _NO_XATTRS,
    ) -> None:
        """Add a file: bytes, or a stream of exactly `size` bytes.

        Raises ImageError when the stream is shorter.
        """
        if isinstance(content, bytes):
            size = len(content)
        assert size is not None, "a stream needs its size"
        entry = Entry(path, Kind.FILE, mode, uid, gid, size, mtime * _NANOSECONDS)
        entry.xattrs = dict(xattrs)
        self.add_entry(entry, content)

    def add_directory(
        self,
        path: str,
        *,
        mode: int = 0o755,
        uid: int = 0,
        gid: int = 0,
        mtime: int = 0,
        xattrs: Mapping[str, bytes] = _NO_XATTRS,
    ) -> None:
        """Add a folder."""
        entry = Entry(path, Kind.DIRECTORY, mode, uid, gid, 0, mtime * _NANOSECONDS)
        entry.xattrs = dict(xattrs)
        self.add_entry(entry)

    def add_symlink(
        self, path: str, target: str, *, uid: int = 0, gid: int = 0, mtime: int = 0
    ) -> None:
        """Add a symbolic link; `target` is kept as it is."""
        time = mtime * _NANOSECONDS
        self.add_entry(Entry(path, Kind.SYMLINK, 0o777, uid, gid, 0, time, target))

    def add_hardlink(self, path: str, target: str) -> None:
        """Add another name for the file that was added as `target`."""
        self.add_entry(Entry(path, Kind.HARDLINK, target=target))

    def add_whiteout(self, path: str, *, mtime: int = 0) -> None:
        """Delete `path`, which a lower layer has."""
        folder, slash, name = path.rpartition("/")
        self.add_file(f"{folder}{slash}{WHITEOUT}{name}", b"", mode=0, mtime=mtime)

    def add_opaque(self, path: str, *, mtime: int = 0) -> None:
        """Hide everything that lower layers have in the folder `path` ("" is the root)."""
        self.add_file(f"{path}/{OPAQUE}" if path else OPAQUE, b"", mode=0, mtime=mtime)

    def add_entry(self, entry: Entry, content: bytes | Source = b"") -> None:
        """Add what a tar or a walk through a folder gave. Raises ImageError as `add_file`."""
        if self._clamp is not None:
            entry.mtime = min(entry.mtime, self._clamp * _NANOSECONDS)
        self._tar.add(entry)
        if entry.kind is not Kind.FILE:
            return
        if isinstance(content, bytes):
            self._tar.write(content)
            return
        left = entry.size
        while left:
            chunk = content.read(min(_CHUNK, left))
            if not chunk:
                raise ImageError(f"{entry.name}: became shorter while it was read; try again")
            self._tar.write(chunk)
            left -= len(chunk)

    def commit(self) -> Layer:
        """Finish the layer and store it. Raises StorageFull."""
        self._tar.finish()
        self._compressed.finish()
        descriptor = self._blob.commit(self._media_type)
        return Layer(descriptor, Digest("sha256:" + self._diff.hexdigest()))

    def abort(self) -> None:
        """Drop what was written; harmless after a commit."""
        self._blob.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()
