"""Root filesystems: layers unpacked once each, shared by all images and containers.

A layer that is there is whole: it is unpacked beside its place, checked, made durable, and only
then renamed into it. Several layers are unpacked at once, since inflating, hashing and writing let
other threads run; what is made durable together costs one flush of the file system.
"""

import contextvars
import errno
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec

from wherry.images.blobs import BlobStore
from wherry.images.durable import sync_directory, sync_filesystem
from wherry.images.errors import StoreDamaged, storage_errors
from wherry.images.folders import Wanted, alone, is_nothing, stacked
from wherry.images.holds import Holds
from wherry.images.layer import Layer
from wherry.images.stack import Stack
from wherry.images.tar import Entry, Kind
from wherry.images.tree import TreeWriter
from wherry.images.unpack import Digesting, NeedsLowerLayers, unpack
from wherry.images.unpacked import EMPTY, Record, UnpackedLayers
from wherry.oci import Descriptor, Digest, file_name

_Writer = TypeVar("_Writer", bound=TreeWriter)

_MAX_LEFT_OUT = 100
_AT_ONCE = min(4, os.cpu_count() or 1)
"""Layers that are unpacked at the same time."""
_CLOCK_OF_FILES = 5
"""CLOCK_REALTIME_COARSE, by which the kernel says when a file was changed."""


class RootFilesystems(UnpackedLayers):
    """Root filesystems of the unpacked layers below `root`, which are unpacked when wanted."""

    def __init__(self, root: Path, blobs: BlobStore, holds: Holds) -> None:
        super().__init__(root)
        self._blobs = blobs
        self._holds = holds
        self._mutex = threading.Lock()
        self._unpacking: dict[str, threading.Lock] = {}
        self._needing: set[str] = set()
        """Keys of layers that are known to need those below them."""

    def lowerdirs(self, layers: Sequence[Layer]) -> list[Path]:
        """Folders of the layers (lowest first), the topmost first; never empty."""
        wanted = stacked(layers)
        self._touch(wanted)
        if None in map(self._place_of, wanted):
            self._unpack_missing(wanted)
            for position, each in enumerate(wanted):
                if self._place_of(each) is None:
                    self._unpack_stacked(each, wanted[:position])
        return self._folders(wanted) or [self.root / EMPTY]

    def unpack_ahead(self, layers: Sequence[Layer]) -> None:
        """Unpack those of some layers, in no order, that nothing below is needed for."""
        wanted = alone(layers)
        self._touch(wanted)
        self._unpack_missing(wanted)

    def top(self, layers: Sequence[Layer]) -> Path:
        """The folder of the last of the layers (lowest first), those below only if needed."""
        last = stacked(layers)[-1]
        self._touch([last])
        self._unpack_missing([last])
        if self._place_of(last) is None:
            return self.lowerdirs(layers)[0]
        return self._folders([last])[0]

    @contextmanager
    def made_anew(self, name: str, layers: Sequence[Layer]) -> Iterator[str]:
        """The layer `name`, the last of these, unpacked once more, beside its place; gone at the
        end. The copy's name is yielded. Raises as `lowerdirs`.
        """
        last = stacked(layers)[-1]
        with self._beside() as copy, self._below(name, layers) as below:
            self._unpack(last, copy, below)
            yield copy.name

    def differences(self, name: str, layers: Sequence[Layer]) -> list[str]:
        """What of the layer `name`, the last of these, is not as its blob says: a line each.

        Takes no room for content. Raises as `lowerdirs`, and OSError.
        """
        from wherry.images.comparison import differences
        from wherry.images.outline import Outline

        since = time.clock_gettime_ns(_CLOCK_OF_FILES)
        rootfs = self.root / name / "fs"
        if rootfs.parent.is_dir() and not rootfs.is_dir():
            return ["its files are missing"]
        last = stacked(layers)[-1]
        with self._beside() as copy, self._below(name, layers) as below:
            outline = self._write(last, copy / "fs", Outline, below)
            return [*differences(copy / "fs", outline.digests, rootfs, since)]

    @contextmanager
    def _below(self, name: str, layers: Sequence[Layer]) -> Iterator[Stack | None]:
        """What the layer `name`, the last of these, may need of those below it."""
        if not self.is_stacked(name):
            yield None
            return
        with self._stack(self.lowerdirs(layers[:-1])) as below:
            yield below

    def _stack(self, folders: Sequence[Path]) -> Stack:
        return Stack(folders, self.left_out(folder.parent.name for folder in folders))

    @contextmanager
    def _beside(self) -> Iterator[Path]:
        """A folder that nobody else has, for as long as this lasts."""
        copy = os.urandom(8).hex()
        with self._holds.hold(), storage_errors("unpack a layer"):
            self._holds.touch(copy)
            try:
                yield self.ingest / copy
            finally:
                self.sweep([copy])

    def _touch(self, wanted: Sequence[Wanted]) -> None:
        """Keep layers from being collected, before looking whether they are there."""
        self._holds.touch(*(name for each in wanted for name in (each.name, each.stacked_name)))

    def _place_of(self, wanted: Wanted) -> str | None:
        """The name of the folder that a layer has, if it has one."""
        for name in (wanted.name, wanted.stacked_name):
            if os.path.exists(f"{self.root}/{name}"):
                return name
        return None

    def _folders(self, wanted: Sequence[Wanted]) -> list[Path]:
        """Where layers (lowest first) are, topmost first and each once, as overlay wants it.

        Raises StoreDamaged, also for one that is not there.
        """
        found: list[Path] = []
        for each in reversed(wanted):
            name = self._place_of(each) or each.name
            key = each.key if name == each.name else each.stacked
            if self.record(name).key != key:
                raise StoreDamaged(
                    f"{self.root / name} is not the layer {each.layer.diff_id}: remove that folder"
                )
            found.append(self.root / name / "fs")
        return [*dict.fromkeys(found)]

    def _unpack_missing(self, wanted: Sequence[Wanted]) -> None:
        """Unpack all that are not there and need nothing below; several at a time."""
        missing = self._missing(wanted)
        if missing:
            with self._alone(missing):
                self._unpack_all([*self._missing(wanted).values()])

    def _missing(self, wanted: Sequence[Wanted]) -> dict[str, Wanted]:
        return {
            each.name: each
            for each in wanted
            if each.key not in self._needing and self._place_of(each) is None
        }

    def _unpack_stacked(self, wanted: Wanted, lower: Sequence[Wanted]) -> None:
        """Unpack a layer that needs those below it, which are there."""
        with (
            self._alone([wanted.name]),
            self._beside() as copy,
            self._stack(self._folders(lower)) as below,
        ):
            if self._place_of(wanted) is None:
                self._unpack(wanted, copy, below)
                sync_filesystem(self.ingest)
                self._settle(copy, self.root / wanted.stacked_name)
                sync_directory(self.root)

    def _unpack_all(self, wanted: Sequence[Wanted]) -> None:
        """Unpack layers and put them in their places: each that can be, or none at a fault."""
        temporary = {each.name: os.urandom(8).hex() for each in wanted}
        self._holds.touch(*temporary.values())
        try:
            with storage_errors("unpack a layer"):
                self._in_threads(wanted, temporary)
                sync_filesystem(self.ingest)
                for each in wanted:
                    if each.key not in self._needing:
                        self._settle(self.ingest / temporary[each.name], self.root / each.name)
                sync_directory(self.root)
        finally:
            self.sweep([*temporary.values()])

    def _in_threads(self, wanted: Sequence[Wanted], temporary: Mapping[str, str]) -> None:
        """Raises what the first layer raises that cannot be unpacked; the others are given up."""
        if len(wanted) == 1:
            self._unpack_alone(wanted[0], self.ingest / temporary[wanted[0].name])
            return
        from concurrent.futures import ThreadPoolExecutor

        largest_first = sorted(wanted, key=lambda each: -each.layer.descriptor.size)
        with ThreadPoolExecutor(_AT_ONCE, "unpack") as pool:
            futures = [
                # In the caller's context: a thread is in the holds that its caller is in.
                pool.submit(
                    contextvars.copy_context().run,
                    self._unpack_alone,
                    each,
                    self.ingest / temporary[each.name],
                )
                for each in largest_first
            ]
            try:
                for future in futures:
                    future.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _unpack_alone(self, wanted: Wanted, folder: Path) -> None:
        """Unpack a layer without those below it, or find that it needs them."""
        try:
            self._unpack(wanted, folder)
        except NeedsLowerLayers:
            self._needing.add(wanted.key)

    def _unpack(self, wanted: Wanted, folder: Path, below: Stack | None = None) -> None:
        tree = self._write(wanted, folder / "fs", TreeWriter, below)
        key = wanted.key if below is None else wanted.stacked
        left_out = (os.fsencode(path).decode(errors="replace") for path in sorted(tree.left_out))
        record = Record(key, frozenset(tree.modules), tuple(islice(left_out, _MAX_LEFT_OUT)))
        (folder / "layer.json").write_bytes(msgspec.json.encode(record))

    def _write(
        self, wanted: Wanted, rootfs: Path, writer: type[_Writer], below: Stack | None
    ) -> _Writer:
        """Let a layer be written into a new folder, and return what wrote it."""
        layer, blob = wanted.layer, wanted.layer.descriptor
        rootfs.mkdir(parents=True)
        rootfs.chmod(0o755)
        with writer(rootfs) as tree:
            name = file_name(blob)
            if name is not None:
                self._write_file(blob, name, tree)
            elif not is_nothing(layer):
                with self._blobs.open(Digest(blob.digest)) as source:
                    unpack(source, blob, layer.diff_id, tree, below)
        return tree

    def _settle(self, unpacked: Path, path: Path) -> None:
        try:
            unpacked.rename(path)
        except OSError as error:
            # Another process was quicker: its layer is as good.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise

    def _write_file(self, blob: Descriptor, name: str, tree: TreeWriter) -> None:
        """Put a layer that is a file into its place."""
        entry = Entry(name, Kind.FILE, 0o755, os.geteuid(), os.getegid(), blob.size, time.time_ns())
        with self._blobs.open(Digest(blob.digest)) as source:
            checking = Digesting(source, blob.digest)
            tree.add(name, entry, checking.read)
            checking.check(blob.size)

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
