"""A core module: core spec 5.5, "Modules"."""

from wherry.wasm import _custom, _types
from wherry.wasm._cursor import Cursor
from wherry.wasm._facts import Export, Import, Memory, Producer, Section, WasmFile
from wherry.wasm._sections import Part, WasmSource

NAMES = (
    "custom",
    "type",
    "import",
    "function",
    "table",
    "memory",
    "global",
    "export",
    "start",
    "element",
    "code",
    "data",
    "data count",
    "tag",
)
CUSTOM, TYPE, IMPORT, MEMORY, EXPORT, START = 0, 1, 2, 5, 7, 8

KINDS = ("function", "table", "memory", "global", "tag")


def read_module(source: WasmSource, part: Part) -> WasmFile:
    """Read the module that `part` of a file holds. Raises InvalidWasm."""
    module = _Module(source)
    for number, contents in source.sections(part):
        module.read_section(number, contents)
    return WasmFile(
        kind="module",
        imports=tuple(module.imports),
        exports=tuple(module.exports),
        memories=tuple(module.memories),
        has_start=module.has_start,
        sections=tuple(module.sections),
        producers=tuple(module.producers),
        name=module.name,
    )


class _Module:
    """A module as far as it was read."""

    def __init__(self, source: WasmSource) -> None:
        self._source = source
        self._types = _types.TypeSection(source)
        self.imports: list[Import] = []
        self.exports: list[Export] = []
        self.memories: list[Memory] = []
        self.has_start = False
        self.sections: list[Section] = []
        self.producers: list[Producer] = []
        self.name = ""

    def read_section(self, number: int, part: Part) -> None:
        """Read one section, or only note that it is there."""
        name = NAMES[number] if number < len(NAMES) else f"unknown {number}"
        if number == CUSTOM:
            name = self._read_custom(part)
        elif number == START:
            self.has_start = True
        elif number in (TYPE, IMPORT, MEMORY, EXPORT):
            cursor = self._source.cursor(part, name)
            count = cursor.count()
            self._source.spend(count)
            if number == TYPE:
                self._types.read(cursor, count)
            elif number == IMPORT:
                self.imports += (self._read_import(cursor) for _ in range(count))
            elif number == MEMORY:
                self.memories += (_types.read_memory(cursor) for _ in range(count))
            else:
                self.exports += (_read_export(cursor) for _ in range(count))
            if not cursor.at_end:
                raise cursor.wrong("there are bytes behind its last item")
        self.sections.append(Section(name, part.size))

    def _read_custom(self, part: Part) -> str:
        name, contents = self._source.custom_name(part)
        if name == "producers":
            self.producers += _custom.read_producers(self._source, contents)
        elif name == "name":
            self.name = _custom.read_name(self._source, contents)
        return f"custom {name}"

    def _read_import(self, cursor: Cursor) -> Import:
        module, name, kind = cursor.name(), cursor.name(), _read_kind(cursor)
        signature = None
        if kind == "function":
            index = cursor.unsigned()
            if index >= len(self._types):
                raise cursor.wrong(f"import {name[:80]!r} has type {index}, which is not there")
            signature = self._types.signature(index)
        elif kind == "table":
            _types.skip_table(cursor)
        elif kind == "memory":
            self.memories.append(_types.read_memory(cursor))
        elif kind == "global":
            _types.read_value_type(cursor)
            cursor.byte()
        else:
            cursor.byte()
            cursor.unsigned()
        return Import(module, name, kind, signature)


def _read_export(cursor: Cursor) -> Export:
    name, kind = cursor.name(), _read_kind(cursor)
    cursor.unsigned()
    return Export(name, kind)


def _read_kind(cursor: Cursor) -> str:
    byte = cursor.byte()
    if byte >= len(KINDS):
        raise cursor.wrong(f"there is no kind of import or export 0x{byte:02x}")
    return KINDS[byte]
