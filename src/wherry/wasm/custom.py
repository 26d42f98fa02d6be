"""Custom sections worth reading: `name`, `component-name` and `producers`.

Their contents never make a file invalid (core spec 7.4), so what is malformed is left out.
"""

from wherry.wasm.cursor import Cursor
from wherry.wasm.errors import InvalidWasm
from wherry.wasm.facts import Producer
from wherry.wasm.sections import Part, WasmSource

MAX_PRODUCERS = 1 << 16
"""Bytes; the section is a few hundred in practice."""

MODULE_NAME = 0
MAX_MODULE_NAME = 4096


def read_producers(source: WasmSource, part: Part) -> list[Producer]:
    """Read the fields of a `producers` section (tool-conventions, ProducersSection)."""
    found: list[Producer] = []
    if part.size > MAX_PRODUCERS:
        return found
    cursor = source.cursor(part, "producers")
    try:
        for _ in range(cursor.count()):
            field = cursor.name()
            for _ in range(cursor.count()):
                source.spend()
                found.append(Producer(field, cursor.name(), cursor.name()))
    except InvalidWasm:
        return found
    return found


def read_name(source: WasmSource, part: Part) -> str:
    """Read the name a module or component has of itself: subsection 0 of its name section."""
    cursor = Cursor(source.head(part, MAX_MODULE_NAME), part.start, "name")
    try:
        if cursor.byte() != MODULE_NAME:
            return ""
        cursor.unsigned()
        return cursor.name()
    except InvalidWasm:
        return ""
