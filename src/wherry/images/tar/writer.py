"""Writing tar: equal entries give equal bytes, pax records only where ustar cannot say it."""

import os
from typing import Protocol

from wherry.images.tar.entry import Entry, Kind

BLOCK = 512
_MAX_ID = 0o7777777
_MAX_SIZE = 0o77777777777
_NANOSECONDS = 1_000_000_000


class Output(Protocol):
    """What bytes are written to."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`."""


class TarWriter:
    """Writes members to `out` one after the other; ends the archive with `finish`."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._left = 0
        self._padding = 0

    def add(self, entry: Entry) -> None:
        """Start a member; a FILE's `size` bytes then come through `write`.

        Sparse files are written in full, times in whole seconds.
        """
        assert self._left == 0, "the member before is not complete"
        self._out.write(_headers(entry))
        self._left = entry.size if entry.kind is Kind.FILE else 0
        self._padding = -self._left % BLOCK

    def write(self, data: bytes) -> None:
        """Write a part of the member's content."""
        assert len(data) <= self._left, "more content than the header said"
        self._out.write(data)
        self._left -= len(data)
        if self._left == 0 and self._padding:
            self._out.write(bytes(self._padding))
            self._padding = 0

    def file(self, entry: Entry, data: bytes) -> None:
        """Write a whole member with its content."""
        entry.size = len(data)
        self.add(entry)
        self.write(data)

    def finish(self) -> None:
        """Write the end of the archive: two empty blocks."""
        assert self._left == 0, "the last member is not complete"
        self._out.write(bytes(2 * BLOCK))


def _headers(entry: Entry) -> bytes:
    records: dict[str, bytes] = {}
    name = os.fsencode(entry.name)
    if entry.kind is Kind.DIRECTORY and not name.endswith(b"/"):
        name += b"/"
    prefix, short = _split(name)
    if short is None:
        records["path"] = name
        prefix, short = b"", _ascii(name)[:100]
    target = os.fsencode(entry.target)
    if len(target) > 100 or not target.isascii():
        records["linkpath"] = target
        target = _ascii(target)[:100]
    size = entry.size if entry.kind is Kind.FILE else 0
    mtime = entry.mtime // _NANOSECONDS
    for key, number, largest in (
        ("uid", entry.uid, _MAX_ID),
        ("gid", entry.gid, _MAX_ID),
        ("size", size, _MAX_SIZE),
        ("mtime", mtime, _MAX_SIZE),
    ):
        if not 0 <= number <= largest:
            records[key] = b"%d" % number
    for key, value in entry.xattrs.items():
        records[f"SCHILY.xattr.{key}"] = value
    header = _ustar(
        short,
        prefix,
        entry.kind.value,
        target,
        entry.mode & 0o7777,
        0 if "uid" in records else entry.uid,
        0 if "gid" in records else entry.gid,
        0 if "size" in records else size,
        0 if "mtime" in records else mtime,
        (entry.major, entry.minor),
    )
    return _pax(records, short) + header if records else header


def _pax(records: dict[str, bytes], name: bytes) -> bytes:
    """An extended header block (POSIX pax, "pax Extended Header")."""
    body = b"".join(_record(key, records[key]) for key in sorted(records))
    if not all(_is_utf8(records[key]) for key in ("path", "linkpath") if key in records):
        body = _record("hdrcharset", b"BINARY") + body
    label = b"PaxHeaders/" + name.rstrip(b"/").rpartition(b"/")[2][:80]
    header = _ustar(label, b"", b"x", b"", 0o644, 0, 0, len(body), 0, (0, 0))
    return header + body + bytes(-len(body) % BLOCK)


def _record(key: str, value: bytes) -> bytes:
    rest = b" " + os.fsencode(key) + b"=" + value + b"\n"
    length = len(rest)
    while length != len(rest) + len(b"%d" % length):
        length = len(rest) + len(b"%d" % length)
    return b"%d" % length + rest


def _ustar(
    name: bytes,
    prefix: bytes,
    flag: bytes,
    target: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    device: tuple[int, int],
) -> bytes:
    head = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        name.ljust(100, b"\0"),
        mode,
        uid,
        gid,
        size,
        mtime,
    )
    tail = b"%b%bustar\00000%b%07o\0%07o\0%b" % (
        flag,
        target.ljust(100, b"\0"),
        bytes(64),
        *device,
        prefix.ljust(155, b"\0"),
    )
    checksum = sum(head) + sum(tail) + 8 * 32
    return b"%b%06o\0 %b%b" % (head, checksum, tail, bytes(12))


def _split(name: bytes) -> tuple[bytes, bytes | None]:
    """The ustar prefix and name, or None as the name when they cannot hold it."""
    if not name.isascii():
        return b"", None
    if len(name) <= 100:
        return b"", name
    slash = name.find(b"/", len(name) - 101)
    if 0 < slash <= 155 and slash < len(name) - 1:
        return name[:slash], name[slash + 1 :]
    return b"", None


def _ascii(text: bytes) -> bytes:
    return text.decode("ascii", "replace").encode("ascii", "replace")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
