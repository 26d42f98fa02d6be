"""A container's log: what was written is read, at once, and whatever happened in between."""

import asyncio
import gc
import os
import resource
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.shim.client.log import MAX_PAYLOAD, MESSAGE, STDERR, STDOUT, LogReader, LogWriter, note

_CHUNKS = st.lists(st.tuples(st.sampled_from((STDOUT, STDERR)), st.binary(min_size=1, max_size=30)))


def written(path: Path, *chunks: tuple[int, bytes], ended: bool = True) -> LogWriter:
    writer = LogWriter(str(path))
    writer.begin()
    for stream, data in chunks:
        writer.write(stream, data)
    if ended:
        writer.end(STDOUT)
        writer.end(STDERR)
    writer.release()
    return writer


def read(path: Path, **options: int) -> list[tuple[int, bytes]]:
    return [(record.stream, record.data) for record in LogReader(path).records(**options)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@given(chunks=_CHUNKS)
def test_what_was_written_is_read(folder: Path, chunks: list[tuple[int, bytes]]) -> None:
    path = folder / "round-trip"
    path.unlink(missing_ok=True)
    written(path, *chunks)
    assert read(path) == chunks


@given(chunks=_CHUNKS, cut=st.integers(1, 49))
def test_a_torn_last_record_is_ignored_and_then_cut_off(
    folder: Path, chunks: list[tuple[int, bytes]], cut: int
) -> None:
    path = folder / "torn"
    path.unlink(missing_ok=True)
    written(path, *chunks, ended=False)
    whole = path.stat().st_size
    written(path, (STDOUT, bytes(100)), ended=False)
    os.truncate(path, whole + 20 + cut)
    assert read(path) == chunks
    written(path, (STDOUT, b"after"))
    assert read(path) == [*chunks, (STDOUT, b"after")]


@given(
    chunks=st.lists(st.sampled_from([b"a", b"\n", b"one\n", b"two\nthree\n", b"\n\n", b"end"])),
    tail=st.integers(0, 8),
)
def test_tail_gives_the_last_lines(folder: Path, chunks: list[bytes], tail: int) -> None:
    path = folder / "tail"
    path.unlink(missing_ok=True)
    written(path, *((STDOUT, chunk) for chunk in chunks))
    lines = b"".join(chunks).splitlines(keepends=True)
    expected = b"".join(lines[-tail:]) if tail else b""
    assert b"".join(data for _, data in read(path, tail=tail)) == expected


@given(garbage=st.binary(max_size=200))
def test_no_file_breaks_a_reader_or_a_writer(folder: Path, garbage: bytes) -> None:
    path = folder / "garbage"
    path.write_bytes(garbage)
    read(path)
    read(path, tail=3)
    written(path, (STDOUT, b"x"))
    path.write_bytes(b"\x09" + garbage)
    written(path, (STDOUT, b"x"))
    assert read(path)[-1] == (STDOUT, b"x")


def test_since_and_until_choose_by_time(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path, (STDOUT, b"1"), (STDOUT, b"2"), (STDOUT, b"3"))
    times = [record.time for record in LogReader(path).records()]
    assert read(path, since=times[1]) == [(STDOUT, b"2"), (STDOUT, b"3")]
    assert read(path, until=times[1] - 1) == [(STDOUT, b"1")]


def test_a_missing_log_is_empty(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == []


def test_long_output_is_cut_into_records(tmp_path: Path) -> None:
    path = tmp_path / "log"
    data = os.urandom(3 * MAX_PAYLOAD + 7)
    written(path, (STDOUT, data))
    chunks = [data for _, data in read(path)]
    assert [len(chunk) for chunk in chunks] == [MAX_PAYLOAD] * 3 + [7]
    assert b"".join(chunks) == data


@contextmanager
def small_disk() -> Iterator[int]:
    """Files may grow to this many bytes only; pytest's own output too, so not for longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield 4096
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_drops_output_and_says_so_later(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with small_disk() as room:
        writer = written(path, (STDOUT, b"kept"), ended=False)
        writer.write(STDOUT, bytes(room - 50))
        writer.write(STDERR, bytes(room))
        seen = read(path)
        writer.write(STDOUT, b"small again")
    assert seen == [(STDOUT, b"kept")]
    lost = 2 * room - 50
    message = f"wherry: {lost} bytes of output were lost: the log could not be written\n".encode()
    assert read(path) == [(STDOUT, b"kept"), (MESSAGE, message), (STDOUT, b"small again")]


def test_a_note_of_somebody_else_stands_between_records(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = written(path, (STDOUT, b"before"), ended=False)
    note(path, "denied\n")
    writer.write(STDOUT, b"after")
    writer.release()
    assert read(path) == [(STDOUT, b"before"), (MESSAGE, b"denied\n"), (STDOUT, b"after")]
    note(tmp_path / "no log", "denied\n")
    assert not (tmp_path / "no log").exists()


def test_a_full_disk_after_a_note_tears_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with small_disk() as room:
        writer = written(path, (STDOUT, b"before"), ended=False)
        note(path, "denied\n")
        writer.write(STDOUT, bytes(room))
        seen = read(path)
    writer.write(STDOUT, b"after")
    assert seen == [(STDOUT, b"before"), (MESSAGE, b"denied\n")]
    assert read(path)[-1] == (STDOUT, b"after")


async def test_a_note_after_the_end_keeps_no_follower(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path, (STDOUT, b"all "))
    note(path, "late\n")
    assert await collect(LogReader(path).follow()) == b"all late\n"


def test_a_log_that_cannot_be_opened_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    written(tmp_path / "link", (STDOUT, b"x"))
    written(tmp_path / "no" / "folder", (STDOUT, b"x"))
    assert not (tmp_path / "elsewhere").exists()


async def collect(records: AsyncIterator[tuple[int, int, bytes]]) -> bytes:
    return b"".join([data async for _, _, data in records])


async def test_follow_sees_each_record_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = written(path, (STDOUT, b"before"), ended=False)
    records = LogReader(path).follow()
    assert (await anext(records)).data == b"before"
    for word in (b"prompt> ", b"answer"):
        waiting = asyncio.ensure_future(anext(records))
        await asyncio.sleep(0)
        writer.write(STDOUT, word)
        assert (await waiting).data == word
    writer.end(STDOUT)
    writer.write(STDERR, b"last")
    writer.end(STDERR)
    assert await collect(records) == b"last"


async def test_follow_of_a_log_that_has_ended_ends(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path, (STDOUT, b"all"))
    assert await collect(LogReader(path).follow()) == b"all"
    assert await collect(LogReader(path).follow(tail=0)) == b""


async def test_follow_goes_on_in_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path, (STDOUT, b"first "))
    writer = written(path, (STDOUT, b"second"), ended=False)
    following = asyncio.ensure_future(collect(LogReader(path).follow()))
    await asyncio.sleep(0)
    assert not following.done()
    writer.end(STDOUT)
    writer.end(STDERR)
    assert await following == b"first second"


async def test_follow_ends_when_told_after_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path, (STDOUT, b"all there is"), ended=False)
    stop = asyncio.Event()
    following = asyncio.ensure_future(collect(LogReader(path).follow(stop=stop)))
    await asyncio.sleep(0)
    stop.set()
    assert await following == b"all there is"


async def test_many_followers_share_one_inotify_instance(tmp_path: Path) -> None:
    gc.collect()  # what loops of other tests had goes with them
    writers = [LogWriter(str(tmp_path / str(n))) for n in range(200)]
    for writer in writers:
        writer.begin()
    followers = [
        asyncio.ensure_future(collect(LogReader(tmp_path / str(n)).follow())) for n in range(200)
    ]
    await asyncio.sleep(0)
    watching = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")[:-1]]
    assert sum("inotify" in name for name in watching) == 1
    for number, writer in enumerate(writers):
        writer.write(STDOUT, b"%d" % number)
        writer.end(STDOUT)
        writer.end(STDERR)
        writer.release()
    assert await asyncio.gather(*followers) == [b"%d" % number for number in range(200)]
