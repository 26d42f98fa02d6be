"""Writing tar: equal entries give equal bytes."""

from typing import Protocol

from wherry.images.tar.entry import Entry, Kind
from wherry.tar_header import BLOCK, END, header

_NANOSECONDS = 1_000_000_000


class Output(Protocol):
    """What bytes are written to."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`."""


class TarWriter:
    """Writes members to `out` one after the other; ends the archive with `finish`."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._left = 0
        self._padding = 0

    def add(self, entry: Entry) -> None:
        """Start a member; a FILE's `size` bytes then come through `write`.

        Sparse files are written in full, times in whole seconds.
        """
        assert self._left == 0, "the member before is not complete"
        self._out.write(_header(entry))
        self._left = entry.size if entry.kind is Kind.FILE else 0
        self._padding = -self._left % BLOCK

    def write(self, data: bytes) -> None:
        """Write a part of the member's content."""
        assert len(data) <= self._left, "more content than the header said"
        self._out.write(data)
        self._left -= len(data)
        if self._left == 0 and self._padding:
            self._out.write(bytes(self._padding))
            self._padding = 0

    def file(self, entry: Entry, data: bytes) -> None:
        """Write a whole member with its content."""
        entry.size = len(data)
        self.add(entry)
        self.write(data)

    def finish(self) -> None:
        """Write the end of the archive: two empty blocks."""
        assert self._left == 0, "the last member is not complete"
        self._out.write(END)


def _header(entry: Entry) -> bytes:
    return header(
        entry.name,
        entry.kind.value,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size if entry.kind is Kind.FILE else 0,
        mtime=entry.mtime // _NANOSECONDS,
        target=entry.target,
        device=(entry.major, entry.minor),
        xattrs=entry.xattrs,
    )
