"""What people write into custom sections about a file (the sections of wasm-tools' `metadata`)."""

import re
from typing import BinaryIO, NamedTuple

from wherry.wasm.facts import WasmFile

MAX_TEXT = 64 << 10
"""Bytes of one section."""

_NAMES = ("authors", "description", "licenses", "source", "homepage", "revision", "version")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class Metadata(NamedTuple):
    """Each is empty when the file does not say. `licenses` is an SPDX expression."""

    name: str = ""
    authors: str = ""
    description: str = ""
    licenses: str = ""
    source: str = ""
    homepage: str = ""
    revision: str = ""
    version: str = ""


def read_metadata(file: BinaryIO, found: WasmFile) -> Metadata:
    """Read what a module or component says of itself, not of what is nested in it.

    Raises OSError from reading. What is no text is left out.
    """
    said = {"name": found.name}
    for name in _NAMES:
        text = custom(file, found, name, MAX_TEXT)
        if text is not None:
            try:
                said[name] = _CONTROL.sub("", text.decode()).strip()
            except UnicodeDecodeError:
                continue
    return Metadata(**said)


def custom(file: BinaryIO, found: WasmFile, name: str, limit: int) -> bytes | None:
    """The contents of the first custom section of that name; None if none is there.

    None also when it is larger than `limit` bytes. Raises OSError.
    """
    for section in found.sections:
        if section.name == f"custom {name}" and section.size <= limit + 5 + len(name.encode()):
            file.seek(section.start)
            contents = file.read(section.size)
            length = len(name.encode())
            # The name stands behind its length, which may be written in more bytes than it takes.
            start = contents.find(name.encode(), 0, length + 5)
            if start >= 0:
                return contents[start + length :]
    return None
