"""What COPY sees: a tree of files, whether a build context or a stage's root filesystem.

Paths are relative to the tree's root, without a leading slash; "" is the root itself. Links are
followed by `resolve` only, inside the tree only.
"""

import posixpath
from io import BufferedIOBase
from typing import Protocol

from wherry.build.errors import BuildError
from wherry.build.patterns import compile_pattern, is_wild
from wherry.images.tar import Entry, Kind

_MAX_LINKS = 40


class FileTree(Protocol):
    """A read-only tree of files."""

    def entry(self, path: str) -> Entry | None:
        """What is at `path`, links not followed; None if nothing is, or a link is on the way."""

    def names(self, path: str) -> list[str]:
        """The sorted names in the directory `path`."""

    def open(self, path: str) -> BufferedIOBase:
        """The content of the file at `path`."""

    def digest(self, path: str) -> bytes:
        """The SHA-256 of the content of the file at `path`."""


def join(folder: str, name: str) -> str:
    """The path of `name` in `folder`."""
    return f"{folder}/{name}" if folder else name


def parent(path: str) -> str:
    """The path of the directory that holds `path`."""
    return path.rpartition("/")[0]


def resolve(tree: FileTree, path: str) -> str:
    """Follow every link on the way of `path`, as if the tree were the whole world.

    The result need not exist; no part of it that exists is a link. Raises BuildError for a loop.
    """
    left = path.split("/")[::-1]
    done: list[str] = []
    links = 0
    while left:
        part = left.pop()
        if part == "..":
            del done[-1:]
        elif part not in ("", "."):
            entry = tree.entry("/".join([*done, part]))
            if entry is None or entry.kind is not Kind.SYMLINK:
                done.append(part)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise BuildError(f"{path!r}: the symbolic links lead in a circle")
            if entry.target.startswith("/"):
                done.clear()
            left.extend(entry.target.split("/")[::-1])
    return "/".join(done)


def find(tree: FileTree, pattern: str, *, deep: bool = False) -> list[str]:
    """The paths that `pattern` names, sorted; a plain path is returned if it exists.

    The last component may be a link; links before it are followed. With `deep`, a component `**`
    is any number of directories. Raises BuildError for a malformed pattern.
    """
    paths = [""]
    for part in posixpath.normpath(pattern).split("/"):
        if part in ("", "."):
            continue
        folders = [resolve(tree, path) for path in paths]
        if deep and part == "**":
            paths = [path for folder in dict.fromkeys(folders) for path in _below(tree, folder)]
        elif is_wild(part):
            matcher = compile_pattern(part)
            paths = [
                join(folder, name)
                for folder in folders
                if (found := tree.entry(folder)) and found.kind is Kind.DIRECTORY
                for name in tree.names(folder)
                if matcher.fullmatch(name)
            ]
        else:
            paths = [join(folder, part) for folder in folders]
    return [path for path in dict.fromkeys(paths) if tree.entry(path)]


def _below(tree: FileTree, folder: str) -> list[str]:
    """`folder` and all directories below it, sorted."""
    found, pending = [], [folder]
    while pending:
        path = pending.pop()
        entry = tree.entry(path)
        if entry is not None and entry.kind is Kind.DIRECTORY:
            found.append(path)
            pending += [join(path, name) for name in reversed(tree.names(path))]
    return found
