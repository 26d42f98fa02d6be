"""Which additions to WebAssembly 1.0 the code of a module uses.

Instructions are told apart by regular expressions (core spec 5.4), which take some 80 MB of code a
second. One expression passes over all that is known to be used already; where it stops, something
new begins, or a list of labels. What is not understood ends the look at its function, not more:
whether code is valid is for engines to say.
"""

import re
from functools import lru_cache
from typing import BinaryIO, NamedTuple

from wherry.wasm import features
from wherry.wasm.facts import Section

WINDOW = 4 << 20
"""Bytes of code in memory at once; of a larger function only the beginning is looked at."""

MAX_CODE = 256 << 20
"""Bytes looked at in all."""

MAX_FUNCTIONS = 1_000_000
"""The limit that engines have."""

_NUMBER = rb"[\x80-\xff]*+[\x00-\x7f]"
_PLACE = rb"(?:[\x00-\x3f]N|[\x40-\x7f]NN)"
"""Alignment and offset, and between them the memory, if it is not the first."""


def _compile(pattern: bytes) -> re.Pattern[bytes]:
    """`N` stands for a number in LEB128, `P` for a place in memory."""
    return re.compile(pattern.replace(b"P", _PLACE).replace(b"N", _NUMBER), re.DOTALL)


_FIRST = (
    rb"[\x0c\x0d\x10\x20-\x24\x41\x42]N|[\x00\x01\x05\x0b\x0f\x1a\x1b\x45-\xbf]"
    rb"|[\x28-\x3e][\x00-\x3f]N|[\x02-\x04][\x40\x65-\x7f]|\x43.{4}|\x44.{8}"
    rb"|[\x3f\x40]\x00|\x11N\x00"
)
"""The instructions of WebAssembly 1.0 but `br_table`."""

_ADDITIONS = {
    features.SIGN_EXTENSION: rb"[\xc0-\xc4]",
    features.SATURATING: rb"\xfc[\x00-\x07]",
    features.BULK_MEMORY: rb"\xfc(?:[\x08\x0a\x0c\x0e]NN|[\x09\x0b\x0d]N)",
    features.REFERENCES: (
        rb"[\x25\x26\xd0\xd2]N|\xd1|\x1c\x01(?:[\x63\x64]N|.)|\xfc[\x0f-\x11]N|\x11NN"
    ),
    features.MULTIPLE_RESULTS: rb"[\x02-\x04](?:[\x00-\x3f]|[\x80-\xff]++[\x00-\x3f])",
    features.SIMD: (
        rb"\xfd(?:[\x00-\x0b\x5c\x5d]P|[\x0c\x0d].{16}|[\x15-\x22].|[\x54-\x5b]P."
        rb"|[\x0e-\x14\x23-\x53\x5e-\x7f]|[\x80-\xff]\x01)"
    ),
    features.RELAXED_SIMD: rb"\xfd[\x80-\xff]\x02",
    features.TAIL_CALLS: rb"\x12N|\x13NN|\x15N",
    features.THREADS: rb"\xfe(?:[\x00-\x02\x10-\x4e]P|\x03.)",
    features.EXCEPTIONS: rb"\x08N|\x0a",
    features.FIRST_EXCEPTIONS: rb"\x06(?:[\x63\x64]N|N)|[\x07\x09\x18]N|\x19",
    features.TYPED_REFERENCES: rb"[\x14\xd5\xd6]N|\xd4|[\x02-\x04][\x63\x64]N",
    features.MEMORIES: rb"[\x28-\x3e][\x40-\x7f]NN|[\x3f\x40]N",
    features.GARBAGE_COLLECTION: (
        rb"\xd3|\xfb(?:[\x00\x01\x06\x07\x0b-\x0e\x10\x14-\x17]N|[\x02-\x05\x08-\x0a\x11-\x13]NN"
        rb"|[\x18\x19].NNN|[\x0f\x1a-\x1e])"
    ),
    features.WIDE_ARITHMETIC: rb"\xfc[\x13-\x16]",
}
"""The instructions of each addition. Where two would fit, the first one is meant."""

_ONE = [(name, _compile(pattern)) for name, pattern in _ADDITIONS.items()]
_LEB = _compile(rb"N")
_LOCAL = _compile(rb"N(?:[\x63\x64]N|.)")
_BLOCK_TYPE = _compile(rb"[\x63\x64]N|N")
_CATCH = _compile(rb"[\x00\x01]NN|[\x02\x03]N")

BRANCH_TABLE, TRY_TABLE = 0x0E, 0x1F


class Code(NamedTuple):
    """What was found in code, and whether all of it was looked at and understood."""

    features: frozenset[str]
    is_whole: bool


def look(file: BinaryIO, section: Section) -> Code:
    """Look at the functions of a code section. Raises OSError from reading."""
    found: set[str] = set()
    window = _Window(file, section)
    functions = window.number() or 0
    whole = section.size <= MAX_CODE and functions <= MAX_FUNCTIONS
    for _ in range(min(functions, MAX_FUNCTIONS)):
        size = window.number()
        if size is None:
            return Code(frozenset(found), False)
        there = window.have(min(size, WINDOW))
        whole &= size <= there
        whole &= _look_at_body(window.data, window.at, window.at + min(size, there), found)
        window.skip(size)
    return Code(frozenset(found), whole)


def _look_at_body(data: bytes, at: int, end: int, found: set[str]) -> bool:
    """Add what a function uses to `found`; whether it was understood."""
    at = _skip_vector(_LOCAL, data, at, end)
    while 0 <= at < end:
        at = _passing(frozenset(found)).match(data, at, end).end()  # type: ignore[union-attr]
        if at == end:
            return True
        if data[at] == BRANCH_TABLE:
            at = _skip(_LEB, data, _skip_vector(_LEB, data, at + 1, end), end)
            continue
        if data[at] == TRY_TABLE:
            found.add(features.EXCEPTIONS)
            at = _skip_vector(_CATCH, data, _skip(_BLOCK_TYPE, data, at + 1, end), end)
            continue
        for name, one in _ONE:
            behind = _skip(one, data, at, end)
            if behind >= 0:
                found.add(name)
                at = behind
                break
        else:
            return False
    return at == end


@lru_cache(maxsize=64)
def _passing(known: frozenset[str]) -> re.Pattern[bytes]:
    """Passes over all instructions of WebAssembly 1.0 and of the `known` additions."""
    patterns = [_FIRST, *(pattern for name, pattern in _ADDITIONS.items() if name in known)]
    return _compile(b"(?:" + b"|".join(patterns) + b")*+")


def _skip(pattern: re.Pattern[bytes], data: bytes, at: int, end: int) -> int:
    """Where what `pattern` describes ends; -1 when it is not there, or `at` was -1 already."""
    match = pattern.match(data, at, end) if at >= 0 else None
    return match.end() if match else -1


def _skip_vector(pattern: re.Pattern[bytes], data: bytes, at: int, end: int) -> int:
    """As `_skip`, for a number and as many of what `pattern` describes."""
    behind = _skip(_LEB, data, at, end)
    if behind < 0:
        return -1
    for _ in range(_value(data, at, behind)):
        behind = _skip(pattern, data, behind, end)
        if behind < 0:
            return -1
    return behind


def _value(data: bytes, at: int, end: int) -> int:
    """The number whose LEB128 is there; the 32 bits that a number of things may have."""
    value = 0
    for shift, byte in enumerate(data[at : min(end, at + 5)]):
        value |= (byte & 0x7F) << (7 * shift)
    return value


class _Window:
    """The part of a code section that is in memory: `data`, of which `at` is next."""

    def __init__(self, file: BinaryIO, section: Section) -> None:
        self.data = b""
        self.at = 0
        self._file = file
        self._left = min(section.size, MAX_CODE)
        file.seek(section.start)

    def have(self, size: int) -> int:
        """Read on until `size` bytes are here, if there are so many; how many are."""
        if len(self.data) - self.at < size and self._left:
            more = self._file.read(min(self._left, WINDOW))
            self._left = self._left - len(more) if more else 0
            self.data, self.at = self.data[self.at :] + more, 0
        return len(self.data) - self.at

    def number(self) -> int | None:
        """Take a number; None at the end."""
        end = self.at + self.have(5)
        behind = _skip(_LEB, self.data, self.at, min(end, self.at + 5))
        if behind < 0:
            return None
        value = _value(self.data, self.at, behind)
        self.at = behind
        return value

    def skip(self, size: int) -> None:
        """Go past `size` bytes, whether they are here or not."""
        here = min(size, len(self.data) - self.at)
        self.at += here
        if size > here:
            self._file.seek(size - here, 1)
            self._left = max(0, self._left - (size - here))
