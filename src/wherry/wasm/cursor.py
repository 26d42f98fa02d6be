"""Reading the values of the binary format from bytes, never past their end (core spec 5.2)."""

from wherry.wasm.errors import InvalidWasm

MAX_NAME = 100_000
"""Bytes; the limit that engines have on names."""


class Cursor:
    """A position in the bytes of one section, which begin at `origin` of the file."""

    def __init__(self, data: bytes, origin: int, what: str) -> None:
        self._data = data
        self._origin = origin
        self._what = what
        self._at = 0

    @property
    def at_end(self) -> bool:
        """Whether all bytes were read."""
        return self._at >= len(self._data)

    def finish(self) -> None:
        """Raises InvalidWasm unless all bytes were read."""
        if not self.at_end:
            raise self.wrong("there are bytes behind its last item")

    @property
    def position(self) -> int:
        """How many bytes were read."""
        return self._at

    def rewind(self, position: int) -> None:
        """Go back to a `position` that was returned before."""
        self._at = position

    def wrong(self, what: str) -> InvalidWasm:
        """Return an error that says where it is."""
        return InvalidWasm(f"{self._what} section, at byte {self._origin + self._at}: {what}")

    def take(self, size: int) -> bytes:
        """Read `size` bytes."""
        end = self._at + size
        if end > len(self._data):
            raise self.wrong("it ends too early")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def byte(self) -> int:
        """Read one byte."""
        if self.at_end:
            raise self.wrong("it ends too early")
        self._at += 1
        return self._data[self._at - 1]

    def peek(self) -> int:
        """Return the next byte without reading it; -1 at the end."""
        return -1 if self.at_end else self._data[self._at]

    def unsigned(self, bits: int = 32) -> int:
        """Read an unsigned LEB128 of at most `bits` bits."""
        value = shift = 0
        while shift < bits:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> bits:
                    break
                return value
            shift += 7
        raise self.wrong(f"a number has more than {bits} bits")

    def signed(self, bits: int = 33) -> int:
        """Read a signed LEB128 of at most `bits` bits."""
        value = shift = 0
        while shift < bits:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value - (1 << shift) if byte & 0x40 else value
        raise self.wrong(f"a number has more than {bits} bits")

    def count(self) -> int:
        """Read the length of a vector, each item of which takes a byte at least."""
        value = self.unsigned()
        if value > len(self._data) - self._at:
            raise self.wrong(f"{value} items do not fit into it")
        return value

    def name(self) -> str:
        """Read a name: UTF-8 behind its length."""
        size = self.unsigned()
        if size > MAX_NAME:
            raise self.wrong(f"a name of {size} bytes is longer than {MAX_NAME}")
        try:
            return self.take(size).decode()
        except UnicodeDecodeError:
            raise self.wrong("a name is not UTF-8") from None
