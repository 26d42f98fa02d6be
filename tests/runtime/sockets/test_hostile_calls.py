"""Whatever a guest passes, it is answered with an error number, and nothing else happens."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.sockets.machine import NONBLOCK, SIZE, Machine

from wherry.runtime.wasi import errnos
from wherry.runtime.wasi.sockets.descriptors import Socket
from wherry.runtime.wasi.sockets.memory import MAX_VECTORS
from wherry.runtime.wasi.sockets.table import FIRST

OUTSIDE = [SIZE, SIZE - 1, 2**31, 2**32 - 4, 2**32 - 1]
LAST_ERROR = errnos.AI_SYSTEM


@pytest.mark.parametrize("pointer", OUTSIDE)
def test_results_have_a_place_before_anything_is_done(machine: Machine, pointer: int) -> None:
    """Data received would be lost, and sockets leaked."""
    number, peer = machine.connection()
    before = len(machine.table._open)
    with peer:
        peer.sendall(b"hello")
        vectors, fault = machine.vectors(5), errnos.FAULT
        address, _ = machine.address_room()
        word = machine.room(4)
        assert machine.call("sock_open", 1, 2, pointer) == fault
        assert machine.call("sock_accept", number, 0, pointer) == fault
        assert machine.call("fd_read", number, vectors, 1, pointer) == fault
        assert machine.call("sock_recv", number, vectors, 1, 0, pointer, word) == fault
        assert machine.call("sock_recv", number, vectors, 1, 0, word, pointer) == fault
        for places in ((pointer, word, word), (word, pointer, word), (word, word, pointer)):
            arguments = (number, vectors, 1, address, 0, *places)
            assert machine.call("sock_recv_from", *arguments) == fault
        assert machine.call("fd_write", number, vectors, 1, pointer) == fault
        assert machine.call("sock_send", number, vectors, 1, 0, pointer) == fault
        assert machine.receive(number) == (0, b"hello")
        peer.setblocking(False)
        with pytest.raises(BlockingIOError):
            peer.recv(1)
        for name in ("sock_getlocaladdr", "sock_getpeeraddr"):
            assert machine.call(name, number, address, pointer) == fault
            assert machine.call(name, number, pointer, word) == fault
            assert machine.call(name, number, address, pointer, word) == fault
        assert machine.call("fd_fdstat_get", number, pointer) == fault
        assert machine.call("fd_filestat_get", number, pointer) == fault
        assert machine.call("sock_getsockopt", number, 0, 1, pointer, machine.put(b"\4")) == fault
        assert machine.call("sock_getsockopt", number, 0, 1, word, pointer) == fault
        assert machine.call("sock_setsockopt", number, 0, 7, pointer, 4) == fault
        assert machine.call("sock_connect", number, pointer, 80) == fault
    assert len(machine.table._open) == before


def test_buffers_lie_within_memory_and_are_not_too_many(machine: Machine) -> None:
    number, peer = machine.connection()
    with peer:
        for start, size in ((SIZE, 1), (SIZE - 4, 5), (0, 2**32 - 1), (2**32 - 1, 2**32 - 1)):
            vectors = machine.put(struct.pack("<IIII", 0, 0, start, size))
            for name in ("fd_read", "fd_write"):
                assert machine.call(name, number, vectors, 2, machine.room(4)) == errnos.FAULT
                only = vectors + 8
                assert machine.call(name, number, only, 1, machine.room(4)) == errnos.FAULT
        for count in (MAX_VECTORS + 1, 2**31, 2**32 - 1):
            assert machine.call("fd_read", number, 0, count, machine.room(4)) == errnos.INVAL
        many = machine.put(struct.pack("<II", 0, 1) * MAX_VECTORS)
        assert machine.call("fd_write", number, many, MAX_VECTORS, machine.room(4)) == 0
        assert len(peer.recv(2 * MAX_VECTORS)) == MAX_VECTORS
        assert machine.call("fd_write", number, SIZE - 8, 2, machine.room(4)) == errnos.FAULT


def test_buffers_may_overlap_and_take_the_place_of_what_names_them(machine: Machine) -> None:
    number, peer = machine.connection()
    with peer:
        peer.sendall(b"a" * 24)
        vectors = machine.room(16)
        struct.pack_into("<IIII", machine.memory, vectors, vectors, 16, vectors + 8, 8)
        assert machine.call("fd_read", number, vectors, 2, vectors) == 0
        assert machine.bytes_at(vectors, 16) == struct.pack("<I", 24) + b"a" * 12


def test_addresses_of_other_sizes_and_families_are_none(machine: Machine) -> None:
    number = machine.open()

    def bind(size: int, data: bytes = b"") -> int:
        room = machine.put(data.ljust(size, b"\0"))
        return machine.call("sock_bind", number, machine.put(struct.pack("<II", room, size)), 0)

    for size in (0, 3, 5, 15, 17, 127, 129):
        assert bind(size) == errnos.INVAL
    assert bind(128, b"\0\0") == errnos.AFNOSUPPORT
    assert bind(128, b"\1\1") == errnos.AFNOSUPPORT
    assert bind(128, b"\3\0/tmp/socket") == errnos.NOSYS
    assert bind(128, b"\1\0") == 0
    for size in (3, 4, 16, 127):
        address, _ = machine.address_room(size)
        assert machine.call("sock_getlocaladdr", number, address, machine.room(4)) == errnos.INVAL
    address, _ = machine.address_room(3)
    arguments = (number, address, machine.room(4), machine.room(4))
    assert machine.call("sock_getlocaladdr", *arguments) == errnos.INVAL


NAMES = [
    ("fd_close", 1),
    ("fd_fdstat_get", 2),
    ("fd_filestat_get", 2),
    ("fd_prestat_get", 2),
    ("fd_read", 4),
    ("fd_renumber", 2),
    ("fd_write", 4),
    ("poll_oneoff", 4),
    ("epoll_oneoff", 4),
    ("sock_open", 3),
    ("sock_bind", 3),
    ("sock_listen", 2),
    ("sock_accept", 3),
    ("sock_accept", 2),
    ("sock_connect", 3),
    ("sock_shutdown", 2),
    ("sock_getlocaladdr", 3),
    ("sock_getlocaladdr", 4),
    ("sock_getpeeraddr", 3),
    ("sock_getpeeraddr", 4),
    ("sock_recv", 6),
    ("sock_recv_from", 7),
    ("sock_recv_from", 8),
    ("sock_send", 5),
    ("sock_send_to", 7),
    ("sock_getsockopt", 5),
    ("sock_setsockopt", 5),
    ("sock_getaddrinfo", 8),
]
"""All but `fd_fdstat_set_flags`, so that no call waits."""

WORDS = st.one_of(
    st.integers(FIRST, FIRST + 4),
    st.integers(0, 20),
    st.integers(1000, 1200).map(lambda word: word * 4 & ~3),
    st.sampled_from(OUTSIDE),
    st.integers(0, 2**32 - 1),
)
CALLS = st.tuples(st.sampled_from(NAMES), st.lists(WORDS, min_size=8, max_size=8))
MEMORY = st.lists(
    st.one_of(
        st.binary(min_size=8, max_size=8),
        st.tuples(st.integers(1000, 1200).map(lambda word: word * 4), st.integers(0, 200)).map(
            lambda pair: struct.pack("<II", *pair)
        ),
        st.sampled_from(
            [bytes([127, 0, 0, 1]) * 2, struct.pack("<II", 4096, 4), b"\1\0\x7f\0\0\1\0\0"]
        ),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(MEMORY, st.lists(CALLS, min_size=1, max_size=40))
def test_any_calls_are_answered(
    memory: list[bytes], calls: list[tuple[tuple[str, int], list[int]]]
) -> None:
    machine = Machine()
    for number in range(3):
        machine.table.take(number)  # pytest's own
    content = b"".join(memory)
    machine.memory[4000 : 4000 + len(content)] = content
    for _ in range(2):
        machine.open(flags=NONBLOCK)
    machine.open(stream=False, flags=NONBLOCK)
    machine.listener(flags=NONBLOCK)
    try:
        for (name, count), words in calls:
            # A poll waits for what it is told to: here for nothing that does not come.
            if "oneoff" in name:
                words[0] = 0
                machine.memory[:96] = bytes(96)
            error = machine.call(name, *words[:count])
            assert 0 <= error <= LAST_ERROR
            assert len(machine.memory) == SIZE
            for descriptor in machine.table._open.values():
                if isinstance(descriptor, Socket) and not descriptor.flags:
                    descriptor.set_flags(NONBLOCK)
    finally:
        machine.close()


def test_numbers_that_come_and_go_are_remembered_once(machine: Machine) -> None:
    """Else a guest without memory of its own would fill that of its host."""
    first, second = machine.open(), machine.open()
    result = machine.room(4)
    for _ in range(100):
        assert machine.call("fd_renumber", first, second) == 0
        assert machine.call("fd_close", second) == 0
        assert machine.call("sock_open", 1, 2, result) == 0
        assert machine.get(result) == first
    assert len(machine.table._free) <= 2
