"""A layer's outline: all that it says of its files but what is in them, which is hashed instead.

It is made on the disk, beside the layers, so that it has what this file system makes of names,
times and attributes; of content it takes no room.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from wherry.images.tar import Entry
from wherry.images.tree import TreeWriter

_CHUNK = 1 << 20


class Outline(TreeWriter):
    """Writes files as holes of their size; `digests` are of their content, by number of inode."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.digests: dict[int, bytes] = {}

    def _content(self, fd: int, read: Callable[[int], bytes]) -> None:
        found, size = content_hash(), 0
        while data := read(_CHUNK):
            found.update(data)
            size += len(data)
        self._hole(fd, size, found.digest())

    def _sparse(self, fd: int, entry: Entry, read: Callable[[int], bytes]) -> None:
        found, position = content_hash(), 0
        for offset, length in entry.extents or ():
            _zeros(found, offset - position)
            position = offset + length
            left = length
            while left:
                data = read(min(_CHUNK, left))
                found.update(data)
                left -= len(data)
        _zeros(found, entry.size - position)
        self._hole(fd, entry.size, found.digest())

    def _hole(self, fd: int, size: int, digest: bytes) -> None:
        os.ftruncate(fd, size)
        self.digests[os.fstat(fd).st_ino] = digest


def content_hash() -> "hashlib._Hash":
    """What the content of files is known by here."""
    return hashlib.sha256()


def _zeros(found: "hashlib._Hash", size: int) -> None:
    while size:
        step = min(size, _CHUNK)
        found.update(bytes(step))
        size -= step
