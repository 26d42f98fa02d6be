"""Root filesystems: layers unpacked once each, shared by all images and containers.

A layer that is there is whole: it is unpacked beside its place, checked, made durable, and only
then renamed into it. Several layers are unpacked at once, since inflating, hashing and writing let
other threads run; what is made durable together costs one flush of the file system.
"""

import contextvars
import errno
import hashlib
import os
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from wherry.disk import allocated, below
from wherry.images.beneath import remove_tree
from wherry.images.blobs import BlobStore
from wherry.images.durable import exchange, sync_directory, sync_filesystem
from wherry.images.errors import StoreDamaged, storage_errors
from wherry.images.holds import Holds
from wherry.images.tar import Entry, Kind
from wherry.images.tree import TreeWriter
from wherry.images.unpack import Digesting, unpack
from wherry.oci import Descriptor, Digest, file_name, is_tar

_Writer = TypeVar("_Writer", bound=TreeWriter)

_NAME_LENGTH = 20
_EMPTY = "empty"
_AT_ONCE = min(4, os.cpu_count() or 1)
"""Layers that are unpacked at the same time."""
_CLOCK_OF_FILES = 5
"""CLOCK_REALTIME_COARSE, by which the kernel says when a file was changed."""


class _Record(msgspec.Struct, frozen=True):
    """Beside each unpacked layer: the whole key its folder is named after, and what is Wasm in it.

    `modules` are SHA-256 digests. In records of older releases there are none.
    """

    key: str
    modules: frozenset[str] = frozenset()


class _Wanted(msgspec.Struct, frozen=True):
    """A layer that is to be there unpacked; `name` is its folder's, the beginning of `key`."""

    layer: Descriptor
    diff_id: Digest
    key: str
    name: str

    @classmethod
    def of(cls, layer: Descriptor, diff_id: str) -> "_Wanted":
        key = _key(layer, Digest(diff_id))
        return cls(layer, Digest(diff_id), key, _name(key))


class RootFilesystems:
    """Unpacked layers below `root/NAME/fs`.

    NAME is the beginning of the layer's diff_id, since all paths of an overlay have to fit into
    one page (`MAX_LAYERS`); the whole of it is compared.
    """

    def __init__(self, root: Path, blobs: BlobStore, holds: Holds) -> None:
        self._root = root
        self._ingest = root / "ingest"
        self._blobs = blobs
        self._holds = holds
        self._mutex = threading.Lock()
        self._unpacking: dict[str, threading.Lock] = {}
        self._records: dict[str, _Record] = {}
        self._sizes: dict[str, int] = {}
        # Closed to other users: layers hold set-id programs and files of every mode.
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ingest.mkdir(exist_ok=True)
        (root / _EMPTY).mkdir(exist_ok=True)

    def lowerdirs(self, layers: Sequence[Descriptor], diff_ids: Sequence[str]) -> list[Path]:
        """Folders of the layers (lowest first), the topmost first; never empty."""
        wanted = [_Wanted.of(*each) for each in zip(layers, diff_ids, strict=True)]
        unique = {each.name: each for each in reversed(wanted)}  # Overlay refuses one folder twice.
        self._holds.touch(*unique)
        missing = {n: each for n, each in unique.items() if not (self._root / n).exists()}
        if missing:
            with self._alone(missing):
                self._unpack_all(
                    [each for n, each in missing.items() if not (self._root / n).exists()]
                )
        for name, each in unique.items():
            if self._record(name).key != each.key:
                path = self._root / name
                raise StoreDamaged(f"{path} is not the layer {each.diff_id}: remove that folder")
        return [self._root / name / "fs" for name in unique] or [self._root / _EMPTY]

    def keys(self, layers: Sequence[Descriptor], diff_ids: Sequence[str]) -> set[str]:
        """The names of the folders that these layers have, or will have."""
        return {
            _name(_key(layer, Digest(diff_id)))
            for layer, diff_id in zip(layers, diff_ids, strict=True)
        }

    def names(self) -> list[str]:
        """The names of all unpacked layers."""
        return [name for name in os.listdir(self._root) if name not in ("ingest", _EMPTY)]

    def leftovers(self) -> list[str]:
        """Half-made and half-removed layers: being worked on, or left by a killed process."""
        return os.listdir(self._ingest)

    def size(self, name: str) -> int:
        """Bytes that a layer takes on disk. Counted once: a layer never changes."""
        size = self._sizes.get(name)
        if size is None:
            size = self._sizes[name] = allocated(self._root / name)
        return size

    def unfinished(self) -> int:
        """Bytes on disk of what is being made or removed."""
        return below(self._ingest)

    def key(self, name: str) -> str:
        """The diff_id of an unpacked layer; what else it is known by, of an artifact's module."""
        return self._record(name).key

    def modules(self, names: Iterable[str]) -> frozenset[str]:
        """The SHA-256 of the Wasm modules in these layers."""
        return frozenset().union(*(self._record(name).modules for name in names))

    def damaged(self) -> list[str]:
        """The names of folders that are no whole layer."""
        self._records.clear()
        return [name for name in self.names() if not _begins(self._record(name).key, name)]

    def formerly(self, names: Collection[str]) -> set[str]:
        """Folders of these layers that an older store made, which has longer names for them.

        Containers that were made then have their paths.
        """
        return {name for name in self.names() if name[:_NAME_LENGTH] in names}

    def discard(self, name: str) -> tuple[int, str]:
        """Take a layer out of use at once; returns its bytes, and what `sweep` is to remove."""
        size = self.size(name)
        discarded = os.urandom(8).hex()
        (self._root / name).rename(self._ingest / discarded)
        self._sizes.pop(name, None)
        self._records.pop(name, None)
        return size, discarded

    @contextmanager
    def made_anew(self, layer: Descriptor, diff_id: str) -> Iterator[str]:
        """A layer unpacked once more, beside its place; gone at the end. Its name is yielded.

        Raises as `lowerdirs`.
        """
        with self._beside() as copy:
            self._unpack(_Wanted.of(layer, diff_id), copy)
            yield copy.name

    def differences(self, name: str, layer: Descriptor, diff_id: str) -> list[str]:
        """What of the layer `name` is not as its blob says, a short line each.

        Takes no room for content. Raises as `lowerdirs`, and OSError.
        """
        from wherry.images.comparison import differences
        from wherry.images.outline import Outline

        since = time.clock_gettime_ns(_CLOCK_OF_FILES)
        rootfs = self._root / name / "fs"
        if rootfs.parent.is_dir() and not rootfs.is_dir():
            return ["its files are missing"]
        with self._beside() as copy:
            outline = self._write(_Wanted.of(layer, diff_id), copy / "fs", Outline)
            return [*differences(copy / "fs", outline.digests, rootfs, since)]

    @contextmanager
    def _beside(self) -> Iterator[Path]:
        """A folder that nobody else has, for as long as this lasts."""
        copy = os.urandom(8).hex()
        with self._holds.hold(), storage_errors("unpack a layer"):
            self._holds.touch(copy)
            try:
                yield self._ingest / copy
            finally:
                self.sweep([copy])

    def exchange(self, name: str, copy: str) -> None:
        """Put a copy that was made anew into the place of the layer `name`, in one step."""
        sync_filesystem(self._ingest)
        exchange(self._root / name, self._ingest / copy)
        sync_directory(self._root)

    def path(self, name: str) -> Path:
        """The folder of a layer."""
        return self._root / name

    def sweep(self, names: Sequence[str]) -> None:
        """Remove leftovers."""
        with _directory(self._ingest) as fd:
            for name in names:
                remove_tree(name, fd)

    def _unpack_all(self, wanted: Sequence[_Wanted]) -> None:
        """Unpack layers and put them in their places: each that can be, or none at a fault."""
        temporary = {each.name: os.urandom(8).hex() for each in wanted}
        self._holds.touch(*temporary.values())
        try:
            with storage_errors("unpack a layer"):
                self._in_threads(wanted, temporary)
                sync_filesystem(self._ingest)
                for name, unpacked in temporary.items():
                    self._settle(self._ingest / unpacked, self._root / name)
                sync_directory(self._root)
        finally:
            self.sweep([*temporary.values()])

    def _in_threads(self, wanted: Sequence[_Wanted], temporary: Mapping[str, str]) -> None:
        """Raises what the first layer raises that cannot be unpacked; the others are given up."""
        if len(wanted) == 1:
            self._unpack(wanted[0], self._ingest / temporary[wanted[0].name])
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_AT_ONCE, "unpack") as pool:
            futures = [
                # In the caller's context: a thread is in the holds that its caller is in.
                pool.submit(
                    contextvars.copy_context().run,
                    self._unpack,
                    each,
                    self._ingest / temporary[each.name],
                )
                for each in sorted(wanted, key=lambda each: each.layer.size, reverse=True)
            ]
            try:
                for future in futures:
                    future.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _unpack(self, wanted: _Wanted, folder: Path) -> None:
        tree = self._write(wanted, folder / "fs", TreeWriter)
        record = _Record(wanted.key, frozenset(tree.modules))
        (folder / "layer.json").write_bytes(msgspec.json.encode(record))

    def _write(self, wanted: _Wanted, rootfs: Path, writer: type[_Writer]) -> _Writer:
        """Let a layer be written into a new folder, and return what wrote it."""
        layer = wanted.layer
        rootfs.mkdir(parents=True)
        rootfs.chmod(0o755)
        with writer(rootfs) as tree:
            name = file_name(layer)
            if name is not None:
                self._write_file(layer, name, tree)
            elif not _is_nothing(layer, wanted.diff_id):
                with self._blobs.open(Digest(layer.digest)) as blob:
                    unpack(blob, layer, wanted.diff_id, tree)
        return tree

    def _settle(self, unpacked: Path, path: Path) -> None:
        try:
            unpacked.rename(path)
        except OSError as error:
            # Another process was quicker: its layer is as good.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise

    def _write_file(self, layer: Descriptor, name: str, tree: TreeWriter) -> None:
        """Put a layer that is a file into its place."""
        entry = Entry(
            name, Kind.FILE, 0o755, os.geteuid(), os.getegid(), layer.size, time.time_ns()
        )
        with self._blobs.open(Digest(layer.digest)) as blob:
            checking = Digesting(blob, layer.digest)
            tree.add(name, entry, checking.read)
            checking.check(layer.size)

    def _record(self, name: str) -> _Record:
        """What stands beside a layer, read once; nothing, for what is no layer."""
        known = self._records.get(name)
        if known is None:
            try:
                data = (self._root / name / "layer.json").read_bytes()
                known = self._records[name] = msgspec.json.decode(data, type=_Record)
            except (OSError, msgspec.DecodeError):
                return _Record("")
        return known

    @contextmanager
    def _alone(self, names: Iterable[str]) -> Iterator[None]:
        """One thread at a time for each layer, so that none is unpacked twice."""
        with ExitStack() as stack:
            for name in sorted(names):  # In one order, so that nobody waits for each other.
                stack.enter_context(self._alone_with(name))
            yield

    @contextmanager
    def _alone_with(self, name: str) -> Iterator[None]:
        with self._mutex:
            lock = self._unpacking.setdefault(name, threading.Lock())
        with lock:
            yield
        with self._mutex:
            self._unpacking.pop(name, None)


def _key(layer: Descriptor, diff_id: Digest) -> str:
    """A tar is known by its content, a file by its content and name.

    What has no files for a guest is known as that: else an image that calls a tar by another media
    type would leave an empty folder for all that have this tar.
    """
    name = file_name(layer)
    if name is not None:
        return f"module:{_hashed(f'{layer.digest} {name}')}"
    return f"nothing:{_hashed(layer.digest)}" if _is_nothing(layer, diff_id) else diff_id


def _is_nothing(layer: Descriptor, diff_id: Digest) -> bool:
    """Whether a layer is of an artifact and no file of a guest's: a signature, say."""
    return file_name(layer) is None and layer.digest == diff_id and not is_tar(layer)


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _begins(key: str, name: str) -> bool:
    return len(name) >= _NAME_LENGTH and key.partition(":")[2].startswith(name)


def _name(key: str) -> str:
    return key.partition(":")[2][:_NAME_LENGTH]


@contextmanager
def _directory(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
