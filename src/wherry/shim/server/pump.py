"""Moving bytes from one descriptor to another, or into a log, on the event loop."""

import asyncio
import contextlib
import os
from collections.abc import Callable

CHUNK = 64 << 10
_MOST_AT_ONCE = 64
"""Chunks that `take_all` moves: more than any pipe holds."""


class Drain:
    """Reads `source`, which is non-blocking and becomes its own, into `sink` until its end.

    `ended` is called once: at the end of the source, or when the drain is closed.
    """

    def __init__(
        self, source: int, sink: Callable[[bytes], None], ended: Callable[[], None]
    ) -> None:
        self.source: int | None = source
        self._sink = sink
        self._ended = ended
        asyncio.get_running_loop().add_reader(source, self._readable)

    def take_all(self) -> None:
        """Take what there is now."""
        for _ in range(_MOST_AT_ONCE):
            if self.source is None or not self._readable():
                return

    def close(self) -> None:
        """Read no more. May be repeated."""
        if self.source is not None:
            asyncio.get_running_loop().remove_reader(self.source)
            os.close(self.source)
            self.source = None
            self._ended()

    def _readable(self) -> bool:
        assert self.source is not None
        data = _take(self.source)
        if not data:
            if data is not None:
                self.close()
            return False
        self._sink(data)
        return True


class Pump:
    """Copies `source` to `target`, both non-blocking and its own, no faster than it is read."""

    def __init__(self, source: int, target: int) -> None:
        self.source: int | None = source
        self._target = target
        self._pending = b""
        asyncio.get_running_loop().add_reader(source, self._readable)

    def take_all(self) -> None:
        """Take what there is now, as far as the target takes it."""
        for _ in range(_MOST_AT_ONCE):
            if self.source is None or self._pending or not self._readable():
                return

    def close(self) -> None:
        """Copy no more. May be repeated."""
        if self.source is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.source)
        loop.remove_writer(self._target)
        os.close(self.source)
        os.close(self._target)
        self.source = None

    def _readable(self) -> bool:
        assert self.source is not None
        data = _take(self.source)
        if not data:
            if data is not None:
                self.close()
            return False
        self._write(data)
        return True

    def _write(self, data: bytes) -> None:
        written = 0
        with contextlib.suppress(BlockingIOError):
            try:
                written = os.write(self._target, data)
            except BrokenPipeError:
                written = len(data)
        loop = asyncio.get_running_loop()
        was_pending, self._pending = bool(self._pending), data[written:]
        if self._pending and not was_pending:
            assert self.source is not None
            loop.remove_reader(self.source)
            loop.add_writer(self._target, self._writable)
        elif was_pending and not self._pending:
            assert self.source is not None
            loop.remove_writer(self._target)
            loop.add_reader(self.source, self._readable)

    def _writable(self) -> None:
        self._write(self._pending)


def _take(source: int) -> bytes | None:
    """What can be read now: None if that is nothing, no bytes at the end."""
    try:
        return os.read(source, CHUNK)
    except BlockingIOError:
        return None
    except OSError:
        return b""  # EIO: the last process has closed the terminal.
