"""The build cache: which layer came of which input, and when.

A record says that the layer of a given key was written before; the layer itself is in the image
store, and when it is gone from there the record is worth nothing. So is one that a power cut tore:
records are replaced atomically but not flushed to disk.
"""

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from wherry.build.remote import Known
from wherry.disk import BLOCK
from wherry.images import BlobStore
from wherry.images.layer import Layer
from wherry.images.tar import Entry, Kind
from wherry.oci import Descriptor, Digest, InvalidDigest, parse_digest

_FORMAT = 2
_MAX_RECORD = 64 << 20


class _Entry(msgspec.Struct, array_like=True):
    """What a later COPY must know of an entry in order to lay something upon it."""

    name: str
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    target: str
    xattrs: dict[str, bytes]


class _Record(msgspec.Struct):
    created: str
    descriptor: Descriptor | None = None
    diff_id: str = ""
    entries: list[_Entry] | None = None
    url: Known | None = None


class CachedLayer(msgspec.Struct, frozen=True):
    """A layer: when it was written (RFC 3339), and its entries unless a program wrote them."""

    layer: Layer
    created: str
    entries: list[Entry] | None = None


class Kept(msgspec.Struct, frozen=True):
    """A record: its bytes on disk, when it was written and last used, and its layer's digests.

    `written` is as in configs (RFC 3339), empty for what is no layer; `used` in nanoseconds.
    """

    key: str
    size: int
    written: str
    used: int
    layer: tuple[str, ...]
    stacked: Layer | None = None


class BuildCache:
    """Records below the folder `root`, one file a key. May be shared by threads."""

    def __init__(self, root: Path, blobs: BlobStore) -> None:
        self._root = root
        self._blobs = blobs

    def find(self, key: str) -> CachedLayer | None:
        """The layer of `key`, if it is still in the image store."""
        record = self._read(key)
        if record is None or record.descriptor is None:
            return None
        try:
            digest = parse_digest(record.descriptor.digest)
            layer = Layer(record.descriptor, parse_digest(record.diff_id))
            entries = None
            if record.entries is not None:
                entries = [_restored(entry) for entry in record.entries]
        except (InvalidDigest, KeyError):
            return None
        if not self._blobs.has(digest):
            return None
        with suppress(OSError):
            os.utime(self._path(key))
        return CachedLayer(layer, record.created, entries)

    def remember(self, key: str, cached: CachedLayer) -> None:
        """Record that this layer came of `key`."""
        layer = cached.layer
        entries = None
        if cached.entries is not None:
            entries = [_reduced(entry) for entry in cached.entries]
        self._write(key, _Record(cached.created, layer.descriptor, layer.diff_id, entries))

    def find_time(self, key: str) -> str | None:
        """When (RFC 3339) the image of `key` was first made."""
        record = self._read(key)
        return record.created if record else None

    def remember_time(self, key: str, created: str) -> None:
        """Record when the image of `key` was made."""
        self._write(key, _Record(created))

    def find_url(self, key: str) -> Known | None:
        """What was learned of a URL."""
        record = self._read(key)
        return record.url if record else None

    def remember_url(self, key: str, known: Known) -> None:
        """Record what was learned of a URL."""
        self._write(key, _Record("", url=known))

    def kept(self) -> Iterator[Kept]:
        """All records."""
        for path in self._root.glob("*/*"):
            with suppress(FileNotFoundError):
                status, record = path.lstat(), self._read(path.name)
                layer: tuple[str, ...] = ()
                stacked = None
                if record is not None and record.descriptor is not None:
                    layer = (record.descriptor.digest, record.diff_id)
                    stacked = Layer(record.descriptor, Digest(record.diff_id))
                yield Kept(
                    key=path.name,
                    size=status.st_blocks * BLOCK,
                    written=record.created if record is not None else "",
                    used=status.st_mtime_ns,
                    layer=layer,
                    stacked=stacked,
                )

    def forget(self, key: str) -> None:
        """Drop a record, and its folder if that is empty then."""
        path = self._path(key)
        path.unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()

    def clear(self) -> int:
        """Forget everything; returns the bytes given back on disk."""
        freed = 0
        for folder, folders, names in os.walk(self._root, topdown=False):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    freed += os.lstat(path).st_blocks * BLOCK
                    os.unlink(path)
                except FileNotFoundError:
                    continue
            for name in folders:
                with suppress(OSError):
                    os.rmdir(os.path.join(folder, name))
        return freed

    def _path(self, key: str) -> Path:
        return self._root / key[:2] / key

    def _read(self, key: str) -> _Record | None:
        try:
            with open(self._path(key), "rb") as file:
                return msgspec.json.decode(file.read(_MAX_RECORD), type=_Record)
        except (OSError, msgspec.DecodeError):
            return None

    def _write(self, key: str, record: _Record) -> None:
        path = self._path(key)
        temporary = path.with_name(f".{key}.{os.getpid()}.{threading.get_ident()}")
        try:
            data = msgspec.json.encode(record)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            temporary.replace(path)
        except (OSError, UnicodeEncodeError):
            # A cache that cannot be written, or names that are not text, cost time and no more.
            temporary.unlink(missing_ok=True)


def cache_key(*parts: object) -> str:
    """A key of all that decides what the outcome will be."""
    text = repr((_FORMAT, *parts))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _reduced(entry: Entry) -> _Entry:
    fields = (entry.mode, entry.uid, entry.gid, entry.size, entry.mtime, entry.target)
    return _Entry(entry.name, entry.kind.name, *fields, entry.xattrs)


def _restored(entry: _Entry) -> Entry:
    fields = (entry.mode, entry.uid, entry.gid, entry.size, entry.mtime, entry.target)
    return Entry(entry.name, Kind[entry.kind], *fields, xattrs=entry.xattrs)
