"""Tar archives as trees of files: the build context, and what ADD unpacks.

The archive is kept as it came; of its entries only where their content begins is remembered.
"""

import hashlib
from io import BufferedIOBase

import msgspec
from msgspec.structs import replace

from wherry.build.compressed import BLOCK
from wherry.build.errors import BuildError
from wherry.build.files import join, parent
from wherry.build.patterns import IgnoreRules
from wherry.build.spool import Spool
from wherry.images.tar import Entry, InvalidTar, Kind, TarReader

_CHUNK = 1 << 18
_ZEROS = bytes(_CHUNK)
_MAX_ENTRIES = 1_000_000
_MAX_DEPTH = 256
"""Folders in folders, as in layers: each of them has a path of its own to be remembered."""
_KEPT = frozenset({Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK, Kind.HARDLINK})


class _Member(msgspec.Struct, frozen=True):
    entry: Entry
    offset: int = 0


class ArchiveTree:
    """The files of a tar archive. Devices and pipes in it are passed over."""

    def __init__(self, spool: Spool, *, own: bool) -> None:
        """Read the headers of the archive in `spool`.

        With `own`, files belong to root, whoever packed them. Raises BuildError.
        """
        self._spool = spool
        self._own = own
        self._members: dict[str, _Member] = {}
        self._children: dict[str, set[str]] = {"": set()}
        self._digests: dict[int, bytes] = {}
        self._make_directory("")
        try:
            self._read()
        except InvalidTar as error:
            raise BuildError(f"the archive cannot be read: {error}") from None

    def entry(self, path: str) -> Entry | None:
        """What is at `path`, links not followed."""
        member = self._members.get(path)
        return member.entry if member else None

    def names(self, path: str) -> list[str]:
        """The sorted names in the directory `path`."""
        return sorted(self._children.get(path, ()))

    def open(self, path: str) -> BufferedIOBase:
        """The content of the file at `path`."""
        member = self._members[path]
        return self._spool.open(member.offset, member.entry.size)

    def digest(self, path: str) -> bytes:
        """The SHA-256 of the content of the file at `path`; computed once."""
        offset = self._members[path].offset
        known = self._digests.get(offset)
        if known is None:
            with self.open(path) as file:
                known = self._digests[offset] = hashlib.file_digest(file, "sha256").digest()
        return known

    def ignore(self, rules: IgnoreRules) -> None:
        """Drop what `rules` exclude. A directory stays if something in it does."""
        pending = [("", rules.root)]
        excluded: list[str] = []
        while pending:
            folder, above = pending.pop()
            for name in self._children.get(folder, ()):
                path = join(folder, name)
                state = rules.child(above, path)
                if rules.excluded(state):
                    excluded.append(path)
                if path in self._children:
                    pending.append((path, state))
        for path in sorted(excluded, key=len, reverse=True):
            if not self._children.get(path):
                self._remove(path)

    def _read(self) -> None:
        source = _Headers(self._spool)
        for entry in TarReader(source):
            start = source.position
            source.pass_over(entry.size)
            if entry.kind not in _KEPT:
                continue
            path = _inside(entry.name)
            if entry.kind is Kind.HARDLINK:
                target = self._members.get(_inside(entry.target))
                if target is None or target.entry.kind is not Kind.FILE:
                    raise BuildError(f"the archive's hard link {path!r} leads to no file in it")
                self._put(path, _Member(replace(target.entry, name=path), target.offset))
                continue
            if entry.extents is not None:
                raise BuildError(f"{path!r} is stored as a sparse file: pack without --sparse")
            owner = (0, 0) if self._own else (entry.uid, entry.gid)
            xattrs = {} if self._own else entry.xattrs
            kept = replace(entry, name=path, uid=owner[0], gid=owner[1], xattrs=xattrs)
            self._put(path, _Member(kept, start))

    def _put(self, path: str, member: _Member) -> None:
        if len(self._members) >= _MAX_ENTRIES:
            raise BuildError(f"the archive has more than {_MAX_ENTRIES} entries")
        directory = member.entry.kind is Kind.DIRECTORY
        if not path:
            if directory:
                self._members[""] = member
            return
        self._make_directory(parent(path))
        if not directory:
            self._remove(path)
        self._members[path] = member
        self._children[parent(path)].add(path.rpartition("/")[2])
        if directory:
            self._children.setdefault(path, set())

    def _make_directory(self, path: str) -> None:
        """Make sure that `path` and all above it are directories, as an unpacker would."""
        missing: list[str] = []
        while path not in self._children:
            missing.append(path)
            path = parent(path)
        if "" not in self._members:
            self._members[""] = _Member(Entry("", Kind.DIRECTORY, 0o755))
        for name in reversed(missing):
            self._put(name, _Member(Entry(name, Kind.DIRECTORY, 0o755)))

    def _remove(self, path: str) -> None:
        pending = [path]
        while pending:
            below = pending.pop()
            self._members.pop(below, None)
            pending.extend(join(below, name) for name in self._children.pop(below, ()))
        self._children[parent(path)].discard(path.rpartition("/")[2])


class _Headers:
    """An archive for who only wants its headers: what lies between them is not read.

    Hands out one block a call, so that the reader never reads ahead of the header it wants.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._source = spool.open()
        self._ahead = 0
        self.position = 0

    def pass_over(self, size: int) -> None:
        """The next `size` bytes, and the padding after them, are content."""
        self._ahead = size + -size % BLOCK

    def read(self, size: int) -> bytes:
        """The next bytes; zeros stand for content."""
        if self._ahead:
            count = min(size, self._ahead, _CHUNK, self._spool.size - self.position)
            self._ahead -= count
            self.position += count
            if not self._ahead:
                self._source.seek(self.position)
            return _ZEROS[:count]
        data = self._source.read(min(size, BLOCK))
        self.position += len(data)
        return data


def _inside(name: str) -> str:
    """The path of an entry below the root. Raises BuildError for one that climbs out."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BuildError(f"the archive's {name!r} climbs out of it: pack it again without '..'")
    if len(parts) > _MAX_DEPTH:
        raise BuildError(
            f"the archive's '{name[:80]}…' is nested more than {_MAX_DEPTH} folders deep"
        )
    return "/".join(parts)
