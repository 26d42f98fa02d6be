"""A module whose start function is called by its host, when the host is ready for it."""

from wherry.wasm.cursor import Cursor
from wherry.wasm.module import EXPORT, START
from wherry.wasm.preamble import DEFERRED_START, SIZE

_FUNCTION = 0


def defer_start(module: bytes) -> bytes:
    """Return the binary `module` with its start function exported instead of run when instantiated.

    A host function that needs the guest's memory can have it only once the guest is instantiated. A
    module without a start function is returned as it is. Raises InvalidWasm.
    """
    sections = _sections(module)
    numbers = [number for number, _ in sections]
    if START not in numbers:
        return module
    start = Cursor(dict(sections)[START], 0, "start").unsigned()
    name = DEFERRED_START.encode()
    entry = _leb(len(name)) + name + bytes([_FUNCTION]) + _leb(start)
    changed = [module[:SIZE]]
    for number, contents in sections:
        if number == EXPORT:
            exports = Cursor(contents, 0, "export")
            count = exports.unsigned()
            changed.append(_section(EXPORT, _leb(count + 1) + contents[exports.position :] + entry))
        elif number != START:
            changed.append(_section(number, contents))
        elif EXPORT not in numbers:
            changed.append(_section(EXPORT, _leb(1) + entry))
    return b"".join(changed)


def _sections(module: bytes) -> list[tuple[int, bytes]]:
    cursor = Cursor(module, 0, "a")
    cursor.take(SIZE)
    found = []
    while not cursor.at_end:
        number = cursor.byte()
        found.append((number, cursor.take(cursor.unsigned())))
    return found


def _section(number: int, contents: bytes) -> bytes:
    return bytes([number]) + _leb(len(contents)) + contents


def _leb(value: int) -> bytes:
    """`value` as unsigned LEB128."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
