"""What there is of unpacked layers: a folder for each, and beside its files what it is known by."""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from wherry.disk import allocated, below
from wherry.images.beneath import remove_tree
from wherry.images.durable import exchange, sync_directory, sync_filesystem
from wherry.images.folders import NAME_LENGTH, begins, is_stacked, stacked
from wherry.images.layer import Layer

EMPTY = "empty"
"""The folder of what has no layers."""


class Record(msgspec.Struct, frozen=True):
    """Beside each unpacked layer: the whole key its folder is named after, and what is Wasm in it.

    `modules` are SHA-256 digests. `left_out` are paths of device nodes that could not be made, no
    more than a hundred. In records of older releases there is neither.
    """

    key: str
    modules: frozenset[str] = frozenset()
    left_out: tuple[str, ...] = ()


class UnpackedLayers:
    """Unpacked layers below `root/NAME/fs`; for the names see `wherry.images.folders`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ingest = root / "ingest"
        """What is being made or removed."""
        self._records: dict[str, Record] = {}
        self._sizes: dict[str, int] = {}
        # Closed to other users: layers hold set-id programs and files of every mode.
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.ingest.mkdir(exist_ok=True)
        (root / EMPTY).mkdir(exist_ok=True)

    def keys(self, layers: Iterable[Layer]) -> set[str]:
        """The names of the folders that these layers (lowest first) have, or may have."""
        return {name for names in self.names_of(layers) for name in names}

    def names_of(self, layers: Iterable[Layer]) -> list[tuple[str, str]]:
        """Of each of these layers (lowest first) the names that its folder may have."""
        return [(each.name, each.stacked_name) for each in stacked(layers)]

    def names(self) -> list[str]:
        """The names of all unpacked layers."""
        return [name for name in os.listdir(self.root) if name not in ("ingest", EMPTY)]

    def leftovers(self) -> list[str]:
        """Half-made and half-removed layers: being worked on, or left by a killed process."""
        return os.listdir(self.ingest)

    def size(self, name: str) -> int:
        """Bytes that a layer takes on disk. Counted once: a layer never changes."""
        size = self._sizes.get(name)
        if size is None:
            size = self._sizes[name] = allocated(self.root / name)
        return size

    def unfinished(self) -> int:
        """Bytes on disk of what is being made or removed."""
        return below(self.ingest)

    def key(self, name: str) -> str:
        """The diff_id of an unpacked layer; what else it is known by, of an artifact's module."""
        return self.record(name).key

    def modules(self, names: Iterable[str]) -> frozenset[str]:
        """The SHA-256 of the Wasm modules in these layers."""
        return frozenset().union(*(self.record(name).modules for name in names))

    def left_out(self, names: Iterable[str]) -> list[str]:
        """Paths of the device nodes that are missing from these layers."""
        return [path for name in names for path in self.record(name).left_out]

    def is_stacked(self, name: str) -> bool:
        """Whether the layer has files of those below it, to which it has hard links."""
        return is_stacked(self.record(name).key)

    def damaged(self) -> list[str]:
        """The names of folders that are no whole layer."""
        self._records.clear()
        return [name for name in self.names() if not begins(self.record(name).key, name)]

    def formerly(self, names: Collection[str]) -> set[str]:
        """Folders of these layers that an older store made, which has longer names for them.

        Containers that were made then have their paths.
        """
        return {name for name in self.names() if name[:NAME_LENGTH] in names}

    def discard(self, name: str) -> tuple[int, str]:
        """Take a layer out of use at once; returns its bytes, and what `sweep` is to remove."""
        size = self.size(name)
        discarded = os.urandom(8).hex()
        (self.root / name).rename(self.ingest / discarded)
        self._sizes.pop(name, None)
        self._records.pop(name, None)
        return size, discarded

    def exchange(self, name: str, copy: str) -> None:
        """Put a copy that was made anew into the place of the layer `name`, in one step."""
        sync_filesystem(self.ingest)
        exchange(self.root / name, self.ingest / copy)
        sync_directory(self.root)

    def path(self, name: str) -> Path:
        """The folder of a layer."""
        return self.root / name

    def sweep(self, names: Sequence[str]) -> None:
        """Remove leftovers."""
        with _directory(self.ingest) as fd:
            for name in names:
                remove_tree(name, fd)

    def record(self, name: str) -> Record:
        """What stands beside a layer, read once; nothing, for what is no layer."""
        known = self._records.get(name)
        if known is None:
            try:
                data = (self.root / name / "layer.json").read_bytes()
                known = self._records[name] = msgspec.json.decode(data, type=Record)
            except (OSError, msgspec.DecodeError):
                return Record("")
        return known


@contextmanager
def _directory(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
