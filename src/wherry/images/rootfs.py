"""Root filesystems: layers unpacked once each, shared by all images and containers.

A layer that is there is whole: it is unpacked beside its place, checked, made durable, and only
then renamed into it.
"""

import errno
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from wherry.images._durable import sync_directory, sync_filesystem
from wherry.images.beneath import remove_tree
from wherry.images.blobs import BlobStore
from wherry.images.errors import StoreDamaged, storage_errors
from wherry.images.holds import Holds
from wherry.images.unpack import Digesting, unpack
from wherry.oci import Descriptor, Digest, is_module, module_name

_NAME_LENGTH = 32
_EMPTY = "empty"


class _Record(msgspec.Struct, frozen=True):
    """Beside each unpacked layer: the whole key its folder is named after, and its bytes."""

    key: str
    size: int


class RootFilesystems:
    """Unpacked layers below `root/NAME/fs`.

    NAME is the beginning of the layer's diff_id, since all paths of an overlay have to fit into
    one page; the whole of it is compared.
    """

    def __init__(self, root: Path, blobs: BlobStore, holds: Holds) -> None:
        self._root = root
        self._ingest = root / "ingest"
        self._blobs = blobs
        self._holds = holds
        self._mutex = threading.Lock()
        self._unpacking: dict[str, threading.Lock] = {}
        # Closed to other users: layers hold set-id programs and files of every mode.
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ingest.mkdir(exist_ok=True)
        (root / _EMPTY).mkdir(exist_ok=True)

    def lowerdirs(self, layers: Sequence[Descriptor], diff_ids: Sequence[str]) -> list[Path]:
        """Folders of the layers (lowest first), the topmost first; never empty."""
        paths = [
            self._path(layer, Digest(diff_id))
            for layer, diff_id in zip(layers, diff_ids, strict=True)
        ]
        unique = dict.fromkeys(reversed(paths))  # Overlay refuses the same folder twice.
        return [*unique] or [self._root / _EMPTY]

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
        """The bytes of a layer's files."""
        return self._record(name).size

    def damaged(self) -> list[str]:
        """The names of folders that are no whole layer."""
        return [name for name in self.names() if _name(self._record(name).key) != name]

    def discard(self, name: str) -> tuple[int, str]:
        """Take a layer out of use at once; returns its bytes, and what `sweep` is to remove."""
        size = self._record(name).size
        discarded = os.urandom(8).hex()
        (self._root / name).rename(self._ingest / discarded)
        return size, discarded

    def sweep(self, names: Sequence[str]) -> None:
        """Remove leftovers."""
        with _directory(self._ingest) as fd:
            for name in names:
                remove_tree(name, fd)

    def _path(self, layer: Descriptor, diff_id: Digest) -> Path:
        key = _key(layer, diff_id)
        name = _name(key)
        self._holds.touch(name)
        path = self._root / name
        if not path.exists():
            with self._alone(name):
                if not path.exists():
                    self._unpack(layer, diff_id, key, path)
        if self._record(name).key != key:
            raise StoreDamaged(f"{path} is not the layer {diff_id}: remove that folder")
        return path / "fs"

    def _unpack(self, layer: Descriptor, diff_id: Digest, key: str, path: Path) -> None:
        temporary = self._ingest / os.urandom(8).hex()
        self._holds.touch(temporary.name)
        try:
            with storage_errors("unpack a layer"):
                rootfs = temporary / "fs"
                rootfs.mkdir(parents=True)
                rootfs.chmod(0o755)
                if is_module(layer):
                    size = self._place_module(layer, rootfs / module_name(layer))
                else:
                    with self._blobs.open(Digest(layer.digest)) as blob:
                        size = unpack(blob, layer, diff_id, rootfs)
                record = msgspec.json.encode(_Record(key, size))
                (temporary / "layer.json").write_bytes(record)
                sync_filesystem(temporary)
                try:
                    temporary.rename(path)
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                        raise
                sync_directory(self._root)
        finally:
            self.sweep([temporary.name])

    def _place_module(self, layer: Descriptor, path: Path) -> int:
        with self._blobs.open(Digest(layer.digest)) as blob, open(path, "wb") as file:
            checking = Digesting(blob, layer.digest)
            while data := checking.read(1 << 20):
                file.write(data)
            checking.check(layer.size)
        path.chmod(0o755)
        return path.stat().st_size

    def _record(self, name: str) -> _Record:
        try:
            data = (self._root / name / "layer.json").read_bytes()
            return msgspec.json.decode(data, type=_Record)
        except (OSError, msgspec.DecodeError):
            return _Record("", 0)

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """One thread at a time for each layer, so that none is unpacked twice."""
        with self._mutex:
            lock = self._unpacking.setdefault(name, threading.Lock())
        with lock:
            yield
        with self._mutex:
            self._unpacking.pop(name, None)


def _key(layer: Descriptor, diff_id: Digest) -> str:
    """A tar is known by its content, a module by its content and file name."""
    if is_module(layer):
        text = f"{layer.digest} {module_name(layer)}"
        return "module:" + hashlib.sha256(text.encode()).hexdigest()
    return diff_id


def _name(key: str) -> str:
    return key.partition(":")[2][:_NAME_LENGTH]


@contextmanager
def _directory(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
