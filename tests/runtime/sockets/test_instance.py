"""The socket layer and its trampolines around a guest that runs in a container."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.bundles import Bundle, run
from tests.runtime.sockets.hand import FREE, FUNCTIONS, OLD, SOCKETS, Hand, guided, module
from tests.runtime.sockets.machine import NONBLOCK, clock, readable

from wherry.oci.runtime import EGRESS
from wherry.runtime import Launcher
from wherry.runtime.wasi import errnos
from wherry.runtime.wasi.sockets.table import FIRST

pytestmark = pytest.mark.root
Make = Callable[..., Bundle]

PAGE = 65536


def opened(hand: Hand, flags: int = NONBLOCK) -> int:
    result = hand.room()
    assert hand.call("sock_open", 1, 2, result) == 0
    number = hand.get(result)
    assert hand.call("fd_fdstat_set_flags", number, flags) == 0
    return number


def listening(hand: Hand) -> tuple[int, int]:
    number = opened(hand)
    address = hand.put(struct.pack("<II", hand.put(bytes([127, 0, 0, 1])), 4))
    assert hand.call("sock_bind", number, address, 0) == 0
    assert hand.call("sock_listen", number, 5) == 0
    room = hand.room(128)
    port = hand.room()
    assert (
        hand.call("sock_getlocaladdr", number, hand.put(struct.pack("<II", room, 128)), port) == 0
    )
    return number, hand.get(port)


def connected(hand: Hand) -> tuple[int, int]:
    """Two ends of a connection, both the guest's."""
    server, port = listening(hand)
    client, result = opened(hand, 0), hand.room()
    address = hand.put(struct.pack("<II", hand.put(bytes([127, 0, 0, 1])), 4))
    assert hand.call("sock_connect", client, address, port) == 0
    assert hand.call("sock_accept", server, NONBLOCK, result) == 0
    return client, hand.get(result)


def write(hand: Hand, number: int, data: bytes) -> int:
    vectors = hand.put(struct.pack("<II", hand.put(data), len(data)))
    return hand.call("fd_write", number, vectors, 1, hand.room())


def read(hand: Hand, number: int, size: int = 100) -> tuple[int, bytes]:
    room, count = hand.room(size), hand.room()
    error = hand.call("fd_read", number, hand.put(struct.pack("<II", room, size)), 1, count)
    return error, hand.peek(room, hand.get(count))


async def open_file(hand: Hand, name: bytes, root: int = 3) -> tuple[int, int]:
    result = hand.room()
    path = hand.put(name)
    rights = 1 << 1 | 1 << 2 | 1 << 5 | 1 << 21 | 1 << 27
    error = hand.call("path_open", root, 0, path, len(name), 0, rights, 0, 0, result)
    return error, hand.get(result)


async def test_sockets_and_files_are_told_apart_by_their_numbers(
    launcher: Launcher, bundle: Make
) -> None:
    async with guided(launcher, bundle(), files=["file"]) as hand:
        one, other = connected(hand)
        error, file = await open_file(hand, b"file")
        assert (error, file) == (0, 4)
        assert read(hand, file) == (0, b"content")
        assert write(hand, one, b"hello") == 0
        assert read(hand, other) == (0, b"hello")
        assert read(hand, other) == (errnos.AGAIN, b"")
        tell = hand.room(8)
        assert hand.call("fd_tell", file, tell) == 0
        assert hand.get(tell, 8) == 7
        assert hand.call("fd_tell", one, tell) == errnos.SPIPE
        assert hand.call("fd_seek", 1, 0, 0, tell) == errnos.SPIPE
        assert hand.call("fd_tell", FIRST + 99, tell) == errnos.BADF
        assert hand.call("path_open", one, 0, FREE, 1, 0, 0, 0, 0, tell) == errnos.NOTDIR
        assert hand.call("path_rename", 3, FREE, 1, one, FREE, 1) == errnos.NOTDIR
        assert hand.call("fd_readdir", one, FREE, 0, 0, tell) == errnos.NOTDIR
        assert hand.call("sock_recv", file, FREE, 0, 0, tell, tell) in (
            errnos.NOTSOCK,
            errnos.BADF,
        )


async def test_sockets_files_stdin_and_clocks_are_polled_together(
    launcher: Launcher, bundle: Make
) -> None:
    async with guided(launcher, bundle(), files=["file"]) as hand:
        one, other = connected(hand)
        _, file = await open_file(hand, b"file")

        def poll(*asked: bytes) -> list[int]:
            subscriptions, events = hand.put(b"".join(asked)), hand.room(32 * len(asked))
            count = hand.room()
            assert hand.call("poll_oneoff", subscriptions, events, len(asked), count) == 0
            found = struct.iter_unpack("<QHB5xQH6x", hand.peek(events, 32 * hand.get(count)))
            assert hand.peek(subscriptions, 48 * len(asked)) == b"".join(asked)
            return [event[0] for event in found]

        late = clock(9, 3600_000_000_000)
        assert poll(readable(1, other), readable(2, file), late) == [2]
        assert write(hand, one, b"hello") == 0
        assert sorted(poll(readable(1, other), readable(2, file), readable(3, 0))) == [1, 2]
        assert poll(readable(2, file), late) == [2]
        assert poll(readable(1, other), late) == [1]
        now = hand.room(8)
        assert hand.call("clock_time_get", 1, 0, now) == 0
        soon = clock(4, hand.get(now, 8) + 1_000_000, absolute=True)
        assert poll(soon, readable(3, 0), late) == [4]


async def test_a_poll_may_put_its_events_anywhere(launcher: Launcher, bundle: Make) -> None:
    async with guided(launcher, bundle(), files=["file"]) as hand:
        _, file = await open_file(hand, b"file")
        asked = readable(1, file) + clock(2, 0, absolute=True) + readable(3, 3)
        subscriptions = hand.put(asked)
        for offset in range(1, 8):
            events, count = hand.room(104) + offset, hand.room()
            assert hand.call("poll_oneoff", subscriptions, events, 3, count) == 0
            found = struct.iter_unpack("<QHB5xQH6x", hand.peek(events, 32 * hand.get(count)))
            assert [event[:2] for event in found] == [(1, 0), (3, errnos.BADF), (2, 0)]


async def test_a_file_is_renumbered_to_standard_output_and_a_socket_to_a_file(
    launcher: Launcher, bundle: Make
) -> None:
    async with guided(launcher, bundle(), files=["one", "two"]) as hand:
        _, file = await open_file(hand, b"one")
        assert hand.call("fd_renumber", file, 2) == 0
        assert read(hand, 2) == (0, b"content")
        assert hand.call("fd_fdstat_get", file, hand.room(24)) == errnos.BADF
        _, file = await open_file(hand, b"two")
        end, other = connected(hand)
        assert hand.call("fd_renumber", other, file) == 0
        assert write(hand, end, b"x") == 0
        assert read(hand, file) == (0, b"x")
        assert hand.call("fd_close", file) == 0
        assert read(hand, file)[0] == errnos.BADF
        error, another = await open_file(hand, b"one")
        assert error == 0 and another != file


async def test_memory_that_has_grown_is_memory(launcher: Launcher, bundle: Make) -> None:
    async with guided(launcher, bundle()) as hand:
        one, other = connected(hand)
        beyond = 2 * PAGE + 100
        vectors = hand.put(struct.pack("<II", beyond, 5))
        assert hand.call("fd_read", other, vectors, 1, hand.room()) == errnos.FAULT
        assert hand.grow(3) == 2
        assert write(hand, one, b"hello") == 0
        assert hand.call("fd_read", other, vectors, 1, hand.room()) == 0
        assert hand.peek(beyond, 5) == b"hello"


async def test_a_memory_limit_is_kept(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    container.config["linux"]["resources"] = {"memory": {"limit": 48 << 20}}
    async with guided(launcher, container) as hand:
        one, other = connected(hand)
        assert hand.grow(10) == 2
        assert hand.grow(4096) == 0xFFFFFFFF
        assert write(hand, one, b"hello") == 0
        assert read(hand, other) == (0, b"hello")


async def test_there_is_a_working_directory_beside_the_sockets(
    launcher: Launcher, bundle: Make
) -> None:
    container = bundle()
    container.config["process"]["args"] = ["/main.wasm"]
    container.config["process"]["cwd"] = "/work"
    async with guided(launcher, container, files=["work/here", "there"]) as hand:
        one, other = connected(hand)
        assert write(hand, one, b"hello") == 0
        assert read(hand, other) == (0, b"hello")
        for name in (b"here", b"there", b"work/here"):
            error, file = await open_file(hand, name)
            assert error == 0, name
            assert read(hand, file) == (0, b"content")


async def test_the_older_abi_is_told_by_its_types(launcher: Launcher, bundle: Make) -> None:
    async with guided(launcher, bundle(), module({**FUNCTIONS, **OLD})) as hand:
        number = opened(hand)
        address = hand.put(struct.pack("<II", hand.put(bytes([127, 0, 0, 1])), 4))
        assert hand.call("sock_bind", number, address, 0) == 0
        room, kind, port = hand.room(4), hand.room(), hand.room()
        told = hand.put(struct.pack("<II", room, 4))
        assert hand.call("sock_getlocaladdr", number, told, kind, port) == 0
        assert (hand.peek(room, 4), hand.get(kind)) == (bytes([127, 0, 0, 1]), 4)


async def test_a_function_of_a_type_that_nobody_has_cannot_be_linked(
    launcher: Launcher, bundle: Make
) -> None:
    container = bundle()
    container.put("main.wasm", module({**FUNCTIONS, "sock_bind": "i"}))
    outcome = await run(launcher, container)
    assert outcome.status == 126
    assert b"sock_bind" in outcome.stderr


async def test_a_start_function_has_sockets_already(launcher: Launcher, bundle: Make) -> None:
    start = "(drop (call $sock_open (i32.const 1) (i32.const 2) (i32.const 200)))"
    async with guided(launcher, bundle(), module(start=start)) as hand:
        assert hand.get(200) == FIRST
        assert hand.call("fd_close", FIRST) == 0


async def test_a_guest_without_memory_runs_and_every_pointer_of_its_is_a_fault(
    launcher: Launcher, bundle: Make
) -> None:
    opens = """(module
      (import "wasi_snapshot_preview1" "sock_open" (func $open (param i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "poll_oneoff"
        (func $poll (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (func (export "_start")
        (drop (call $renumber (i32.const 0) (i32.const 3)))
        (drop (call $poll (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0)))
        (call $exit (call $open (i32.const 1) (i32.const 2) (i32.const 0)))))"""
    container = bundle()
    container.put("main.wasm", opens)
    assert (await run(launcher, container)).status == errnos.FAULT
    container = bundle()
    container.config["process"]["cwd"] = "/work"
    container.put("main.wasm", '(module (func (export "_start")))')
    assert (await run(launcher, container)).status == 0


NAMES = [name for name in FUNCTIONS if name not in ("clock_time_get", "fd_close", "fd_renumber")]
"""Its own pipes stay open, and wasmtime may end a guest that asks for no clock there is."""
WORDS = st.one_of(
    st.integers(FIRST, FIRST + 3),
    st.integers(2, 8),
    st.integers(FREE, FREE + 256),
    st.sampled_from([2 * PAGE, 2 * PAGE - 1, 2**31, 2**32 - 1, 2**64 - 1]),
    st.integers(0, 2**32 - 1),
)
CALLS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.lists(WORDS, min_size=9, max_size=9)), max_size=30
)


INNARDS = (
    '"wasi_snapshot_preview1" "table" (table 1 funcref)',
    '"wasi_snapshot_preview1" "descriptors" (memory 1)',
    '"wherry" "table" (table 1 funcref)',
    '"wherry" "descriptors" (memory 1)',
    '"wherry" "pick" (func (param i32 i32) (result i32))',
    '"wherry" "fd_close" (func (param i32) (result i32))',
)


@pytest.mark.parametrize("wanted", INNARDS)
async def test_what_trampolines_are_made_of_is_no_import_of_a_guests(
    launcher: Launcher, bundle: Make, wanted: str
) -> None:
    """Who wrote to it would reach what stands under the numbers of sockets."""
    container = bundle()
    container.put("work/file", "")
    container.config["process"]["cwd"] = "/work"  # with all trampolines that there are
    text = f"""(module (import {wanted})
      (import "wasi_snapshot_preview1" "sock_open" (func (param i32 i32 i32) (result i32)))
      (memory (export "memory") 1) (func (export "_start")))"""
    container.put("main.wasm", text)
    outcome = await run(launcher, container)
    assert outcome.status == 126
    assert b"unknown import" in outcome.stderr


async def test_no_call_of_any_kind_ends_the_process(launcher: Launcher, bundle: Make) -> None:
    container = bundle()
    container.config["annotations"] = {EGRESS: "127.0.0.0/8, [::1/128]"}
    async with guided(launcher, container, files=["file"]) as hand:
        connected(hand)
        await open_file(hand, b"file")

        @settings(max_examples=40, deadline=None, database=None)
        @given(st.binary(max_size=256), CALLS)
        def answered(memory: bytes, calls: list[tuple[str, list[int]]]) -> None:
            hand.poke(FREE, memory)
            for name, words in calls:
                if name == "poll_oneoff":
                    # It waits for what it is told to: here for nothing that does not come.
                    words[0] = FREE
                    hand.poke(FREE, bytes(96))
                elif not name.startswith("sock_"):
                    # About files wasmtime is asked, which ends a guest for a pointer to nowhere.
                    words[0] |= FIRST
                if name in ("sock_accept", "fd_fdstat_set_flags"):
                    words[1] = NONBLOCK
                parameters = FUNCTIONS[name]
                error = hand.call(name, *words[: len(parameters)])
                assert error <= errnos.AI_SYSTEM, name

        answered()
        assert write(hand, 2, b"") == 0


def test_every_function_about_sockets_is_tried() -> None:
    from tests.runtime.sockets.machine import Machine

    known = {name for name, _ in Machine().layer.sockets} - {"epoll_oneoff"}
    assert known == set(SOCKETS)
