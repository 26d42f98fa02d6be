"""Looking for bytes in the data of a module, window by window."""

from collections.abc import Iterator
from typing import BinaryIO

from wherry.wasm.facts import Section, WasmFile

WINDOW = 4 << 20
MAX_DATA = 256 << 20
"""Bytes looked at in all."""


def find(file: BinaryIO, found: WasmFile, mark: bytes, size: int) -> bytes | None:
    """At most `size` bytes that stand behind the first `mark` in a data section. Raises OSError."""
    for section in data_sections(found):
        for at, window in windows(file, section, len(mark)):
            place = window.find(mark)
            if place >= 0:
                start = at + place + len(mark)
                file.seek(start)
                return file.read(min(size, section.start + section.size - start))
    return None


def data_sections(found: WasmFile) -> Iterator[Section]:
    """The data sections of a module itself; one at most, if it is valid."""
    return (section for section in found.sections if section.name == "data")


def windows(file: BinaryIO, section: Section, overlap: int) -> Iterator[tuple[int, bytes]]:
    """A section's contents by and by, each window with where it begins in the file.

    Each has the last `overlap` bytes of the one before it, so that nothing as long is cut in two.
    """
    end = section.start + min(section.size, MAX_DATA)
    at = section.start
    while at < end:
        file.seek(at)
        window = file.read(min(WINDOW + overlap, end - at))
        yield at, window
        if len(window) <= overlap or at + len(window) >= end:
            return
        at += len(window) - overlap
