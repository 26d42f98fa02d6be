"""Types of the core spec (5.3), read as far as signatures, memories and tables need it."""

from wherry.wasm import features
from wherry.wasm.cursor import Cursor
from wherry.wasm.facts import FunctionType, Memory, Table
from wherry.wasm.sections import WasmSource

NUMBERS = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128"}

HEAPS = {
    0x74: "noexn",
    0x73: "nofunc",
    0x72: "noextern",
    0x71: "none",
    0x70: "func",
    0x6F: "extern",
    0x6E: "any",
    0x6D: "eq",
    0x6C: "i31",
    0x6B: "struct",
    0x6A: "array",
    0x69: "exn",
    0x68: "cont",
    0x75: "nocont",
}

PACKED = {0x78: "i8", 0x77: "i16"}

_FIRST_TYPES = frozenset({"i32", "i64", "f32", "f64"})
_SHOWN_BY = {
    "v128": features.SIMD,
    "funcref": features.REFERENCES,
    "externref": features.REFERENCES,
    "exnref": features.EXCEPTIONS,
    **dict.fromkeys(
        ("anyref", "eqref", "i31ref", "structref", "arrayref", "noneref"),
        features.GARBAGE_COLLECTION,
    ),
}
"""Which addition to WebAssembly 1.0 a type of values belongs to."""

REF, REF_NULL = 0x64, 0x63
FUNCTION, STRUCT, ARRAY = 0x60, 0x5F, 0x5E
SUB, SUB_FINAL, GROUP = 0x50, 0x4F, 0x4E

MAX_VALUES = 1000
"""Parameters or results of one function; the limit that engines have."""

WITH_VALUE = 0x40
"""Before a table whose elements begin with a value that an expression gives."""

HAS_MAXIMUM, SHARED, IS_64, HAS_PAGE_SIZE = 1, 2, 4, 8


class TypeSection:
    """The types of a module, each decoded only when something is said to have it."""

    def __init__(self, source: WasmSource) -> None:
        self._source = source
        self._places: list[tuple[Cursor, int]] = []
        self._signatures: dict[int, FunctionType | None] = {}
        self.features: set[str] = set()
        """Additions to WebAssembly 1.0 that the types show."""

    def read(self, cursor: Cursor, count: int) -> None:
        """Read past `count` entries of a section, noting where the types begin."""
        for _ in range(count):
            if cursor.peek() != GROUP:
                self._skip(cursor)
                continue
            cursor.byte()
            self.features.add(features.GARBAGE_COLLECTION)
            members = cursor.count()
            self._source.spend(members)
            for _ in range(members):
                self._skip(cursor)

    def __len__(self) -> int:
        return len(self._places)

    def signature(self, index: int) -> FunctionType | None:
        """Return a type by its index; None when it is not that of a function."""
        if index not in self._signatures:
            cursor, position = self._places[index]
            cursor.rewind(position)
            self._signatures[index] = signature = _read_type(cursor)
            if signature is not None:
                self._source.spend(len(signature.parameters) + len(signature.results))
        return self._signatures[index]

    def _skip(self, cursor: Cursor) -> None:
        self._places.append((cursor, cursor.position))
        signature = _read_type(cursor)
        if signature is None:
            self.features.add(features.GARBAGE_COLLECTION)
            return
        if len(signature.results) > 1:
            self.features.add(features.MULTIPLE_RESULTS)
        for kind in (*signature.parameters, *signature.results):
            if kind not in _FIRST_TYPES:
                self.features.add(_SHOWN_BY.get(kind, features.TYPED_REFERENCES))


def read_value_type(cursor: Cursor) -> str:
    """Read a value type as the text format writes it."""
    byte = cursor.byte()
    if byte in NUMBERS:
        return NUMBERS[byte]
    if byte in HEAPS:
        return f"{HEAPS[byte]}ref"
    if byte in (REF, REF_NULL):
        null = "null " if byte == REF_NULL else ""
        return f"(ref {null}{_heap_type(cursor)})"
    raise cursor.wrong(f"there is no type 0x{byte:02x}")


def read_memory(cursor: Cursor) -> Memory:
    """Read a memory type: limits, and the page size of the custom-page-sizes proposal."""
    flags, minimum, maximum = _read_limits(cursor)
    page_size = 65536
    if flags & HAS_PAGE_SIZE:
        power = cursor.unsigned()
        if power > 16:
            raise cursor.wrong(f"a page of 2**{power} bytes is larger than 64 KiB")
        page_size = 1 << power
    return Memory(minimum, maximum, bool(flags & SHARED), bool(flags & IS_64), page_size)


def read_table(cursor: Cursor) -> Table:
    """Read a table type: what it holds, and its limits."""
    held = read_value_type(cursor)
    flags, minimum, maximum = _read_limits(cursor)
    return Table(held, minimum, maximum, bool(flags & IS_64))


def read_table_definition(cursor: Cursor) -> Table:
    """Read a table of the table section, and past the value its elements begin with, if any."""
    if cursor.peek() != WITH_VALUE:
        return read_table(cursor)
    cursor.take(2)
    table = read_table(cursor)
    _skip_constant(cursor)
    return table


def _read_limits(cursor: Cursor) -> tuple[int, int, int | None]:
    flags = cursor.byte()
    if flags > 0xF:
        raise cursor.wrong(f"there are no limits 0x{flags:02x}")
    bits = 64 if flags & IS_64 else 32
    minimum = cursor.unsigned(bits)
    return flags, minimum, cursor.unsigned(bits) if flags & HAS_MAXIMUM else None


def _read_type(cursor: Cursor) -> FunctionType | None:
    form = cursor.byte()
    if form in (SUB, SUB_FINAL):
        for _ in range(cursor.count()):
            cursor.unsigned()
        form = cursor.byte()
    if form == FUNCTION:
        return FunctionType(_value_types(cursor), _value_types(cursor))
    if form == STRUCT:
        for _ in range(cursor.count()):
            _skip_field(cursor)
    elif form == ARRAY:
        _skip_field(cursor)
    else:
        raise cursor.wrong(f"there is no kind of type 0x{form:02x}")
    return None


def _value_types(cursor: Cursor) -> tuple[str, ...]:
    count = cursor.count()
    if count > MAX_VALUES:
        raise cursor.wrong(f"a function has {count} parameters or results, more than {MAX_VALUES}")
    return tuple(read_value_type(cursor) for _ in range(count))


def _skip_field(cursor: Cursor) -> None:
    if cursor.peek() in PACKED:
        cursor.byte()
    else:
        read_value_type(cursor)
    cursor.byte()


def _heap_type(cursor: Cursor) -> str:
    index = cursor.signed()
    if index >= 0:
        return str(index)
    name = HEAPS.get(index & 0x7F)
    if name is None or index < -64:
        raise cursor.wrong(f"there is no heap type {index}")
    return name


def _skip_constant(cursor: Cursor) -> None:
    """Read past a constant expression (core spec 3.4.14, with what garbage collection adds)."""
    while (opcode := cursor.byte()) != END:
        if opcode in _CONSTANT_SIZES:
            cursor.take(_CONSTANT_SIZES[opcode])
        elif opcode == REF_NULL_VALUE:
            _heap_type(cursor)
        elif opcode in _CONSTANT_NUMBERS:
            cursor.signed(_CONSTANT_NUMBERS[opcode])
        elif opcode in (GLOBAL_GET, REF_FUNC):
            cursor.unsigned()
        elif opcode == GC:
            for _ in range(_CONSTANT_OBJECTS.get(cursor.unsigned(), 0)):
                cursor.unsigned()
        else:
            raise cursor.wrong(f"instruction 0x{opcode:02x} is not constant")


END, GLOBAL_GET, REF_NULL_VALUE, REF_FUNC, GC = 0x0B, 0x23, 0xD0, 0xD2, 0xFB
_CONSTANT_NUMBERS = {0x41: 32, 0x42: 64}
_CONSTANT_SIZES = {0x43: 4, 0x44: 8, 0xFD: 17, **dict.fromkeys((*b"\x6a\x6b\x6c\x7c\x7d\x7e",), 0)}
"""Constants by their bytes; arithmetic on integers has none."""
_CONSTANT_OBJECTS = {0: 1, 1: 1, 6: 1, 7: 1, 8: 2}
"""`struct.new`, `array.new` and so on, by how many indexes follow."""
