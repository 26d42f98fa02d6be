"""The way into this room: bytes or a file in, facts out."""

import io
from typing import BinaryIO

from wherry.wasm import preamble
from wherry.wasm.component import read_component
from wherry.wasm.facts import WasmFile
from wherry.wasm.module import read_module
from wherry.wasm.sections import WasmSource

TEXT_HEAD = 4096
"""Bytes of comment before the first parenthesis of a text."""


def inspect(file: bytes | BinaryIO) -> WasmFile:
    """Read what a module or component says of itself; of a text, only that it is one.

    A file must be seekable; it is read from its beginning, and left at any position. Reads at most
    8 MiB whatever the file's size. Raises InvalidWasm, and OSError from reading.
    """
    opened = io.BytesIO(file) if isinstance(file, bytes) else file
    source = WasmSource(opened)
    if preamble.sniff(source.head(source.whole, TEXT_HEAD)) == "text":
        return WasmFile("text")
    if preamble.binary_kind(source.head(source.whole, preamble.SIZE)) == "component":
        return read_component(source, source.whole)
    return read_module(source, source.whole)
