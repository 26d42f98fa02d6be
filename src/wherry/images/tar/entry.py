"""One member of a tar archive."""

from enum import Enum

import msgspec


class Kind(Enum):
    """What a member is; the value is the type flag that is written for it."""

    FILE = b"0"
    HARDLINK = b"1"
    SYMLINK = b"2"
    CHARACTER = b"3"
    BLOCK = b"4"
    DIRECTORY = b"5"
    FIFO = b"6"


class Entry(msgspec.Struct):
    """A member's header. Text holds undecodable bytes as surrogates, as `os.fsencode` does.

    `size` is the length of the file, in bytes, holes included; `mtime` is in nanoseconds since
    the epoch. `target` is where a link points. `extents` are the (offset, length) of a sparse
    file's data, None when all of it is there.
    """

    name: str
    kind: Kind = Kind.FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    target: str = ""
    major: int = 0
    minor: int = 0
    xattrs: dict[str, bytes] = {}
    extents: list[tuple[int, int]] | None = None
