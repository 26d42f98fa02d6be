"""The folders of `RUN --mount=type=cache`: kept from build to build, outside of every image.

`root/KEY/N` are the folders of a cache: one, and further ones where several builds want a private
one at the same time. Who uses a folder holds a lock on it; `root/KEY/id` says what people call the
cache, and its time is when it was last used.
"""

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from wherry.build.errors import BuildError
from wherry.disk import allocated
from wherry.images.beneath import remove_tree
from wherry.locks import is_locked, try_lock

_KEY_LENGTH = 32
_ID = "id"
_CONTENT = "fs"
_NEW = "new"
_filling = threading.Lock()
"""Held while a new folder gets its first content: it may be locked by several builds at once."""


class CacheFolder(msgspec.Struct, frozen=True):
    """What a cache has come to: its bytes on disk, and when it was used, in nanoseconds."""

    id: str
    key: str
    size: int
    last_used: int
    in_use: bool


class CacheMounts:
    """All caches below `root`. May be shared by threads and processes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def use(
        self,
        id: str,
        origin: object,
        sharing: str,
        make: Callable[[Path], None],
        waiting: Callable[[], None],
    ) -> Iterator[Path]:
        """A folder of the cache `id`, whose first content is that of `origin`.

        `make` fills a new one. With `sharing` "locked" this waits until nobody else uses it, and
        calls `waiting` again and again meanwhile: what that raises ends the wait.
        """
        place = self._root / cache_name(id, origin)
        number = 0
        while True:
            folder = place / str(number)
            lock = _open(folder)
            try:
                if not _lock(lock, sharing, waiting):
                    number += 1
                    continue
                # Whoever removes caches does so under the lock: it may be gone by now.
                if not _is_open_as(lock, folder):
                    continue
                with _filling:
                    _fill(folder, make)
                (place / _ID).write_text(id)
                yield folder / _CONTENT
                return
            finally:
                os.close(lock)

    def folders(self) -> list[CacheFolder]:
        """All that are there, with what they take."""
        return [_look(place) for place in self._places()]

    def remove(self, key: str) -> bool:
        """Remove a cache unless somebody uses it; whether it went."""
        place = self._root / key
        with ExitStack() as locks:
            for folder in _folders(place):
                lock = _open(folder)
                locks.callback(os.close, lock)
                if not try_lock(lock):
                    return False
            _remove(place)
        return True

    def _places(self) -> list[Path]:
        return sorted(self._root.iterdir()) if self._root.is_dir() else []


def cache_name(id: str, origin: object) -> str:
    """The key of a cache: `id` is what people call it, `origin` what it began with."""
    return hashlib.sha256(repr((id, origin)).encode()).hexdigest()[:_KEY_LENGTH]


def _open(folder: Path) -> int:
    while True:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # It was removed in between.


def _lock(lock: int, sharing: str, waiting: Callable[[], None]) -> bool:
    """Lock a folder; False if it is in use and another one is to be had instead."""
    kind = fcntl.LOCK_SH if sharing == "shared" else fcntl.LOCK_EX
    while not try_lock(lock, kind):
        if sharing == "private":
            return False
        waiting()
    return True


def _is_open_as(lock: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), os.stat(folder))
    except FileNotFoundError:
        return False


def _fill(folder: Path, make: Callable[[Path], None]) -> None:
    """Make the content beside its place, so that what is half made is never taken for it."""
    content, new = folder / _CONTENT, folder / _NEW
    if content.exists():
        return
    try:
        _remove(new)
        new.mkdir()
        make(new)
        new.rename(content)
    except OSError as error:
        raise BuildError(f"a cache cannot be made: {error.strerror or error}") from None


def _folders(place: Path) -> list[Path]:
    return [each for each in place.iterdir() if each.name.isdigit()] if place.is_dir() else []


def _look(place: Path) -> CacheFolder:
    try:
        status = (place / _ID).stat()
        id = (place / _ID).read_text()
    except OSError:
        status, id = None, ""
    folders = _folders(place)
    return CacheFolder(
        id=id,
        key=place.name,
        size=allocated(place),
        last_used=status.st_mtime_ns if status else 0,
        in_use=any(map(is_locked, folders)),
    )


def _remove(path: Path) -> None:
    if path.exists():
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_tree(path.name, parent)
        finally:
            os.close(parent)
