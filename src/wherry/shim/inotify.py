"""One inotify instance for all watched files of an event loop (a user may have only 128).

It stays open while the loop lives: closing one makes the kernel wait for a grace period, 5 ms.
"""

import asyncio
import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

_IN_ACCESS = 0x1
_IN_MODIFY = 0x2
_EVENT = struct.Struct("iIII")

_libc = ctypes.CDLL(None, use_errno=True)
_instances: WeakKeyDictionary[asyncio.AbstractEventLoop, "_Instance"] = WeakKeyDictionary()


@contextmanager
def watch(path: str, *, reads: bool = False) -> Iterator[asyncio.Event]:
    """An event that is set whenever `path` is written or truncated, or with `reads` read instead.

    A file is watched for one or for the other. Raises OSError.
    """
    loop = asyncio.get_running_loop()
    instance = _instances.get(loop)
    if instance is None:
        instance = _instances[loop] = _Instance(loop)
    changes = asyncio.Event()
    wd = instance.add(path, _IN_ACCESS if reads else _IN_MODIFY, changes)
    try:
        yield changes
    finally:
        instance.remove(wd, changes)


class _Instance:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._fd = _check(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")
        self.watched: dict[int, set[asyncio.Event]] = {}
        loop.add_reader(self._fd, self._read)

    def add(self, path: str, kind: int, changes: asyncio.Event) -> int:
        name = os.fsencode(path)
        wd = _check(_libc.inotify_add_watch(self._fd, name, kind), "inotify_add_watch")
        self.watched.setdefault(wd, set()).add(changes)
        return wd

    def remove(self, wd: int, changes: asyncio.Event) -> None:
        watchers = self.watched[wd]
        watchers.discard(changes)
        if not watchers:
            del self.watched[wd]
            # Fails when the kernel has dropped the watch with the file: nothing is left to do.
            _libc.inotify_rm_watch(self._fd, wd)

    def __del__(self) -> None:
        os.close(self._fd)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 64 << 10)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            wd, mask, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size + length
            if wd == -1:
                # The queue overflowed: anything may have changed.
                for events in self.watched.values():
                    _set(events)
            elif mask & (_IN_ACCESS | _IN_MODIFY):
                _set(self.watched.get(wd, set()))


def _set(events: set[asyncio.Event]) -> None:
    for event in events:
        event.set()


def _check(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result
