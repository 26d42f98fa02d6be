"""What a container changed: the upper folder of an overlay, as a layer and as a list."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from wherry.images.beneath import Root
from wherry.images.errors import storage_errors
from wherry.images.layer import LayerWriter
from wherry.images.stack import is_opaque, is_whiteout
from wherry.images.tar import Entry, Kind
from wherry.images.walk import open_file, walk

_NANOSECONDS = 1_000_000_000


class Change(msgspec.Struct, frozen=True):
    """One line of `docker diff`; `path` is absolute."""

    kind: Literal["modified", "added", "deleted"]
    path: str


def write_diff(upper: Path, writer: LayerWriter) -> None:
    """Add everything in an overlay's upper folder to a layer, deletions as whiteouts.

    Sockets are left out. Raises ImageError.
    """
    with storage_errors("read what the container changed"), Root(upper) as root:
        for entry in walk(root):
            path, mtime = entry.name, entry.mtime // _NANOSECONDS
            match entry.kind:
                case Kind.CHARACTER if (entry.major, entry.minor) == (0, 0):
                    writer.add_whiteout(path, mtime=mtime)
                case Kind.DIRECTORY:
                    if path:
                        writer.add_entry(entry)
                    if is_opaque(root, path):
                        writer.add_opaque(path, mtime=mtime)
                case Kind.FILE:
                    with open_file(root, path) as file:
                        writer.add_entry(entry, file)
                case _:
                    writer.add_entry(entry)


def changes(upper: Path, lowerdirs: Sequence[Path]) -> list[Change]:
    """What an overlay's upper folder changes of its lower ones (topmost first), sorted by path.

    Raises ImageError.
    """
    with storage_errors("read what the container changed"), Root(upper) as root:
        return [*_changes(root, lowerdirs)]


def _changes(root: Root, lowerdirs: Sequence[Path]) -> Iterator[Change]:
    for entry in walk(root):
        if not entry.name:
            continue
        path = f"/{entry.name}"
        if entry.kind is Kind.CHARACTER and (entry.major, entry.minor) == (0, 0):
            yield Change("deleted", path)
            continue
        below = _below(entry, lowerdirs)
        yield Change("modified" if below else "added", path)


def _below(entry: Entry, lowerdirs: Sequence[Path]) -> bool:
    """Whether a lower folder has the path, and none above it deletes it."""
    for lower in lowerdirs:
        with Root(lower) as root:
            try:
                fd = root.open(entry.name, os.O_PATH | os.O_NOFOLLOW)
            except (FileNotFoundError, NotADirectoryError):
                if _hidden(root, entry.name):
                    return False
                continue
            status = os.fstat(fd)
            os.close(fd)
            return not is_whiteout(status)
    return False


def _hidden(root: Root, path: str) -> bool:
    """Whether a folder above `path` is deleted, opaque or no folder here."""
    parts = path.split("/")
    for depth in range(len(parts) - 1, -1, -1):
        above = "/".join(parts[:depth])
        try:
            if is_opaque(root, above):
                return True
        except FileNotFoundError:
            continue
        except NotADirectoryError:
            return True
    return False
