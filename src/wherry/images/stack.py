"""Unpacked layers on each other, as overlayfs shows them, without mounting anything."""

import os
import stat
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

from wherry.images.beneath import Root

_OPAQUE = frozenset({"trusted.overlay.opaque", "user.overlay.opaque"})
_MAX_LINKS = 40
"""Symbolic links on the way to one file: the kernel's bound."""


class Shown(NamedTuple):
    """What is at a path, and the layer that has it. No part of `path` is a symbolic link."""

    layer: Root
    path: str
    status: os.stat_result


class Stack:
    """Layers, topmost first, that nobody changes. A context manager, which has them open."""

    def __init__(self, layers: Sequence[Path]) -> None:
        self._paths = layers
        self._layers: tuple[Root, ...] = ()
        self._resources = ExitStack()
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
        way = [("", (above, *self._layers))]
        pending = deque(path.split("/"))
        followed = 0
        while True:
            name = pending.popleft()
            if name in ("", "."):
                continue
            if name == "..":
                way = way[:-1] or way
                continue
            shown, within = self._look(*way[-1], name)
            if shown is None or not pending:
                return shown
            if stat.S_ISDIR(shown.status.st_mode):
                way.append((shown.path, within))
            elif stat.S_ISLNK(shown.status.st_mode) and followed < _MAX_LINKS:
                followed += 1
                target = os.readlink(shown.path, dir_fd=shown.layer.fd)
                way = way[:1] if target.startswith("/") else way
                pending.extendleft(reversed(target.split("/")))
            else:
                return None

    def _look(
        self, folder: str, layers: Sequence[Root], name: str
    ) -> tuple[Shown | None, tuple[Root, ...]]:
        """What is at `name` in a folder that `layers` show something in; if it is a folder as
        well, which of them show something in that.
        """
        path = f"{folder}/{name}" if folder else name
        shown: Shown | None = None
        within: list[Root] = []
        for layer in layers:
            self.looks += 1
            try:
                status = os.stat(path, dir_fd=layer.fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if is_whiteout(status):
                break
            if shown is None:
                shown = Shown(layer, path, status)
            elif not stat.S_ISDIR(status.st_mode):
                break
            within.append(layer)
            if not stat.S_ISDIR(status.st_mode) or _hides(layer, path):
                break
        return shown, tuple(within)


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
