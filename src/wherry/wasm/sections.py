"""A file as a run of sections, each read only when asked for (core spec 5.5.2)."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from wherry.wasm import preamble
from wherry.wasm.cursor import MAX_NAME, Cursor
from wherry.wasm.errors import InvalidWasm

MAX_HEADER = 6
"""Bytes: the section's number and its length as LEB128."""

MAX_ITEMS = 200_000
"""Sections, types, imports, exports and so on in one file; browsers take 100,000 of each."""

MAX_READ = 8 << 20
"""Bytes of one file read in all, whatever its size. Together these bound memory and time."""


class Part(NamedTuple):
    """A range of the file that holds a module, a component, or a section's contents."""

    start: int
    end: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start


class WasmSource:
    """A seekable file, and how much more of it may be read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._items = MAX_ITEMS
        self._bytes = MAX_READ
        self.whole = Part(0, file.seek(0, 2))

    def spend(self, items: int = 1) -> None:
        """Count items of the result. Raises InvalidWasm when there are too many."""
        self._items -= items
        if self._items < 0:
            raise InvalidWasm(f"it has more than {MAX_ITEMS} sections, imports, exports and types")

    def read(self, part: Part) -> bytes:
        """Return the bytes of a part. Raises InvalidWasm when the file has shrunk."""
        self._bytes -= part.size
        if self._bytes < 0:
            raise InvalidWasm(f"its descriptive sections take more than {MAX_READ >> 20} MiB")
        self._file.seek(part.start)
        data = self._file.read(part.size)
        if len(data) != part.size:
            raise InvalidWasm(f"the file ends at byte {part.start + len(data)}, within a section")
        return data

    def head(self, part: Part, size: int) -> bytes:
        """Return at most the first `size` bytes of a part."""
        return self.read(Part(part.start, min(part.end, part.start + size)))

    def sections(self, part: Part) -> Iterator[tuple[int, Part]]:
        """Yield the number and contents of every section of the module or component `part`."""
        at = part.start + preamble.SIZE
        while at < part.end:
            self.spend()
            header = Cursor(self.head(Part(at, part.end), MAX_HEADER), at, "a")
            number, size = header.byte(), header.unsigned()
            start = at + header.position
            at = start + size
            if at > part.end:
                raise InvalidWasm(
                    f"section {number} at byte {start} should have {size} bytes, "
                    f"but the file has {part.end - start} more"
                )
            yield number, Part(start, at)

    def cursor(self, part: Part, what: str) -> Cursor:
        """Return a cursor over all of a section's contents."""
        return Cursor(self.read(part), part.start, what)

    def items(self, part: Part) -> int | None:
        """How many items a section says it has; None when it does not say."""
        try:
            return Cursor(self.head(part, 5), part.start, "a").unsigned()
        except InvalidWasm:
            return None

    def custom_name(self, part: Part) -> tuple[str, Part]:
        """Return the name of a custom section, and what lies behind the name."""
        head = Cursor(self.head(part, 5), part.start, "custom")
        size = head.unsigned()
        if size > MAX_NAME:
            raise head.wrong(f"a name of {size} bytes is longer than {MAX_NAME}")
        head = Cursor(self.head(part, head.position + size), part.start, "custom")
        name = head.name()
        return name, Part(part.start + head.position, part.end)
