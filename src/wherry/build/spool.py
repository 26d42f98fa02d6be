"""Bytes that arrive once and are read many times: in memory while they are few, then on disk."""

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

from wherry.build.errors import BuildError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_SPOOL = 64 << 30
"""Bytes of a build context, decompressed."""
_IN_MEMORY = 4 << 20


class Spool:
    """Takes bytes through `write`; any part of them can then be opened again, by any thread.

    What does not fit in memory goes to a nameless file in `folder`, gone when the process is.
    """

    def __init__(
        self, folder: Path, limit: int = MAX_SPOOL, content: str = "the build context"
    ) -> None:
        """`content` says in errors what is kept."""
        self._folder = folder
        self._limit = limit
        self._content = content
        self._memory = bytearray()
        self._fd = -1
        self.size = 0

    def write(self, data: bytes) -> int:
        """Append `data`. Raises BuildError when there is no room."""
        self.size += len(data)
        if self.size > self._limit:
            raise BuildError(f"{self._content} is larger than {self._limit >> 20} MiB")
        try:
            if self._fd < 0 and self.size > _IN_MEMORY:
                self._to_disk()
            if self._fd < 0:
                self._memory += data
            else:
                _write_all(self._fd, data)
        except OSError as error:
            raise BuildError(f"cannot keep {self._content}: {error.strerror}") from None
        return len(data)

    def open(self, offset: int = 0, size: int | None = None) -> io.BufferedIOBase:
        """The bytes from `offset` on, `size` of them or all."""
        end = self.size if size is None else min(self.size, offset + size)
        if self._fd < 0:
            return io.BytesIO(memoryview(self._memory)[offset:end])
        return io.BufferedReader(_Part(self._fd, offset, end))

    def close(self) -> None:
        """Give everything back; nothing that was opened may be read any more."""
        self._memory = bytearray()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _to_disk(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC
        self._fd = os.open(self._folder, flags, 0o600)
        _write_all(self._fd, self._memory)
        self._memory = bytearray()


class _Part(io.RawIOBase):
    """Part of a file, with a position of its own."""

    def __init__(self, fd: int, offset: int, end: int) -> None:
        self._fd = fd
        self._start = offset
        self._at = offset
        self._end = end

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: self._start, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        self._at = max(self._start, origin + offset)
        return self._at - self._start

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)[: max(0, self._end - self._at)]
        count = os.preadv(self._fd, [view], self._at) if view else 0
        self._at += count
        return count


def _write_all(fd: int, data: "bytes | bytearray") -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
