"""Reading tar: ustar, pax, GNU long names and sparse files, from a stream that cannot seek."""

import os
import re
from collections.abc import Iterator
from typing import Protocol

from wherry.images.tar.entry import Entry, Kind

BLOCK = 512
_MAX_EXTENSION = 1 << 20
_MAX_EXTENTS = 1 << 16
_MAX_RECORDS = 256
"""Of one entry, extended attributes included."""
_MAX_GLOBALS = 64
"""Records for all entries that follow: each of them costs each of those."""
_MAX_ID = (1 << 32) - 2
_CHUNK = 1 << 18
_EMPTY = bytes(BLOCK)
_NANOSECONDS = 1_000_000_000
_XATTR = "SCHILY.xattr."
_TIME = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9})\d*)?", re.ASCII)
_DIGITS = re.compile(r"-?\d{1,19}", re.ASCII)
_KINDS = {kind.value: kind for kind in Kind} | {
    b"\0": Kind.FILE,
    b"7": Kind.FILE,
    b"S": Kind.FILE,
}


class InvalidTar(ValueError):
    """The bytes are no tar archive, or one that ends early. The message is one line."""


class Readable(Protocol):
    """A stream of bytes; may return fewer than asked, and b"" only at the end."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes."""


class TarReader:
    """The members of an archive, in order; each member's content before the next is asked for.

    Memory is bounded whatever the headers claim. Raises InvalidTar.
    """

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._buffer = b""
        self._at = 0
        self._stored = 0
        self._padding = 0
        self._globals: dict[str, bytes] = {}

    def __iter__(self) -> Iterator[Entry]:
        while entry := self.next():
            yield entry

    def next(self) -> Entry | None:
        """The next member, or None at the end of the archive."""
        self._skip(self._stored + self._padding)
        self._stored = self._padding = 0
        pax = self._globals
        name = target = None
        while True:
            header = self._header()
            if header is None:
                if pax is not self._globals or name is not None or target is not None:
                    raise InvalidTar("the tar ends after an extension header")
                return None
            flag = header[156:157]
            if flag in b"xgLK" and flag:
                data = self._extension(_number(header[124:136], "size"))
                if flag == b"x":
                    pax = _joined(pax, data, _MAX_RECORDS)
                elif flag == b"g":
                    self._globals = pax = _joined(self._globals, data, _MAX_GLOBALS)
                elif flag == b"L":
                    name = os.fsdecode(data.partition(b"\0")[0])
                else:
                    target = os.fsdecode(data.partition(b"\0")[0])
                continue
            kind = _KINDS.get(flag)
            if kind is None:
                self._skip(_padded(_number(header[124:136], "size")))
                pax, name, target = self._globals, None, None
                continue
            return self._entry(header, kind, name, target, pax)

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of the member's stored data; b"" at its end.

        For a sparse file this is its extents one after the other.
        """
        size = min(size, self._stored)
        if not size:
            return b""
        data = self._buffered(size)
        if not data:
            data = self._source.read(size)
            if not data:
                raise InvalidTar("the tar ends in the middle of a file")
        self._stored -= len(data)
        return data

    def _entry(
        self, header: bytes, kind: Kind, name: str | None, target: str | None, pax: dict[str, bytes]
    ) -> Entry:
        ustar = header[257:263] == b"ustar\0"
        entry = Entry(
            name if name is not None else _name(header, ustar),
            kind,
            _number(header[100:108], "mode") & 0o7777,
            _number(header[108:116], "uid"),
            _number(header[116:124], "gid"),
            _number(header[124:136], "size"),
            _number(header[136:148], "mtime", signed=True) * _NANOSECONDS,
            target if target is not None else _text(header[157:257]),
        )
        if kind in (Kind.CHARACTER, Kind.BLOCK):
            entry.major = _number(header[329:337], "device")
            entry.minor = _number(header[337:345], "device")
        stored = _apply(entry, pax)
        # Of the whole name: that in the header may be cut off behind a slash.
        if header[156] in b"\x000" and entry.name.endswith("/"):
            entry.kind = kind = Kind.DIRECTORY
        if max(entry.uid, entry.gid) > _MAX_ID or "\0" in entry.name + entry.target:
            raise InvalidTar(f"entry {entry.name[:80]!r}: its owner or name cannot be")
        if kind is not Kind.FILE:
            stored = entry.size if kind is Kind.DIRECTORY else 0
            entry.size = 0
        self._stored = stored
        self._padding = -stored % BLOCK
        if header[156:157] == b"S":
            entry.extents, entry.size = self._old_sparse(header)
        elif pax and kind is Kind.FILE and any(key.startswith("GNU.sparse.") for key in pax):
            self._pax_sparse(entry, pax)
        if entry.extents is not None:
            _check_extents(entry, self._stored)
        return entry

    def _header(self) -> bytes | None:
        block = self._block()
        if block is None:
            return None
        if block == _EMPTY:
            return None
        total = sum(block) - sum(block[148:156]) + 8 * 32
        if total != _number(block[148:156], "checksum"):
            raise InvalidTar("this is no tar archive, or it is damaged (header checksum)")
        return block

    def _block(self) -> bytes | None:
        block = self._take(BLOCK)
        if not block:
            return None
        if len(block) < BLOCK:
            raise InvalidTar("the tar ends in the middle of a header")
        return block

    def _extension(self, size: int) -> bytes:
        if size > _MAX_EXTENSION:
            raise InvalidTar(f"an extension header of {size} bytes, more than {_MAX_EXTENSION}")
        data = self._take(_padded(size))
        if len(data) < _padded(size):
            raise InvalidTar("the tar ends in the middle of an extension header")
        return data[:size]

    def _take(self, size: int) -> bytes:
        data = self._buffered(size)
        while len(data) < size:
            self._buffer, self._at = self._source.read(_CHUNK), 0
            if not self._buffer:
                break
            data += self._buffered(size - len(data))
        return data

    def _buffered(self, size: int) -> bytes:
        data = self._buffer[self._at : self._at + size]
        self._at += len(data)
        return data

    def _skip(self, size: int) -> None:
        size -= len(self._buffered(size))
        while size > 0:
            step = len(self._source.read(min(size, _CHUNK)))
            if not step:
                raise InvalidTar("the tar ends in the middle of a file")
            size -= step

    def _old_sparse(self, header: bytes) -> tuple[list[tuple[int, int]], int]:
        """GNU's own format: four extents in the header, 21 in each block that follows."""
        fields, more = header[386:482], header[482]
        real = _number(header[483:495], "real size")
        extents = _extent_fields(fields)
        while more:
            block = self._block()
            if block is None or len(extents) > _MAX_EXTENTS:
                raise InvalidTar("a sparse file's map is broken")
            extents += _extent_fields(block[:504])
            more = block[504]
        return extents, real

    def _pax_sparse(self, entry: Entry, pax: dict[str, bytes]) -> None:
        """GNU's formats 0.0, 0.1 and 1.0 in pax records."""
        real = pax.get("GNU.sparse.realsize", pax.get("GNU.sparse.size"))
        if real is None:
            raise InvalidTar(f"sparse file {entry.name!r} without its size")
        entry.size = _decimal(real)
        if "GNU.sparse.name" in pax:
            entry.name = os.fsdecode(pax["GNU.sparse.name"])
        if pax.get("GNU.sparse.major") == b"1":
            entry.extents = self._embedded_map()
            return
        numbers = [_decimal(text) for text in pax.get("GNU.sparse.map", b"").split(b",") if text]
        entry.extents = _pairs(numbers)

    def _embedded_map(self) -> list[tuple[int, int]]:
        """Format 1.0: the map stands before the data, one number a line, padded to a block."""
        text = b""
        numbers: list[int] = []
        wanted = 1
        while len(numbers) < wanted:
            block = self.read(BLOCK)
            while len(block) < BLOCK and (more := self.read(BLOCK - len(block))):
                block += more
            text += block
            *lines, text = text.split(b"\n")
            if len(block) < BLOCK or not lines:
                raise InvalidTar("a sparse file's map is broken")
            for line in lines:
                if len(numbers) < wanted:
                    numbers.append(_decimal(line))
                    if len(numbers) == 1:
                        wanted = 1 + 2 * numbers[0]
            if wanted > 2 * _MAX_EXTENTS:
                raise InvalidTar("a sparse file with too many parts")
        return _pairs(numbers[1:])


def _apply(entry: Entry, pax: dict[str, bytes]) -> int:
    """Overrule header fields by pax records; returns the size of what is stored."""
    stored = entry.size
    for key, value in pax.items():
        match key:
            case "path":
                entry.name = os.fsdecode(value)
            case "linkpath":
                entry.target = os.fsdecode(value)
            case "size":
                entry.size = stored = _decimal(value)
            case "uid":
                entry.uid = _decimal(value)
            case "gid":
                entry.gid = _decimal(value)
            case "mtime":
                entry.mtime = _time(value)
            case _ if key.startswith(_XATTR):
                entry.xattrs[key.removeprefix(_XATTR)] = value
    return stored


def _joined(known: dict[str, bytes], data: bytes, most: int) -> dict[str, bytes]:
    """The records of one more header beside those that are known."""
    joined = {**known, **_records(data)}
    if len(joined) > most:
        raise InvalidTar(f"more than {most} records in pax headers")
    return joined


def _records(data: bytes) -> dict[str, bytes]:
    """pax records: `LENGTH KEY=VALUE\\n`, the length that of the whole record."""
    records: dict[str, bytes] = {}
    sparse: list[bytes] = []
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 20)
        digits = data[position:space]
        if space < 0 or not digits.isdigit():
            raise InvalidTar("a pax header is broken")
        end = position + int(digits)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end <= space or not equals or data[end - 1 : end] != b"\n":
            raise InvalidTar("a pax header is broken")
        if key in (b"path", b"linkpath") and b"\0" in value:
            raise InvalidTar("a name with a zero byte")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            sparse.append(value)
        else:
            records[os.fsdecode(key)] = value
        position = end
    if sparse:
        records["GNU.sparse.map"] = b",".join(sparse)
    return records


def _name(header: bytes, ustar: bool) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if ustar else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return os.fsdecode(field.partition(b"\0")[0])


def _number(field: bytes, what: str, *, signed: bool = False) -> int:
    """Octal digits, or GNU's base 256 for what does not fit."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ~(0x80 << 8 * (len(field) - 1))
        bits = 8 * len(field) - 1
        if value >> (bits - 1):
            value -= 1 << bits
        if value >= 1 << 63 or value < (-1 << 63 if signed else 0):
            raise InvalidTar(f"a header's {what} is out of range")
        return value
    digits = field.partition(b"\0")[0].strip()
    if not digits:
        return 0
    try:
        value = int(digits, 8)
    except ValueError:
        raise InvalidTar(f"a header's {what} is no number") from None
    if value < 0:
        raise InvalidTar(f"a header's {what} is negative")
    return value


def _decimal(text: bytes) -> int:
    if not _DIGITS.fullmatch(os.fsdecode(text)) or not 0 <= int(text) < 1 << 63:
        raise InvalidTar(f"{os.fsdecode(text)[:40]!r} in a pax header is no size or id")
    return int(text)


def _time(text: bytes) -> int:
    found = _TIME.fullmatch(os.fsdecode(text))
    if not found:
        raise InvalidTar(f"{os.fsdecode(text)[:40]!r} in a pax header is no time")
    sign, seconds, fraction = found.groups()
    value = int(seconds) * _NANOSECONDS + int((fraction or "").ljust(9, "0"))
    return -value if sign else value


def _extent_fields(data: bytes) -> list[tuple[int, int]]:
    extents = []
    for start in range(0, len(data) - 23, 24):
        length = _number(data[start + 12 : start + 24], "sparse map")
        offset = _number(data[start : start + 12], "sparse map")
        if offset or length:
            extents.append((offset, length))
    return extents


def _pairs(numbers: list[int]) -> list[tuple[int, int]]:
    if len(numbers) % 2 or len(numbers) > 2 * _MAX_EXTENTS:
        raise InvalidTar("a sparse file's map is broken")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _check_extents(entry: Entry, stored: int) -> None:
    end = 0
    for offset, length in entry.extents or ():
        if offset < end or offset + length > entry.size:
            raise InvalidTar(f"sparse file {entry.name!r}: its parts overlap or exceed its size")
        end = offset + length
    if sum(length for _, length in entry.extents or ()) != stored:
        raise InvalidTar(f"sparse file {entry.name!r}: its parts are not what is stored")


def _padded(size: int) -> int:
    return size + -size % BLOCK
