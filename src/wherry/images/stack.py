"""Unpacked layers on each other, as overlayfs shows them, without mounting anything."""

import os
import stat
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

from wherry.images.beneath import Root

_OPAQUE = frozenset({"trusted.overlay.opaque", "user.overlay.opaque"})
_MAX_LINKS = 40
"""Symbolic links on the way to one file: the kernel's bound."""
_MAX_KNOWN = 10_000


class Shown(NamedTuple):
    """What is at a path, and the layer that has it. No part of `path` is a symbolic link."""

    layer: Root
    path: str
    status: os.stat_result


class _Folder(NamedTuple):
    """A folder on the way: which of the layers show something in it."""

    path: str
    above: bool
    below: tuple[Root, ...]


class Stack:
    """Layers, topmost first, that nobody changes. A context manager, which has them open."""

    def __init__(self, layers: Sequence[Path], left_out: Collection[str] = ()) -> None:
        """`left_out` are paths of device nodes that could not be made."""
        self._paths = layers
        self.left_out = left_out
        self._layers: tuple[Root, ...] = ()
        self._resources = ExitStack()
        self._folders: dict[str, tuple[Shown, tuple[Root, ...]]] = {}
        """What is known of folders: hard links often lead to one folder, through one way."""
        self.looks = 0
        """How often a layer was asked what it has at a path: what all of it has cost."""

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self._layers = tuple(opening.enter_context(Root(path)) for path in self._paths)
            self._resources = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def find(self, path: str, above: Root) -> Shown | None:
        """What is at `path` (clean, not the root) when `above` lies upon the layers.

        Symbolic links on the way are followed beneath the root, a last one is not. Raises OSError.
        """
        way = [_Folder("", True, self._layers)]
        pending = deque(path.split("/"))
        followed = 0
        while True:
            name = pending.popleft()
            if name in ("", "."):
                continue
            if name == "..":
                way = way[:-1] or way
                continue
            shown, folder = self._look(way[-1], name, above)
            if shown is None or not pending:
                return shown
            if stat.S_ISDIR(shown.status.st_mode):
                way.append(folder)
            elif stat.S_ISLNK(shown.status.st_mode) and followed < _MAX_LINKS:
                followed += 1
                target = os.readlink(shown.path, dir_fd=shown.layer.fd)
                way = way[:1] if target.startswith("/") else way
                pending.extendleft(reversed(target.split("/")))
            else:
                return None

    def folders(self, path: str) -> Iterator[Shown]:
        """The folders that `path`, as `find` gave it, is in, outermost first, without what lies
        upon the layers.
        """
        within = self._layers
        for end in (at for at, letter in enumerate(path) if letter == "/"):
            shown, within = self._below(path[:end], within)
            if shown is None:
                return
            yield shown

    def _look(self, folder: _Folder, name: str, above: Root) -> tuple[Shown | None, _Folder]:
        """What is at `name` in a folder; if it is a folder as well, that."""
        path = f"{folder.path}/{name}" if folder.path else name
        status = self._ask(above, path) if folder.above else None
        if status is None:
            shown, within = self._below(path, folder.below)
            return shown, _Folder(path, False, within)
        if is_whiteout(status):
            return None, _Folder(path, False, ())
        within = ()
        if stat.S_ISDIR(status.st_mode) and not _hides(above, path):
            shown, within = self._below(path, folder.below)
            if shown is None or not stat.S_ISDIR(shown.status.st_mode):
                within = ()
        return Shown(above, path, status), _Folder(path, True, within)

    def _below(self, path: str, layers: tuple[Root, ...]) -> tuple[Shown | None, tuple[Root, ...]]:
        """What `layers`, which show something in the folder it is in, have at `path`; if it is a
        folder, which of them show something in that.
        """
        if not layers:
            return None, ()
        known = self._folders.get(path)
        if known is not None:
            return known
        shown: Shown | None = None
        within: list[Root] = []
        for layer in layers:
            status = self._ask(layer, path)
            if status is None:
                continue
            folder = stat.S_ISDIR(status.st_mode)
            if is_whiteout(status) or (shown is not None and not folder):
                break
            shown = shown or Shown(layer, path, status)
            within.append(layer)
            if not folder or _hides(layer, path):
                break
        found = shown, tuple(within)
        if shown is not None and stat.S_ISDIR(shown.status.st_mode):
            if len(self._folders) >= _MAX_KNOWN:
                self._folders.clear()
            self._folders[path] = shown, tuple(within)
        return found

    def _ask(self, layer: Root, path: str) -> os.stat_result | None:
        self.looks += 1
        try:
            return os.stat(path, dir_fd=layer.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None


def _hides(layer: Root, path: str) -> bool:
    """As `is_opaque`, where no part of the path is a link: without opening every folder."""
    names = os.listxattr(f"/proc/self/fd/{layer.fd}/{path}", follow_symlinks=False)
    return not _OPAQUE.isdisjoint(names)


def is_whiteout(status: os.stat_result) -> bool:
    """Whether this is overlay's mark that a name is deleted."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(root: Root, path: str) -> bool:
    """Whether the folder `path` ("" is the top) hides what is below it."""
    place = f"/proc/self/fd/{root.folder(path)}"
    for name in _OPAQUE:
        try:
            if os.getxattr(place, name) == b"y":
                return True
        except OSError:
            continue
    return False
