"""Standard streams: FIFOs, files, logs and terminals."""

import asyncio
import os
import struct
import termios
from fcntl import ioctl
from pathlib import Path

import pytest
from tests.shim.conftest import FakeShim

from wherry.shim.client import TaskError
from wherry.shim.client.log import STDERR, STDOUT, LogReader


async def read_to_end(fifo: int) -> bytes:
    """All that comes out of a FIFO, opened without blocking, until its writers are gone."""
    loop = asyncio.get_running_loop()
    received = bytearray()
    while True:
        readable = asyncio.Event()
        loop.add_reader(fifo, readable.set)
        await readable.wait()
        loop.remove_reader(fifo)
        data = os.read(fifo, 1 << 16)
        if not data:
            os.close(fifo)
            return bytes(received)
        received += data


def opened(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


async def finish(shim: FakeShim, id: str = "a") -> int:
    await shim.client.start(id)
    return (await shim.client.wait(id)).status


async def test_output_goes_to_the_fifos_of_containerd(shim: FakeShim) -> None:
    paths = [shim.fifo("out"), shim.fifo("err")]
    readers = [opened(path) for path in paths]
    bundle = shim.bundle("echo out; echo err >&2")
    await shim.client.create(id="a", bundle=bundle, stdout=paths[0], stderr=paths[1])
    await shim.client.start("a")
    assert [await read_to_end(reader) for reader in readers] == [b"out\n", b"err\n"]


async def test_a_fifo_that_is_closed_early_does_not_end_the_process(shim: FakeShim) -> None:
    path, stdin = shim.fifo("out"), shim.fifo("in")
    reader = opened(path)
    bundle = shim.bundle("echo first; read -r x; echo second; exit 5")
    await shim.client.create(id="a", bundle=bundle, stdin=stdin, stdout=path)
    os.close(reader)
    await shim.client.start("a")
    reader = opened(path)
    Path(stdin).write_text("go\n")
    assert (await shim.client.wait("a")).status == 5
    assert (await read_to_end(reader)).endswith(b"second\n")


async def test_stdin_ends_when_it_is_closed_and_not_before(shim: FakeShim) -> None:
    stdin, out = shim.fifo("in"), shim.fifo("out")
    reader = opened(out)
    await shim.client.create(id="a", bundle=shim.bundle("cat"), stdin=stdin, stdout=out)
    await shim.client.start("a")
    for word in ("one ", "two"):
        Path(stdin).write_text(word)
    assert (await shim.client.state("a")).status == "running"
    await shim.client.close_io("a")
    await shim.client.close_io("a")
    assert await read_to_end(reader) == b"one two"


async def test_without_addresses_there_is_nothing_to_read_or_write(shim: FakeShim) -> None:
    await shim.client.create(id="a", bundle=shim.bundle("cat; echo x; exit 9"))
    assert await finish(shim) == 9


async def test_a_file_is_appended_to(shim: FakeShim) -> None:
    file = shim.folder / "a file"
    file.write_text("before\n")
    address = f"file://{file}".replace(" ", "%20")
    bundle = shim.bundle("echo out; echo err >&2")
    await shim.client.create(id="a", bundle=bundle, stdout=address, stderr=address)
    await finish(shim)
    assert file.read_text() == "before\nout\nerr\n"


async def test_a_log_has_all_output_by_the_time_of_the_exit(shim: FakeShim) -> None:
    path, stdout, stderr = shim.log("log")
    bundle = shim.bundle("echo out; echo err >&2; head -c 300000 /dev/zero")
    await shim.client.create(id="a", bundle=bundle, stdout=stdout, stderr=stderr)
    await finish(shim)
    records = [record async for record in LogReader(path).follow()]
    by_stream = {
        stream: b"".join(record.data for record in records if record.stream == stream)
        for stream in (STDOUT, STDERR)
    }
    assert by_stream == {STDOUT: b"out\n" + bytes(300000), STDERR: b"err\n"}


async def test_a_prompt_without_a_newline_is_in_the_log_at_once(shim: FakeShim) -> None:
    path, stdout, stderr = shim.log("log")
    stdin = shim.fifo("in")
    bundle = shim.bundle("printf 'name? '; read -r x; echo $x")
    await shim.client.create(id="a", bundle=bundle, stdin=stdin, stdout=stdout, stderr=stderr)
    await shim.client.start("a")
    records = LogReader(path).follow()
    assert (await anext(records)).data == b"name? "
    Path(stdin).write_text("me\n")
    assert (await anext(records)).data == b"me\n"


async def test_a_second_run_goes_on_in_the_same_log(shim: FakeShim) -> None:
    path, stdout, stderr = shim.log("log")
    for word in ("one", "two"):
        bundle = shim.bundle(f"echo {word}")
        await shim.client.create(id=word, bundle=bundle, stdout=stdout, stderr=stderr)
        await finish(shim, word)
    assert [record.data for record in LogReader(path).records()] == [b"one\n", b"two\n"]


@pytest.mark.parametrize(
    ("stream", "address", "says"),
    [
        ("stdout", "binary:///bin/logger", "expected the path of a FIFO"),
        ("stdout", "/nowhere/fifo", "No such file"),
        ("stdin", "/nowhere/fifo", "No such file"),
        ("stdin", "/dev/null", "not a FIFO"),
        ("stderr", "wherry-log://relative", "expected wherry-log:///an/absolute/path"),
    ],
)
async def test_an_address_that_cannot_be_is_named(
    shim: FakeShim, stream: str, address: str, says: str
) -> None:
    with pytest.raises(TaskError, match=says) as failure:
        await shim.client.create(id="a", bundle=shim.bundle(""), **{stream: address})  # type: ignore[arg-type]
    assert failure.value.code == "INVALID_ARGUMENT"


async def test_a_terminal_has_the_size_it_was_given_and_then_another(shim: FakeShim) -> None:
    path, stdout, _ = shim.log("log")
    stdin = shim.fifo("in")
    config = '{"process": {"consoleSize": {"height": 20, "width": 70}}}'
    bundle = shim.bundle("stty size; read -r x; stty size", config)
    await shim.client.create(id="a", bundle=bundle, stdin=stdin, stdout=stdout, terminal=True)
    await shim.client.start("a")
    records = LogReader(path).follow()
    assert (await anext(records)).data == b"20 70\r\n"
    await shim.client.resize("a", 100, 30)
    Path(stdin).write_text("\n")
    rest = b"".join([record.data async for record in records])
    assert rest == b"\r\n30 100\r\n"
    await shim.client.wait("a")
    await shim.client.resize("a", 1, 1)


async def test_a_terminal_on_fifos(shim: FakeShim) -> None:
    stdin, out = shim.fifo("in"), shim.fifo("out")
    reader = opened(out)
    bundle = shim.bundle("test -t 0 && test -t 1 && test -t 2 && read -r x && echo got $x")
    await shim.client.create(id="a", bundle=bundle, stdin=stdin, stdout=out, terminal=True)
    await shim.client.start("a")
    Path(stdin).write_text("it\n")
    assert await read_to_end(reader) == b"it\r\ngot it\r\n"
    assert (await shim.client.wait("a")).status == 0


@pytest.mark.usefixtures("impatient")
async def test_a_terminal_that_nobody_reads_blocks_its_process_only(shim: FakeShim) -> None:
    out = shim.fifo("out")
    bundle = shim.bundle("while :; do echo 0123456789; done")
    await shim.client.create(id="a", bundle=bundle, stdout=out, terminal=True)
    await shim.client.create(id="b", bundle=shim.bundle("exit 3"))
    await shim.client.start("a")
    assert await finish(shim, "b") == 3
    await shim.client.kill("a", 15)
    assert (await shim.client.wait("a")).status == 143
    await shim.client.delete("a")


@pytest.mark.usefixtures("impatient")
async def test_a_flood_that_nobody_reads_can_be_ended(shim: FakeShim) -> None:
    out = shim.fifo("out")
    await shim.client.create(id="a", bundle=shim.bundle("exec cat /dev/zero"), stdout=out)
    await shim.client.start("a")
    await shim.client.kill("a", 2)
    assert (await shim.client.wait("a")).status == 130


async def test_a_log_of_a_flood_starves_nobody(shim: FakeShim) -> None:
    path, stdout, stderr = shim.log("log")
    bundle = shim.bundle("head -c 30000000 /dev/zero")
    await shim.client.create(id="a", bundle=bundle, stdout=stdout, stderr=stderr)
    await shim.client.create(id="b", bundle=shim.bundle("exit 3"))
    await shim.client.start("a")
    assert await finish(shim, "b") == 3
    await shim.client.wait("a")
    assert sum(len(record.data) for record in LogReader(path).records()) == 30000000


def test_window_sizes_are_packed_as_the_kernel_has_them() -> None:
    from wherry.shim.server.console import set_size

    master, slave = os.openpty()
    set_size(master, 70000, 30)
    assert struct.unpack("HHHH", ioctl(slave, termios.TIOCGWINSZ, bytes(8)))[:2] == (30, 65535)
    os.close(master)
    os.close(slave)
