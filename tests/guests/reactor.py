"""Makes a command of a reactor: an interpreter built to be embedded becomes one that can be run.

CRuby's npm package and CPython's PyPI package ship modules that export `_initialize` and functions
for their own host to call, and that import functions of that host. Here such a module gets a
`_start` written in text form, and the imports nobody will answer are taken out: each becomes an
import of a WASI function, so that no function index moves, and each function that called one is
replaced by a trap. Only WASI is left to import, and `memory` and `_start` to export.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wasmtime import Engine, Module, WasmtimeError, wat2wasm

WASI = "wasi_snapshot_preview1"
FILLER = "fd_allocate"  # (i32, i64, i64) → i32: a type no call site of a removed import can have
WASI_TYPES = {
    "args_get": ("7f7f", "7f"),
    "args_sizes_get": ("7f7f", "7f"),
    "fd_datasync": ("7f", "7f"),
    "proc_exit": ("7f", ""),
    FILLER: ("7f7e7e", "7f"),
}
TYPES, IMPORTS, FUNCTIONS, EXPORTS, CODE, DATA, DATA_COUNT = 1, 2, 3, 7, 10, 11, 12


def leb(value: int) -> bytes:
    """`value` as an unsigned LEB128."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@dataclass
class Reader:
    """A position in bytes of a module."""

    data: bytes | bytearray
    at: int = 0

    def leb(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def take(self, count: int) -> bytes:
        self.at += count
        return bytes(self.data[self.at - count : self.at])

    def name(self) -> str:
        return self.take(self.leb()).decode()


@dataclass
class Vector:
    """A section's items: their count, and the bytes they take."""

    count: int
    items: bytearray

    @classmethod
    def of(cls, payload: bytes) -> Vector:
        reader = Reader(payload)
        count = reader.leb()
        return cls(count, bytearray(payload[reader.at :]))

    def add(self, item: bytes) -> int:
        """Append an item and return its index."""
        self.items += item
        self.count += 1
        return self.count - 1

    def encode(self) -> bytes:
        return leb(self.count) + self.items


@dataclass
class Reactor:
    """A module taken apart into sections, code left as it is."""

    sections: list[tuple[int, bytes]]
    imports: list[tuple[str, str, bytes]] = field(default_factory=list)
    exports: dict[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: bytes) -> Reactor:
        reader, sections = Reader(data, 8), []
        while reader.at < len(data):
            number = reader.take(1)[0]
            sections.append((number, reader.take(reader.leb())))
        module = cls(sections)
        module.imports = list(_imports(module.section(IMPORTS)))
        exports = Reader(module.section(EXPORTS))
        for _ in range(exports.leb()):
            name = exports.name()
            module.exports[name] = (exports.take(1)[0], exports.leb())
        return module

    def section(self, number: int) -> bytes:
        return next((payload for found, payload in self.sections if found == number), b"\0")

    def encode(self, changed: Mapping[int, bytes]) -> bytearray:
        """The module with sections replaced."""
        out = bytearray(b"\0asm\1\0\0\0")
        for number, payload in self.sections:
            content = changed.get(number, payload)
            out += bytes([number]) + leb(len(content)) + content
        return out


def _imports(payload: bytes) -> Iterator[tuple[str, str, bytes]]:
    reader = Reader(payload)
    for _ in range(reader.leb()):
        module, name, start = reader.name(), reader.name(), reader.at
        assert reader.take(1) == b"\0", f"import {module}.{name} is not a function"
        reader.leb()
        yield module, name, bytes(payload[start : reader.at])


def command(
    reactor: Path,
    start: str,
    *,
    instead: Mapping[str, str] | None = None,
    data: Sequence[bytes] = (),
) -> bytes:
    """The module at `reactor` with `_start`, a function body in text form, as its entry.

    `start` names functions as `{export}` or `{import}` of the module and segments as `{data0}`.
    `instead` maps removed imports to the WASI functions that answer in their place; the first free
    ones become what `start` needs of WASI.
    """
    module = Reactor.parse(reactor.read_bytes())
    types = Vector.of(module.section(TYPES))
    functions = Vector.of(module.section(FUNCTIONS))
    code = Vector.of(module.section(CODE))
    segments = Vector.of(module.section(DATA))

    instead = dict(instead or {})
    have = {name: index for index, (_, name, _) in enumerate(module.imports)}
    wanted = [name for name in re.findall(r"\{(\w+)\}", start) if name in WASI_TYPES]
    needed = [name for name in dict.fromkeys(wanted) if name not in have]
    type_of = {
        name: types.add(bytes.fromhex(f"60{len(p) // 2:02x}{p}{len(r) // 2:02x}{r}"))
        for name, (p, r) in WASI_TYPES.items()
    }
    entry_type = types.add(b"\x60\0\0")

    imports = Vector(0, bytearray())
    indexes: dict[str, int] = {}
    for origin, theirs, description in module.imports:
        name, kind = theirs, description
        if origin != WASI:
            name = instead.get(theirs) or (needed.pop(0) if needed else FILLER)
            kind = b"\0" + leb(type_of[name])
        words = b"".join(leb(len(word)) + word for word in (WASI.encode(), name.encode()))
        indexes.setdefault(name, imports.add(words + kind))
    assert not needed, f"no import left to become {needed}"

    indexes |= {name: index for name, (kind, index) in module.exports.items() if kind == 0}
    indexes |= {
        f"data{n}": segments.add(b"\1" + leb(len(item)) + item) for n, item in enumerate(data)
    }
    text = re.sub(r"\{([^{}]+)\}", lambda found: str(indexes[found[1]]), start)
    entry = imports.count + functions.add(leb(entry_type))
    body = Vector.of(Reactor.parse(bytes(wat2wasm(f"(module {text})"))).section(CODE))
    code.add(bytes(body.items))

    memory = b"\6memory\2" + leb(module.exports["memory"][1])
    changed = {
        TYPES: types.encode(),
        IMPORTS: imports.encode(),
        FUNCTIONS: functions.encode(),
        EXPORTS: b"\2" + memory + b"\6_start\0" + leb(entry),
        CODE: code.encode(),
        DATA: segments.encode(),
        DATA_COUNT: leb(segments.count),
    }
    return bytes(_without_calls_of_removed(module.encode(changed)))


def _without_calls_of_removed(module: bytearray) -> bytearray:
    """Replace each function that the validator refuses by a trap of the same length."""
    bodies = _bodies(module)
    engine = Engine()
    while True:
        try:
            Module.validate(engine, bytes(module))
        except WasmtimeError as error:
            offset = re.search(r"at offset 0x([0-9a-f]+)", str(error))
            assert offset, error
            at = int(offset[1], 16)
            start, end = next((s, e) for s, e in bodies if s <= at < e)
            assert module[start : start + 2] != b"\0\0", error
            module[start:end] = b"\0\0" + b"\1" * (end - start - 3) + b"\x0b"
        else:
            return module


def _bodies(module: bytearray) -> list[tuple[int, int]]:
    reader = Reader(module, 8)
    while reader.take(1)[0] != CODE:
        reader.take(reader.leb())
    reader.leb()
    bodies = []
    for _ in range(reader.leb()):
        size = reader.leb()
        bodies.append((reader.at, reader.at + size))
        reader.at += size
    return bodies
