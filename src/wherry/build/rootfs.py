"""A stage's root filesystem as a tree of files, without mounting anything.

It is a stack of layers. One that this build wrote, or found in the cache, is known by its entries;
it is unpacked only when somebody wants to read a file in it. All others are read where the store
has unpacked them, in overlay's form: a character device 0:0 is a deletion, an extended attribute
marks a directory that hides what is below.

Stages that are built at once read in the same trees: what a tree remembers is found twice at worst.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import Protocol

from wherry.build.files import join, parent
from wherry.images.tar import Entry, Kind
from wherry.images.tree import OVERLAY_XATTRS, OWNER, recorded_owner
from wherry.images.walk import xattrs_of

_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFSOCK: Kind.FIFO,
    stat.S_IFCHR: Kind.CHARACTER,
    stat.S_IFBLK: Kind.BLOCK,
}
_OPAQUE = frozenset({"trusted.overlay.opaque", "user.overlay.opaque"})


class StackedLayer(Protocol):
    """One layer of the stack. Paths are asked for only if all above them are directories here."""

    @property
    def diff_id(self) -> str:
        """What decides its content: the digest of that, uncompressed, or of all layers up to it."""

    @property
    def path(self) -> Path:
        """Where it is unpacked."""

    def entry(self, path: str) -> Entry | None:
        """What the layer has at `path`; a deletion is a character device 0:0."""

    def names(self, path: str) -> Iterable[str]:
        """What the layer has in the directory `path`, deletions included."""

    def hides(self, path: str) -> bool:
        """Whether the directory `path` hides what lower layers have in it."""


class UnpackedLayer:
    """A layer in the store, as overlay mounts it. It is unpacked when first looked at."""

    def __init__(self, diff_id: str, unpack: Callable[[], Path]) -> None:
        self.diff_id = diff_id
        self._unpack = unpack
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        """Where it is unpacked."""
        if self._path is None:
            self._path = self._unpack()
        return self._path

    def entry(self, path: str) -> Entry | None:
        """What the layer has at `path`."""
        place = join(str(self.path), path)
        try:
            status = os.lstat(place)
            xattrs = xattrs_of(place)
        except (FileNotFoundError, NotADirectoryError):
            return None
        kind = _KINDS[stat.S_IFMT(status.st_mode)]
        uid, gid, mode = status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)
        if recorded := recorded_owner(xattrs.pop(OWNER, b"")):
            uid, gid, mode = recorded
        return Entry(
            path,
            kind,
            mode,
            uid,
            gid,
            status.st_size if kind is Kind.FILE else 0,
            status.st_mtime_ns,
            os.readlink(place) if kind is Kind.SYMLINK else "",
            os.major(status.st_rdev),
            os.minor(status.st_rdev),
            {name: xattrs[name] for name in xattrs if not name.startswith(OVERLAY_XATTRS)},
        )

    def names(self, path: str) -> Iterable[str]:
        """What the layer has in the directory `path`."""
        return os.listdir(join(str(self.path), path))

    def hides(self, path: str) -> bool:
        """Whether the directory `path` is opaque."""
        place = join(str(self.path), path)
        return any(name in _OPAQUE for name in os.listxattr(place, follow_symlinks=False))


class KnownLayer:
    """A layer known by its entries, each directory before what is in it. It deletes nothing."""

    def __init__(self, diff_id: str, entries: Iterable[Entry], unpack: Callable[[], Path]) -> None:
        self.diff_id = diff_id
        self._entries = {entry.name: entry for entry in entries}
        self._unpack = unpack
        self._path: Path | None = None
        self._children: dict[str, list[str]] = {}
        for name in self._entries:
            self._children.setdefault(parent(name), []).append(name.rpartition("/")[2])

    @property
    def path(self) -> Path:
        """Where it is unpacked; it is unpacked first if it was not."""
        if self._path is None:
            self._path = self._unpack()
        return self._path

    def entry(self, path: str) -> Entry | None:
        """What the layer has at `path`."""
        return self._entries.get(path)

    def names(self, path: str) -> Iterable[str]:
        """What the layer has in the directory `path`."""
        return self._children.get(path, ())

    def hides(self, path: str) -> bool:
        """Never."""
        return False


class Rootfs:
    """The stack, topmost layer first, as one tree of files."""

    def __init__(self, layers: Sequence[StackedLayer] = ()) -> None:
        self._layers = tuple(layers)
        self._visible: dict[str, tuple[StackedLayer, ...]] = {}

    def with_layer(self, layer: StackedLayer) -> "Rootfs":
        """The same with another layer on top."""
        return Rootfs((layer, *self._layers))

    def lowerdirs(self) -> list[Path]:
        """The unpacked layers, topmost first, as overlay's `lowerdir` wants them."""
        return list(dict.fromkeys(layer.path for layer in self._layers))

    def parts(self, path: str) -> list[Path]:
        """Where the layers have `path`, topmost first: a file once, a directory from each layer
        that shows something in it, as overlay's `lowerdir` wants them."""
        return [Path(join(str(layer.path), path)) for layer in self._shown(path)]

    def place(self, path: str) -> Path | None:
        """Where what is at `path` lies, links not followed; None if nothing is there."""
        if not path:
            return self._layers[0].path if self._layers else None
        found = self._find(path)
        return Path(join(str(found[0].path), path)) if found else None

    def identity(self, path: str) -> list[str]:
        """What decides the content of `path`: the layers that show something there."""
        return [layer.diff_id for layer in self._shown(path)]

    def entry(self, path: str) -> Entry | None:
        """What is at `path`, links not followed."""
        if not path:
            return Entry("", Kind.DIRECTORY, 0o755)
        found = self._find(path)
        return found[1] if found else None

    def names(self, path: str) -> list[str]:
        """The sorted names in the directory `path`."""
        seen: set[str] = set()
        for layer in self._directory(path):
            seen.update(layer.names(path))
        return sorted(name for name in seen if self._find(join(path, name)))

    def open(self, path: str) -> BufferedIOBase:
        """The content of the file at `path`, which `entry` said is one."""
        found = self._find(path)
        if found is None:
            raise FileNotFoundError(path)
        if found[1].kind is not Kind.FILE:
            raise OSError(errno.EINVAL, "is no regular file", path)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.fdopen(os.open(join(str(found[0].path), path), flags), "rb")

    def digest(self, path: str) -> bytes:
        """The SHA-256 of the content of the file at `path`."""
        with self.open(path) as file:
            return hashlib.file_digest(file, "sha256").digest()

    def _shown(self, path: str) -> tuple[StackedLayer, ...]:
        if directory := self._directory(path):
            return directory
        found = self._find(path)
        return (found[0],) if found else ()

    def _find(self, path: str) -> tuple[StackedLayer, Entry] | None:
        for layer in self._directory(parent(path)):
            entry = layer.entry(path)
            if entry is not None:
                return None if _is_deletion(entry) else (layer, entry)
        return None

    def _directory(self, path: str) -> tuple[StackedLayer, ...]:
        """The layers that show something in the directory `path`; none if it is no directory."""
        known = self._visible.get(path)
        if known is None:
            known = self._visible[path] = self._until_hidden(path)
        return known

    def _until_hidden(self, path: str) -> tuple[StackedLayer, ...]:
        found: list[StackedLayer] = []
        for layer in self._directory(parent(path)) if path else self._layers:
            entry = layer.entry(path) if path else Entry("", Kind.DIRECTORY)
            if entry is None:
                continue
            if entry.kind is not Kind.DIRECTORY:
                break
            found.append(layer)
            if layer.hides(path):
                break
        return tuple(found)


def _is_deletion(entry: Entry) -> bool:
    return entry.kind is Kind.CHARACTER and entry.major == entry.minor == 0
