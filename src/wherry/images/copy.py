"""Tars out of and into a container's files, for `cp`, `export` and filling volumes.

`root` is the container's root filesystem as the caller sees it. A path is one inside it: links
and `..` are followed, and never lead out.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from wherry.images.beneath import Root, clean
from wherry.images.compression import Source, decompressed
from wherry.images.errors import ImageError, InvalidLayer, storage_errors
from wherry.images.tar import Entry, InvalidTar, Kind, TarReader, TarWriter
from wherry.images.tar.writer import Output
from wherry.images.tree import TreeWriter
from wherry.images.walk import open_file, walk

_CHUNK = 1 << 20
_UNREADABLE = (Kind.CHARACTER, Kind.BLOCK)


class NoSuchPath(ImageError):
    """Nothing is at the path."""


class WrongKind(ImageError):
    """A folder is where a file was expected, or the other way round."""


class PathInfo(msgspec.Struct, frozen=True):
    """What is at a path, a last link not followed. `mode` is the kernel's st_mode, `size` in
    bytes, `mtime` in nanoseconds since the epoch; `target` is a link's, resolved inside the root.
    """

    name: str
    size: int
    mode: int
    mtime: int
    target: str = ""


def stat_path(root: Path, path: str) -> PathInfo:
    """What is at `path`. Raises NoSuchPath."""
    with storage_errors(f"look at {path}"), Root(root) as inside:
        place = _place(inside, path)
        folder, _, name = place.rpartition("/")
        status = os.stat(name or ".", dir_fd=inside.folder(folder), follow_symlinks=False)
        target = ""
        if stat.S_ISLNK(status.st_mode):
            link = os.readlink(name, dir_fd=inside.folder(folder))
            target = os.path.normpath(os.path.join("/", folder, link))
        return PathInfo(name or "/", status.st_size, status.st_mode, status.st_mtime_ns, target)


def read_tree(root: Path, path: str, out: Output, *, name: str | None = None) -> None:
    """Write what is at `path` to `out` as a tar; its entries begin with the path's last part.

    `name` replaces that beginning; with "" the entries are relative to the folder `path`. A last
    link is followed only if `path` ends in a slash. Raises NoSuchPath, ImageError.
    """
    with storage_errors(f"read {path}"), Root(root) as inside:
        place = _place(inside, path)
        base = name if name is not None else place.rpartition("/")[2] or "/"
        tar = TarWriter(out)
        for entry in _entries(inside, place):
            source = entry.name
            entry.name = _rebased(source, place, base)
            if entry.kind is Kind.HARDLINK:
                entry.target = _rebased(entry.target, place, base)
            if not entry.name:
                continue
            tar.add(entry)
            if entry.kind is Kind.FILE:
                _content(inside, source, entry, tar)
        tar.finish()


def write_tree(
    root: Path,
    path: str,
    source: Source,
    *,
    keep_kinds: bool = False,
    owner: tuple[int, int] | None = None,
) -> None:
    """Unpack a tar, compressed or not, into the folder `path`, which must be there.

    With `keep_kinds` a folder is not replaced by anything else, nor anything else by a folder.
    `owner` overrules the uid and gid of all entries. Device nodes are left out. Raises
    NoSuchPath, WrongKind, InvalidLayer, ImageError; what came before the fault stays.
    """
    with storage_errors(f"write {path}"):
        with Root(root) as inside:
            into = _place(inside, f"{path}/")
        try:
            with TreeWriter(root) as tree:
                reader = TarReader(decompressed(source))
                for entry in reader:
                    if owner:
                        entry.uid, entry.gid = owner
                    _write_entry(tree, into, entry, reader, keep_kinds)
        except (InvalidTar, ValueError) as error:
            raise InvalidLayer(f"cannot unpack into {path}: {error}") from None


def copy_tree(root: Path, path: str, target: Path) -> None:
    """Copy what is in the folder `path` into the folder `target`, owners, modes and times too.

    Raises NoSuchPath, ImageError.
    """
    with storage_errors(f"copy {path}"), Root(root) as inside, TreeWriter(target) as tree:
        place = _place(inside, f"{path}/")
        for entry in _entries(inside, place):
            relative = _rebased(entry.name, place, "")
            if entry.kind is Kind.HARDLINK:
                tree.hardlink(relative, _rebased(entry.target, place, ""))
            elif entry.kind is Kind.FILE:
                with open_file(inside, entry.name) as file:
                    tree.add(relative, entry, file.read)
            else:
                tree.add(relative, entry, lambda _: b"")


def _entries(root: Root, place: str) -> Iterator[Entry]:
    return (entry for entry in walk(root, place) if entry.kind not in _UNREADABLE)


def _write_entry(
    tree: TreeWriter, into: str, entry: Entry, reader: TarReader, keep_kinds: bool
) -> None:
    if entry.kind in _UNREADABLE:
        return
    path = "/".join(part for part in (into, clean(entry.name)) if part)
    if not clean(entry.name) and entry.kind is not Kind.DIRECTORY:
        raise InvalidLayer(f"entry {entry.name!r} is the root, but no folder")
    there = tree.exists(path)
    if keep_kinds and there:
        is_folder = stat.S_ISDIR(there.st_mode)
        if is_folder != (entry.kind is Kind.DIRECTORY):
            what = "a folder" if is_folder else "no folder"
            raise WrongKind(f"cannot replace /{path}, which is {what}")
    if entry.kind is Kind.HARDLINK:
        target = "/".join(part for part in (into, clean(entry.target)) if part)
        tree.hardlink(path, target)
    else:
        tree.add(path, entry, reader.read)


def _content(root: Root, path: str, entry: Entry, tar: TarWriter) -> None:
    """Exactly as many bytes as the header said: a file may grow or shrink while it is read."""
    left = entry.size
    with open_file(root, path) as file:
        while left and (data := file.read(min(_CHUNK, left))):
            tar.write(data)
            left -= len(data)
    while left:
        step = min(_CHUNK, left)
        tar.write(bytes(step))
        left -= step


def _place(root: Root, path: str) -> str:
    """`path` with all links resolved but a last one that no slash follows. Raises NoSuchPath."""
    lexical = os.path.normpath(f"/{path}").strip("/")
    folder, _, name = lexical.rpartition("/")
    follow = path.endswith(("/", "/.")) or not name
    wanted = lexical if follow else folder
    try:
        fd = root.open(wanted, os.O_PATH | os.O_DIRECTORY)
        try:
            resolved = _beneath(root, fd)
        finally:
            os.close(fd)
        place = resolved if follow else f"{resolved}/{name}".lstrip("/")
        if not follow:
            os.stat(name, dir_fd=root.folder(resolved), follow_symlinks=False)
    except FileNotFoundError:
        raise NoSuchPath(f"no such path in the container: {path}") from None
    except NotADirectoryError:
        raise WrongKind(f"{path}: a part of it, or all, is no folder") from None
    return place


def _beneath(root: Root, fd: int) -> str:
    """The path of an open folder beneath the root, as the kernel knows both."""
    top = os.readlink(f"/proc/self/fd/{root.fd}").rstrip("/")
    return os.readlink(f"/proc/self/fd/{fd}").removeprefix(top).strip("/")


def _rebased(path: str, place: str, base: str) -> str:
    rest = path[len(place) :].lstrip("/")
    if base == "/":
        return f"/{rest}"
    return "/".join(part for part in (base, rest) if part)
