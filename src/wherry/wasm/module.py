"""A core module: core spec 5.5, "Modules"."""

from wherry.wasm import features, types
from wherry.wasm.cursor import Cursor
from wherry.wasm.custom import CustomSections
from wherry.wasm.facts import Export, Import, Memory, Section, Table, WasmFile
from wherry.wasm.sections import Part, WasmSource

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
CUSTOM, TYPE, IMPORT, TABLE, MEMORY, EXPORT, START = 0, 1, 2, 4, 5, 7, 8
DATA_COUNT, TAG = 12, 13

KINDS = ("function", "table", "memory", "global", "tag")

PAGE = 65536
"""Bytes of a page of memory, but where custom page sizes are used."""

_NOTHING: frozenset[str] = frozenset()
_SHOWN_BY = {DATA_COUNT: frozenset({features.BULK_MEMORY}), TAG: frozenset({features.EXCEPTIONS})}
"""What the mere presence of a section shows."""


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
        tables=tuple(module.tables),
        has_start=module.has_start,
        sections=tuple(module.sections),
        producers=tuple(module.custom.producers),
        name=module.custom.name,
        features=module.features,
    )


class _Module:
    """A module as far as it was read."""

    def __init__(self, source: WasmSource) -> None:
        self._source = source
        self._types = types.TypeSection(source)
        self.imports: list[Import] = []
        self.exports: list[Export] = []
        self.memories: list[Memory] = []
        self.tables: list[Table] = []
        self.has_start = False
        self.sections: list[Section] = []
        self.custom = CustomSections(source, "name")
        self._features: set[str] = set()

    @property
    def features(self) -> frozenset[str]:
        """What the sections read so far show of additions to WebAssembly 1.0."""
        found = self._features | self._types.features
        for memory in self.memories:
            found |= {features.THREADS} if memory.shared else set()
            found |= {features.MEMORY64} if memory.is_64 else set()
            found |= {features.PAGE_SIZES} if memory.page_size != PAGE else set()
        if len(self.memories) > 1:
            found.add(features.MEMORIES)
        if len(self.tables) > 1 or any(table.type != "funcref" for table in self.tables):
            found.add(features.REFERENCES)
        if any(table.is_64 for table in self.tables):
            found.add(features.MEMORY64)
        return frozenset(found)

    def read_section(self, number: int, part: Part) -> None:
        """Read one section, or only note that it is there."""
        name = NAMES[number] if number < len(NAMES) else f"unknown {number}"
        items = None
        if number == CUSTOM:
            name = self.custom.read(part)
        elif number in (TYPE, IMPORT, TABLE, MEMORY, EXPORT):
            items = self._read_items(number, self._source.cursor(part, name))
        elif number != START:
            items = self._source.items(part)
        self.has_start = self.has_start or number == START
        self._features |= _SHOWN_BY.get(number, _NOTHING)
        self.sections.append(Section(name, part.size, part.start, items))

    def _read_items(self, number: int, cursor: Cursor) -> int:
        count = cursor.count()
        self._source.spend(count)
        if number == TYPE:
            self._types.read(cursor, count)
        elif number == IMPORT:
            self.imports += (self._read_import(cursor) for _ in range(count))
        elif number == TABLE:
            self.tables += (types.read_table_definition(cursor) for _ in range(count))
        elif number == MEMORY:
            self.memories += (types.read_memory(cursor) for _ in range(count))
        else:
            self.exports += (_read_export(cursor) for _ in range(count))
        cursor.finish()
        return count

    def _read_import(self, cursor: Cursor) -> Import:
        module, name, kind = cursor.name(), cursor.name(), _read_kind(cursor)
        signature = None
        if kind == "function":
            index = cursor.unsigned()
            if index >= len(self._types):
                raise cursor.wrong(f"import {name[:80]!r} has type {index}, which is not there")
            signature = self._types.signature(index)
        elif kind == "table":
            self.tables.append(types.read_table(cursor))
        elif kind == "memory":
            self.memories.append(types.read_memory(cursor))
        elif kind == "global":
            types.read_value_type(cursor)
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
