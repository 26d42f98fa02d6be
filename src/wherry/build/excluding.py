"""COPY --exclude: a tree of files without those that patterns name."""

import posixpath
from collections.abc import Sequence
from io import BufferedIOBase

from wherry.build.files import FileTree, join, parent
from wherry.build.patterns import IgnoreRules
from wherry.images.tar import Entry, Kind


def without_excluded(
    tree: FileTree, source: str, name: str, patterns: Sequence[str]
) -> FileTree | None:
    """`tree` without what `patterns` exclude; None if that is `source` itself.

    Patterns are those of a .dockerignore file. They are about paths below the directory `source`,
    or about the last part of `name`, what a file is called. Raises BuildError for a malformed one.
    """
    if not patterns:
        return tree
    rules = IgnoreRules("\n".join(patterns))
    entry = tree.entry(source)
    if entry is not None and entry.kind is Kind.DIRECTORY:
        return _Without(tree, source, rules)
    state = rules.child(rules.root, posixpath.basename(name))
    return None if rules.excluded(state) else tree


class _Without:
    """The tree; a directory that is excluded stays if something in it does not have to go."""

    def __init__(self, tree: FileTree, top: str, rules: IgnoreRules) -> None:
        self._tree = tree
        self._top = top
        self._rules = rules
        self._states: dict[str, IgnoreRules.State] = {top: rules.root}

    def entry(self, path: str) -> Entry | None:
        """What is at `path`."""
        return self._tree.entry(path)

    def names(self, path: str) -> list[str]:
        """What is left in the directory `path`."""
        names = self._tree.names(path)
        if path != self._top and not path.startswith(f"{self._top}/" if self._top else ""):
            return names
        return [name for name in names if self._stays(join(path, name))]

    def open(self, path: str) -> BufferedIOBase:
        """The content of the file at `path`."""
        return self._tree.open(path)

    def digest(self, path: str) -> bytes:
        """The SHA-256 of the content of the file at `path`."""
        return self._tree.digest(path)

    def _stays(self, path: str) -> bool:
        if not self._rules.excluded(self._state(path)):
            return True
        entry = self._tree.entry(path)
        directory = entry is not None and entry.kind is Kind.DIRECTORY
        return directory and bool(self.names(path))

    def _state(self, path: str) -> IgnoreRules.State:
        known = self._states.get(path)
        if known is None:
            below = path[len(self._top) :].lstrip("/")
            known = self._states[path] = self._rules.child(self._state(parent(path)), below)
        return known
