"""A component: design/mvp/Binary.md of the component-model."""

from wherry.wasm import preamble
from wherry.wasm.cursor import Cursor
from wherry.wasm.custom import CustomSections
from wherry.wasm.errors import InvalidWasm
from wherry.wasm.facts import Export, Import, Section, WasmFile
from wherry.wasm.module import read_module
from wherry.wasm.sections import Part, WasmSource

NAMES = (
    "custom",
    "core module",
    "core instance",
    "core type",
    "component",
    "instance",
    "alias",
    "type",
    "canonical function",
    "start",
    "import",
    "export",
    "value",
)
CUSTOM, CORE_MODULE, COMPONENT, START, IMPORT, EXPORT = 0, 1, 4, 9, 10, 11

KINDS = ("module", "function", "value", "type", "component", "instance")
MODULE, VALUE, TYPE = 0, 2, 3

CORE_MODULE_SORT = 0x11

MAX_DEPTH = 32
"""Components within components; tools nest two or three deep."""


def read_component(source: WasmSource, part: Part, depth: int = 0) -> WasmFile:
    """Read the component that `part` of a file holds, and all that is nested in it.

    Raises InvalidWasm.
    """
    if depth > MAX_DEPTH:
        raise InvalidWasm(f"components are nested more than {MAX_DEPTH} deep")
    component = _Component(source, depth)
    for number, contents in source.sections(part):
        component.read_section(number, contents)
    return WasmFile(
        kind="component",
        imports=tuple(component.imports),
        exports=tuple(component.exports),
        has_start=component.has_start,
        sections=tuple(component.sections),
        producers=tuple(component.custom.producers),
        name=component.custom.name,
        nested=tuple(component.nested),
    )


class _Component:
    """A component as far as it was read."""

    def __init__(self, source: WasmSource, depth: int) -> None:
        self._source = source
        self._depth = depth
        self.imports: list[Import] = []
        self.exports: list[Export] = []
        self.has_start = False
        self.sections: list[Section] = []
        self.custom = CustomSections(source, "component-name")
        self.nested: list[WasmFile] = []

    def read_section(self, number: int, part: Part) -> None:
        """Read one section, or only note that it is there."""
        name = NAMES[number] if number < len(NAMES) else f"unknown {number}"
        items = None
        if number == CUSTOM:
            name = self.custom.read(part)
        elif number in (CORE_MODULE, COMPONENT):
            self._read_nested(number, part)
        elif number == START:
            self.has_start = True
        elif number in (IMPORT, EXPORT):
            items = self._read_items(number, self._source.cursor(part, name))
        else:
            items = self._source.items(part)
        self.sections.append(Section(name, part.size, part.start, items))

    def _read_items(self, number: int, cursor: Cursor) -> int:
        count = cursor.count()
        self._source.spend(count)
        if number == IMPORT:
            self.imports += (_read_import(cursor) for _ in range(count))
        else:
            self.exports += (_read_export(cursor) for _ in range(count))
        cursor.finish()
        return count

    def _read_nested(self, number: int, part: Part) -> None:
        kind = preamble.binary_kind(self._source.head(part, preamble.SIZE))
        if kind != ("module" if number == CORE_MODULE else "component"):
            raise InvalidWasm(f"the {NAMES[number]} section at byte {part.start} holds a {kind}")
        if kind == "module":
            self.nested.append(read_module(self._source, part))
        else:
            self.nested.append(read_component(self._source, part, self._depth + 1))


def _read_import(cursor: Cursor) -> Import:
    name = _read_extern_name(cursor)
    return Import("", name, _read_description(cursor))


def _read_export(cursor: Cursor) -> Export:
    name = _read_extern_name(cursor)
    sort = cursor.byte()
    if sort >= len(KINDS):
        raise cursor.wrong(f"there is no kind of export 0x{sort:02x}")
    if sort == MODULE and cursor.byte() != CORE_MODULE_SORT:
        raise cursor.wrong(f"export {name[:80]!r} is a core item that cannot be exported")
    cursor.unsigned()
    if cursor.byte() == 1:
        _read_description(cursor)
    return Export(name, KINDS[sort])


def _read_extern_name(cursor: Cursor) -> str:
    form = cursor.byte()
    if form > 2:
        raise cursor.wrong(f"there is no form of name 0x{form:02x}")
    name = cursor.name()
    return f"{name}{cursor.name()}" if form == 2 else name


def _read_description(cursor: Cursor) -> str:
    """Read an externdesc and return its kind."""
    sort = cursor.byte()
    if sort >= len(KINDS):
        raise cursor.wrong(f"there is no kind of import 0x{sort:02x}")
    if sort == MODULE:
        if cursor.byte() != CORE_MODULE_SORT:
            raise cursor.wrong("of core items only modules can be imported")
        cursor.unsigned()
    elif sort == VALUE:
        if cursor.byte() == 0:
            cursor.unsigned()
        else:
            cursor.signed()
    elif sort == TYPE:
        if cursor.byte() == 0:
            cursor.unsigned()
    else:
        cursor.unsigned()
    return KINDS[sort]
