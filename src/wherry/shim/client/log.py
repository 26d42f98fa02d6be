"""A container's log: one file of records, written by the shim and read by the engine.

A record is a header of 16 bytes (big-endian: stream u8, ended u8, "wr", length u32, time u64 in
nanoseconds since the epoch), a payload of at most 64 KiB, and the length once more (u32),
so that the file can also be read backwards. There is one record for each chunk the shim read, so a
prompt without a newline arrives at once. `ended` has a bit for each stream of this run that has
ended (1 stdout, 2 stderr). An empty record of a stream tells that it ended; an empty one of `BEGIN`
that a run of the container begins. A torn last record is ignored by readers and cut off by the
next writer.
"""

import asyncio
import os
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

BEGIN = 0
STDOUT = 1
STDERR = 2
MESSAGE = 3
"""wherry's own words about the container, to be shown on stderr."""

MAX_PAYLOAD = 64 << 10
"""Bytes in one record."""

_HEADER = struct.Struct(">BB2sIQ")
_TRAILER = struct.Struct(">I")
_FRAME = _HEADER.size + _TRAILER.size
_READ = 4 * MAX_PAYLOAD
_MARK = b"wr"
_BOTH = STDOUT | STDERR


class Record(NamedTuple):
    """A chunk of output: `stream` is STDOUT, STDERR or MESSAGE, `time` nanoseconds since 1970."""

    stream: int
    time: int
    data: bytes


class LogWriter:
    """The one writer of a log, but for a `note` now and then.

    It never stops a container: what the disk refuses is dropped.

    The file is opened at the first write and may be let go between writes (`release`), so that
    thousands of quiet containers cost no descriptors.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = None
        self._is_whole = False
        self._ended = 0
        self._lost = 0

    def begin(self) -> None:
        """Say that a run of the container begins."""
        self._ended = 0
        self._append(self._record(BEGIN, time.time_ns()))

    def write(self, stream: int, data: bytes) -> None:
        """Append what was read from `stream`, in records of at most MAX_PAYLOAD bytes."""
        now = time.time_ns()
        for start in range(0, len(data), MAX_PAYLOAD):
            chunk = data[start : start + MAX_PAYLOAD]
            if not self._append(self._apology(now) + self._record(stream, now, chunk)):
                self._lost += len(chunk)
            else:
                self._lost = 0

    def end(self, stream: int) -> None:
        """Say that `stream` has ended."""
        now = time.time_ns()
        apology = self._apology(now)
        self._ended |= stream
        self._append(apology + self._record(stream, now))

    def release(self) -> None:
        """Close the file until the next write."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _record(self, stream: int, at: int, data: bytes = b"") -> bytes:
        length = len(data)
        return _HEADER.pack(stream, self._ended, _MARK, length, at) + data + _TRAILER.pack(length)

    def _apology(self, now: int) -> bytes:
        if not self._lost:
            return b""
        text = f"wherry: {self._lost} bytes of output were lost: the log could not be written\n"
        return self._record(MESSAGE, now, text.encode())

    def _append(self, records: bytes) -> bool:
        try:
            if self._fd is None:
                flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
                self._fd = os.open(self._path, flags, 0o640)
            if not self._is_whole:
                size = os.fstat(self._fd).st_size
                end = _end_of_records(self._fd, size)
                if end != size:
                    os.ftruncate(self._fd, end)
                self._is_whole = True
            written = os.write(self._fd, records)
            if written != len(records):
                # Whatever a `note` has put before it stays.
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
                return False
        except OSError:
            return False
        return True


def note(path: str | Path, text: str) -> None:
    """Append wherry's own words, of a few lines at most, to a log that somebody else writes.

    A log that cannot be written stays as it is.
    """
    data = text.encode(errors="replace")[:MAX_PAYLOAD]
    with suppress(OSError):
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            last = next(_backwards(file, os.fstat(file).st_size), None)
            # Which streams have ended is told by the latest record.
            header = (MESSAGE, last[1].ended if last else 0, _MARK, len(data), time.time_ns())
            os.write(file, _HEADER.pack(*header) + data + _TRAILER.pack(len(data)))
        finally:
            os.close(file)


class LogReader:
    """Reads a log that may still be written. A missing file is an empty log."""

    def __init__(self, path: str | Path) -> None:
        self._path = os.fspath(path)

    def records(
        self, *, since: int = 0, until: int | None = None, tail: int | None = None
    ) -> Iterator[Record]:
        """The output so far, oldest first.

        `since` and `until` are nanoseconds since the epoch, `tail` the number of lines to begin
        with, counted from the end.
        """
        if not os.path.exists(self._path):
            return
        with _opened(self._path) as fd:
            cursor = _Cursor(fd, tail)
            while batch := cursor.read():
                for record in batch:
                    if _within(record, since, until):
                        yield record

    async def follow(
        self,
        *,
        since: int = 0,
        until: int | None = None,
        tail: int | None = None,
        stop: asyncio.Event | None = None,
    ) -> AsyncIterator[Record]:
        """The output so far and what still comes, until both streams have ended.

        `stop`, once set, ends the iteration after what is in the file by then: for a container
        whose shim died without a last word. The other arguments are those of `records`.
        """
        from wherry.shim.inotify import watch

        with _opened(self._path, os.O_CREAT) as fd, watch(self._path) as changes:
            cursor = _Cursor(fd, tail)
            while True:
                stopping = stop is not None and stop.is_set()
                changes.clear()
                while batch := cursor.read():
                    for record in batch:
                        if _within(record, since, until):
                            yield record
                    await asyncio.sleep(0)
                if stopping or cursor.ended:
                    return
                if until is not None and time.time_ns() > until:
                    return
                await _first(changes, stop)


class _Cursor:
    """A place in the log, moving forward over whole records."""

    def __init__(self, fd: int, tail: int | None) -> None:
        self._fd = fd
        self._at, self._skip = (0, 0) if tail is None else _tail(fd, tail)
        before = next(_backwards(fd, self._at), None)
        self.ended = before is not None and before[1].ended == _BOTH

    def read(self) -> list[Record]:
        """The next records with output in them; empty at the end of what is written.

        Then `ended` tells whether both streams of the latest run have ended.
        """
        while True:
            found: list[Record] = []
            progress = 0
            for header, data, end in _parse(os.pread(self._fd, _READ, self._at)):
                progress = end
                self.ended = header.ended == _BOTH
                payload, self._skip = data[self._skip :], 0
                if payload:
                    found.append(Record(header.stream, header.time, payload))
            self._at += progress
            if found or not progress:
                return found


class _Header(NamedTuple):
    stream: int
    ended: int
    mark: bytes
    length: int
    time: int

    @property
    def valid(self) -> bool:
        return self.mark == _MARK and self.length <= MAX_PAYLOAD and self.stream <= MESSAGE


def _parse(data: bytes) -> Iterator[tuple[_Header, bytes, int]]:
    """The whole records at the beginning of `data`: header, payload, offset of the record's end."""
    offset = 0
    while offset + _FRAME <= len(data):
        header = _Header._make(_HEADER.unpack_from(data, offset))
        start = offset + _HEADER.size
        offset = start + header.length + _TRAILER.size
        if not header.valid or offset > len(data):
            return
        yield header, data[start : start + header.length], offset


def _backwards(fd: int, end: int) -> Iterator[tuple[int, _Header]]:
    """Offset and header of the records before `end`, latest first, until one is not whole."""
    while end >= _FRAME:
        (length,) = _TRAILER.unpack(os.pread(fd, _TRAILER.size, end - _TRAILER.size))
        start = end - _FRAME - length
        if start < 0:
            return
        header = _Header._make(_HEADER.unpack(os.pread(fd, _HEADER.size, start)))
        if not header.valid or header.length != length:
            return
        yield start, header
        end = start


def _end_of_records(fd: int, size: int) -> int:
    """Where the next record belongs: at the end of the file unless its last record is torn."""
    if size == 0 or next(_backwards(fd, size), None) is not None:
        return size
    end = 0
    while data := os.pread(fd, _READ, end):
        ends = [stop for *_, stop in _parse(data)]
        if not ends:
            break
        end += ends[-1]
    return end


def _tail(fd: int, lines: int) -> tuple[int, int]:
    """Where the last `lines` lines begin: a record's offset and the bytes to skip in it."""
    end = _end_of_records(fd, os.fstat(fd).st_size)
    if lines <= 0:
        return end, 0
    wanted = lines
    later = False
    for start, header in _backwards(fd, end):
        if not header.length:
            continue
        data = os.pread(fd, header.length, start + _HEADER.size)
        stop = len(data)
        if not later and data.endswith(b"\n"):
            stop -= 1
        later = True
        while (newline := data.rfind(b"\n", 0, stop)) >= 0:
            wanted -= 1
            if not wanted:
                return start, newline + 1
            stop = newline
    return 0, 0


@contextmanager
def _opened(path: str, flags: int = 0) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags, 0o640)
    try:
        yield fd
    finally:
        os.close(fd)


def _within(record: Record, since: int, until: int | None) -> bool:
    return record.time >= since and (until is None or record.time <= until)


async def _first(changes: asyncio.Event, stop: asyncio.Event | None) -> None:
    """Wait until the file has changed or the reader is to stop."""
    if stop is None:
        await changes.wait()
        return
    waits = [asyncio.ensure_future(event.wait()) for event in (changes, stop)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
