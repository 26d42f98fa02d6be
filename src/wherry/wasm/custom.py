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


class CustomSections:
    """What the custom sections of one module or component tell; `named_by` has its name."""

    def __init__(self, source: WasmSource, named_by: str) -> None:
        self._source = source
        self._named_by = named_by
        self.name = ""
        self.producers: list[Producer] = []

    def read(self, part: Part) -> str:
        """Read one, or only what it is called; returns what sections of its kind are called."""
        name, contents = self._source.custom_name(part)
        if name == "producers":
            self.producers += _read_producers(self._source, contents)
        elif name == self._named_by:
            self.name = _read_name(self._source, contents)
        return f"custom {name}"


def _read_producers(source: WasmSource, part: Part) -> list[Producer]:
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


def _read_name(source: WasmSource, part: Part) -> str:
    """Read the name a module or component has of itself: subsection 0 of its name section."""
    cursor = Cursor(source.head(part, MAX_MODULE_NAME), part.start, "name")
    try:
        if cursor.byte() != MODULE_NAME:
            return ""
        cursor.unsigned()
        return cursor.name()
    except InvalidWasm:
        return ""
