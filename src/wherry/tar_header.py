"""Tar headers as bytes: equal members give equal ones, pax records only where ustar cannot say it.

Nothing of files, and nothing that takes time to import: `wherry build` packs its context with it.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

BLOCK = 512
"""Headers and contents are filled up to whole blocks of so many bytes."""
END = bytes(2 * BLOCK)
"""What an archive ends with."""
FILE, SYMLINK, DIRECTORY = b"0", b"2", b"5"
_MAX_ID = 0o7777777
_MAX_SIZE = 0o77777777777
_NO_XATTRS: Mapping[str, bytes] = {}


def header(
    name: str,
    flag: bytes,
    *,
    mode: int,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
    target: str = "",
    device: tuple[int, int] = (0, 0),
    xattrs: Mapping[str, bytes] = _NO_XATTRS,
) -> bytes:
    """What stands before the content of a member; `flag` is its type (POSIX ustar's typeflag).

    `size` is in bytes, 0 for what has no content; `mtime` in seconds since the epoch. Names hold
    undecodable bytes as surrogates, as `os.fsencode` does; a folder's gets its slash here.
    """
    records: dict[str, bytes] = {}
    path = os.fsencode(name)
    if flag == DIRECTORY and not path.endswith(b"/"):
        path += b"/"
    prefix, short = _split(path)
    if short is None:
        records["path"] = path
        prefix, short = b"", _ascii(path)[:100]
    link = os.fsencode(target)
    if len(link) > 100 or not link.isascii():
        records["linkpath"] = link
        link = _ascii(link)[:100]
    for key, number, largest in (
        ("uid", uid, _MAX_ID),
        ("gid", gid, _MAX_ID),
        ("size", size, _MAX_SIZE),
        ("mtime", mtime, _MAX_SIZE),
    ):
        if not 0 <= number <= largest:
            records[key] = b"%d" % number
    for key, value in xattrs.items():
        records[f"SCHILY.xattr.{key}"] = value
    ustar = _ustar(
        short,
        prefix,
        flag,
        link,
        mode & 0o7777,
        0 if "uid" in records else uid,
        0 if "gid" in records else gid,
        0 if "size" in records else size,
        0 if "mtime" in records else mtime,
        device,
    )
    return _pax(records, short) + ustar if records else ustar


def _pax(records: dict[str, bytes], name: bytes) -> bytes:
    """An extended header block (POSIX pax, "pax Extended Header")."""
    body = b"".join(_record(key, records[key]) for key in sorted(records))
    if not all(_is_utf8(records[key]) for key in ("path", "linkpath") if key in records):
        body = _record("hdrcharset", b"BINARY") + body
    label = b"PaxHeaders/" + name.rstrip(b"/").rpartition(b"/")[2][:80]
    ustar = _ustar(label, b"", b"x", b"", 0o644, 0, 0, len(body), 0, (0, 0))
    return ustar + body + bytes(-len(body) % BLOCK)


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
