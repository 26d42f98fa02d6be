"""What a layer will hold, before it is written.

A `LayerPlan` collects entries without reading any content. As with BuildKit, a directory's content
is copied rather than the directory, what is missing above is made, and a directory copied onto a
link to a directory goes through it.
"""

import hashlib
from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from wherry.build.errors import BuildError
from wherry.build.files import FileTree, join, parent, resolve
from wherry.images.tar import Entry, Kind

_COPIED = frozenset({Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK})


class Addition(msgspec.Struct, frozen=True):
    """An entry for the layer; a file's content is `data`, or that of `path` in `tree`."""

    entry: Entry
    tree: FileTree | None = None
    path: str = ""
    data: bytes = b""

    def content_digest(self) -> bytes:
        """The SHA-256 of the file's content."""
        if self.tree is None:
            return hashlib.sha256(self.data).digest()
        return self.tree.digest(self.path)


class Override(msgspec.Struct, frozen=True):
    """What the instruction says of owner and mode; None keeps the file's own.

    `mtime` is in nanoseconds: the time of everything when given, else files keep theirs and
    directories made on the way get `now`.
    """

    owner: tuple[int, int] | None
    mode: int | None
    mtime: int | None
    now: int

    def apply(self, entry: Entry, name: str) -> Entry:
        """`entry` as it is to be in the layer, under `name`."""
        uid, gid = self.owner or (entry.uid, entry.gid)
        mode = entry.mode
        if self.mode is not None and entry.kind is not Kind.SYMLINK:
            mode = self.mode
        mtime = entry.mtime if self.mtime is None else self.mtime
        return replace(entry, name=name, uid=uid, gid=gid, mode=mode, mtime=mtime, extents=None)

    def directory(self, name: str) -> Entry:
        """A directory made because something is to lie in it."""
        uid, gid = self.owner or (0, 0)
        mtime = self.now if self.mtime is None else self.mtime
        return Entry(name, Kind.DIRECTORY, 0o755, uid, gid, mtime=mtime)


class LayerPlan:
    """The entries of a layer that is to lie upon `root`."""

    def __init__(self, root: FileTree) -> None:
        self._root = root
        self._additions: dict[str, Addition] = {}

    def __iter__(self) -> Iterator[Addition]:
        """The additions, directories before what is in them."""
        return iter(sorted(self._additions.values(), key=lambda one: one.entry.name.split("/")))

    def __bool__(self) -> bool:
        return bool(self._additions)

    def digest(self) -> str:
        """What the layer will be, times left out: equal plans have equal digests (hex)."""
        total = hashlib.sha256()
        for addition in self:
            entry = addition.entry
            content = addition.content_digest() if entry.kind is Kind.FILE else b""
            fields = (entry.name, entry.kind.name, entry.mode, entry.uid, entry.gid, entry.target)
            xattrs = sorted(entry.xattrs.items())
            total.update(repr((fields, xattrs, content)).encode("utf-8", "surrogateescape"))
        return total.hexdigest()

    def is_directory(self, path: str) -> bool:
        """Whether `path` (resolved) will be a directory, or is one already."""
        return not path or self._kind(path) is Kind.DIRECTORY

    def make_directory(self, path: str, override: Override) -> None:
        """Make `path` (resolved) and what is missing above it. Raises BuildError.

        What is there already is repeated as it is: whoever unpacks the layer by itself would
        otherwise have to invent its owner and mode.
        """
        wanted: list[str] = []
        while path and path not in self._additions:
            wanted.append(path)
            path = parent(path)
        if path and self._additions[path].entry.kind is not Kind.DIRECTORY:
            raise _not_a_directory(path)
        for name in reversed(wanted):
            there = self._root.entry(name)
            if there is not None and there.kind is not Kind.DIRECTORY:
                raise _not_a_directory(name)
            entry = replace(there, name=name) if there else override.directory(name)
            self._additions[name] = Addition(entry)

    def add_data(self, path: str, data: bytes, override: Override) -> None:
        """Put a file with content `data` at `path` (resolved). Raises BuildError."""
        entry = Entry(path, Kind.FILE, 0o644, size=len(data), mtime=override.now)
        self._add(Addition(override.apply(entry, path), data=data), override)

    def add_directory(self, tree: FileTree, source: str, path: str, override: Override) -> None:
        """Make `path` (resolved) a directory like `source`, without what is in it."""
        entry = tree.entry(source)
        if entry is not None and entry.kind is Kind.DIRECTORY:
            self._add(Addition(override.apply(entry, path), tree, source), override)

    def add(self, tree: FileTree, source: str, path: str, override: Override) -> None:
        """Copy the file or the directory's content at `source` in `tree` to `path` (resolved).

        The directory itself is made like any other, whatever `source` is like. Raises BuildError,
        also when there is something in the way.
        """
        entry = tree.entry(source)
        if entry is None or entry.kind not in _COPIED:
            raise BuildError(f"/{source} is neither a file nor a directory, it cannot be copied")
        if entry.kind is not Kind.DIRECTORY:
            self._add(Addition(override.apply(entry, path), tree, source), override)
            return
        self.make_directory(path, override)
        pending = [(source, path)]
        while pending:
            source, path = pending.pop()
            for name in tree.names(source):
                origin, place = join(source, name), join(path, name)
                below = tree.entry(origin)
                if below is None or below.kind not in _COPIED:
                    continue
                if below.kind is Kind.DIRECTORY:
                    place = self._through_link(place)
                    pending.append((origin, place))
                self._add(Addition(override.apply(below, place), tree, origin), override)

    def _through_link(self, path: str) -> str:
        """Where a directory to be copied to `path` goes if the stage has a link there."""
        if self._kind(path) is not Kind.SYMLINK or path in self._additions:
            return path
        target = resolve(self._root, path)
        return target if self.is_directory(target) else path

    def _add(self, addition: Addition, override: Override) -> None:
        path, kind = addition.entry.name, addition.entry.kind
        if not path:
            if kind is Kind.DIRECTORY:
                return
            raise BuildError("a file cannot take the place of the stage's root directory")
        self.make_directory(parent(path), override)
        there = self._kind(path)
        if (there is Kind.DIRECTORY) != (kind is Kind.DIRECTORY) and there is not None:
            names = ("a directory", "a file")
            old, new = names if there is Kind.DIRECTORY else names[::-1]
            raise BuildError(f"/{path} is {old} in the stage, {new} cannot take its place")
        self._additions[path] = addition

    def _kind(self, path: str) -> Kind | None:
        addition = self._additions.get(path)
        entry = addition.entry if addition else self._root.entry(path)
        return entry.kind if entry else None


def _not_a_directory(path: str) -> BuildError:
    return BuildError(f"/{path} is not a directory in the stage, nothing can lie in it")
