"""The calls on sockets, as WasmEdge's extension has them, and what they answer when they fail."""

import errno
import socket
import struct

import pytest
from tests.runtime.sockets.machine import FIRST_FILE, NONBLOCK, Machine

from wherry.runtime.wasi import errnos
from wherry.runtime.wasi.sockets.table import FIRST

BADF, FAULT, INVAL = errnos.BADF, errnos.FAULT, errnos.INVAL


def of(host: int) -> int:
    return errnos.of(host)


def test_errors_have_the_numbers_of_wasi() -> None:
    known = {"E2BIG": 1, "ECONNREFUSED": 14, "EINPROGRESS": 26, "ENOTCONN": 53, "ETIMEDOUT": 73}
    assert {name: of(getattr(errno, name)) for name in known} == known
    assert of(errno.EXDEV) == 75
    assert of(errno.EHOSTDOWN) == of(errno.EHOSTUNREACH) == 23
    assert of(12345) == errnos.IO


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("family_in_front", [False, True], ids=["4 or 16 bytes", "128 bytes"])
def test_a_guest_serves_and_connects(machine: Machine, host: str, family_in_front: bool) -> None:
    server, port = machine.listener(host)
    client = machine.open(family=2 if ":" in host else 1)
    address = machine.address(host, family_in_front=family_in_front)
    assert machine.call("sock_connect", client, address, port) == 0
    result = machine.room(4)
    assert machine.call("sock_accept", server, 0, result) == 0
    accepted = machine.get(result)
    assert machine.send(client, b"hel", b"", b"lo") == 0
    assert machine.receive(accepted) == (0, b"hello")
    assert machine.peer(client) == (host, port) == machine.local(accepted)
    assert machine.peer(accepted) == machine.local(client)
    assert machine.call("fd_close", client) == 0
    assert machine.receive(accepted) == (0, b"")


def test_the_older_abi_tells_the_kind_of_an_address(machine: Machine) -> None:
    server, port = machine.listener("::1")
    address, room = machine.address_room(16)
    kind, told = machine.room(4), machine.room(4)
    assert machine.call("sock_getlocaladdr", server, address, kind, told) == 0
    assert (machine.get(kind), machine.get(told)) == (6, port)
    assert machine.bytes_at(room, 16) == socket.inet_pton(socket.AF_INET6, "::1")
    server, port = machine.listener()
    assert machine.call("sock_getlocaladdr", server, address, kind, told) == 0
    assert (machine.get(kind), machine.get(told)) == (4, port)
    assert machine.call("sock_getpeeraddr", server, address, kind, told) == errnos.of(
        errno.ENOTCONN
    )


def test_the_older_abi_accepts_without_flags(machine: Machine) -> None:
    server, port = machine.listener()
    result = machine.room(4)
    with socket.create_connection(("127.0.0.1", port)):
        assert machine.call("sock_accept", server, result) == 0
    assert machine.get(result) == FIRST + 1


def test_modules_from_before_may_2022_count_families_from_zero(machine: Machine) -> None:
    result = machine.room(4)
    assert machine.call("sock_open", 0, 1, result) == 0
    assert machine.table.socket(machine.get(result)).socket.family == socket.AF_INET
    assert machine.table.socket(machine.get(result)).stream


@pytest.mark.parametrize(
    ("family", "kind", "error"),
    [(3, 2, errnos.NOSYS), (4, 2, INVAL), (1, 0, INVAL), (1, 3, INVAL), (0, 2, INVAL)],
)
def test_there_are_streams_and_datagrams_of_ip(
    machine: Machine, family: int, kind: int, error: int
) -> None:
    assert machine.call("sock_open", family, kind, machine.room(4)) == error


def test_datagrams_tell_whom_they_are_from(machine: Machine) -> None:
    one, two = machine.open(stream=False), machine.open(stream=False)
    for number in (one, two):
        assert machine.call("sock_bind", number, machine.address("127.0.0.1"), 0) == 0
    sent = machine.room(4)
    to = machine.address("127.0.0.1", family_in_front=True)
    data = machine.vectors(b"0123456789")
    port = machine.local(two)[1]
    assert machine.call("sock_send_to", one, data, 1, to, port, 0, sent) == 0
    assert machine.get(sent) == 10
    address, room = machine.address_room()
    told, size, flags = machine.room(4), machine.room(4), machine.room(2)
    into = machine.vectors(2, 4)
    arguments = (two, into, 2, address, 0, told, size, flags)
    assert machine.call("sock_recv_from", *arguments) == 0
    assert machine.get(size) == 6
    assert machine.get(flags, 2) == 1  # it was longer
    assert machine.get(told) == machine.local(one)[1]
    assert machine.bytes_at(room, 6) == b"\1\0\x7f\0\0\1"


def test_datagrams_of_the_older_abi_have_no_port(machine: Machine) -> None:
    number = machine.open(stream=False)
    assert machine.call("sock_bind", number, machine.address("127.0.0.1"), 0) == 0
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.sendto(b"hello", machine.local(number))
    address, room = machine.address_room(4)
    size, flags = machine.room(4), machine.room(2)
    arguments = (number, machine.vectors(10), 1, address, 0, size, flags)
    assert machine.call("sock_recv_from", *arguments) == 0
    assert machine.get(size) == 5
    assert machine.bytes_at(room, 4) == b"\x7f\0\0\1"


def test_peeking_leaves_what_there_is(machine: Machine) -> None:
    number, peer = machine.connection()
    with peer:
        peer.sendall(b"hello")
        size, flags = machine.room(4), machine.room(2)
        for wanted in (1, 1, 2, 0):
            vectors = machine.vectors(5 if wanted else 0)
            error = machine.call("sock_recv", number, vectors, 1, wanted, size, flags)
            assert (error, machine.get(size)) == (0, 5 if wanted else 0)
        assert machine.call("sock_recv", number, machine.vectors(5), 1, 4, size, flags) == INVAL


def test_a_refused_connection_is_refused_and_an_open_one_in_progress(machine: Machine) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        address = machine.address("127.0.0.1")
        assert machine.call("sock_connect", machine.open(), address, port) == errnos.CONNREFUSED
        waiting = machine.open(flags=NONBLOCK)
        assert machine.call("sock_connect", waiting, address, port) == of(errno.EINPROGRESS)
        value, size = machine.room(4), machine.put(struct.pack("<I", 4))
        while machine.call("sock_getsockopt", waiting, 0, 2, value, size) == 0:
            if machine.get(value):
                break
        assert machine.get(value) == errnos.CONNREFUSED


def test_go_passes_the_length_of_an_option_itself(machine: Machine) -> None:
    number, value = machine.open(), machine.put(b"\xff" * 8)
    assert machine.call("sock_getsockopt", number, 0, 1, value, 4) == 0
    assert machine.bytes_at(value, 8) == b"\2\0\0\0\xff\xff\xff\xff"


def test_options_are_set_and_told(machine: Machine) -> None:
    number = machine.open()
    value, size = machine.put(struct.pack("<qq", 1, 500_000)), machine.put(struct.pack("<I", 16))
    assert machine.call("sock_setsockopt", number, 0, 11, value, 16) == 0
    told = machine.room(16)
    assert machine.call("sock_getsockopt", number, 0, 11, told, size) == 0
    assert struct.unpack("<qq", machine.bytes_at(told, 16)) == (1, 500_000)
    assert machine.call("sock_setsockopt", number, 0, 7, machine.put(b"\1\0\0\0"), 4) == 0
    machine.memory[size] = 4
    assert machine.call("sock_getsockopt", number, 0, 7, told, size) == 0
    assert machine.get(told) == 1
    assert machine.call("sock_setsockopt", number, 1, 7, value, 4) == INVAL
    assert machine.call("sock_setsockopt", number, 0, 15, value, 4) == INVAL
    assert machine.call("sock_setsockopt", number, 0, 7, value, 17) == INVAL
    assert machine.call("sock_setsockopt", number, 0, 7, value, 0) == INVAL
    assert machine.call("sock_setsockopt", number, 0, 13, value, 4) == of(errno.ENOPROTOOPT)
    machine.memory[size] = 0
    assert machine.call("sock_getsockopt", number, 0, 7, told, size) == 0


def test_errors_are_those_of_the_kernel(machine: Machine) -> None:
    server, port = machine.listener(flags=NONBLOCK)
    result = machine.room(4)
    again = machine.open()
    assert machine.call("sock_accept", server, 0, result) == errnos.AGAIN
    assert machine.call("sock_accept", server, 1, result) == INVAL
    address = machine.address("127.0.0.1")
    assert machine.call("sock_bind", again, address, port) == of(errno.EADDRINUSE)
    assert machine.call("sock_bind", again, address, 0x10000) == INVAL
    assert machine.call("sock_bind", again, machine.address("::1"), 0) != 0
    assert machine.send(again, b"x") in (errnos.of(errno.ENOTCONN), of(errno.EPIPE))
    assert machine.call("sock_shutdown", again, 3) == errnos.of(errno.ENOTCONN)
    assert machine.call("sock_shutdown", again, 0) == INVAL
    assert machine.call("sock_listen", machine.open(stream=False), 5) == errnos.NOTSUP
    assert machine.call("sock_listen", again, -1) == 0


def test_a_reset_connection_says_so_and_a_closed_one_is_a_broken_pipe(machine: Machine) -> None:
    number, peer = machine.connection()
    assert machine.send(number, b"unread") == 0
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    assert machine.receive(number)[0] == of(errno.ECONNRESET)
    assert machine.send(number, b"x") == of(errno.EPIPE)


def test_what_is_no_socket(machine: Machine) -> None:
    for number, error in ((1, errnos.NOTSOCK), (FIRST, BADF), (0xFFFFFFFF, BADF), (3, BADF)):
        assert machine.call("sock_listen", number, 1) == error
        assert machine.call("sock_accept", number, machine.room(4)) == error


def test_descriptors_say_what_they_are(machine: Machine) -> None:
    stat = machine.room(24)
    for number, kind in ((machine.open(), 6), (machine.open(stream=False), 5)):
        assert machine.call("fd_fdstat_get", number, stat) == 0
        assert (machine.get(stat, 1), machine.get(stat + 2, 2)) == (kind, 0)
        assert machine.get(stat + 8, 8) & (1 << 1 | 1 << 6)
        assert machine.call("fd_fdstat_set_flags", number, NONBLOCK) == 0
        assert machine.call("fd_fdstat_set_flags", number, 1) == INVAL
        assert machine.call("fd_fdstat_get", number, stat) == 0
        assert machine.get(stat + 2, 2) == NONBLOCK
        assert machine.receive(number)[0] in (errnos.AGAIN, errnos.of(errno.ENOTCONN))
        file = machine.room(64)
        assert machine.call("fd_filestat_get", number, file) == 0
        assert machine.get(file + 16, 1) == kind
        assert machine.call("fd_prestat_get", number, stat) == BADF
    assert machine.layer.refuse(FIRST, errnos.SPIPE) == errnos.SPIPE
    assert machine.layer.refuse(FIRST + 9, errnos.SPIPE) == BADF


def test_numbers_are_used_again(machine: Machine) -> None:
    numbers = [machine.open() for _ in range(4)]
    assert numbers == [FIRST, FIRST + 1, FIRST + 2, FIRST + 3]
    for number in (FIRST + 2, FIRST):
        assert machine.call("fd_close", number) == 0
        assert machine.call("fd_close", number) == BADF
    assert [machine.open() for _ in range(3)] == [FIRST, FIRST + 2, FIRST + 4]


def test_a_socket_takes_the_number_of_another(machine: Machine) -> None:
    one, two = machine.open(), machine.open(stream=False)
    assert machine.call("fd_renumber", two, one) == 0
    assert not machine.table.socket(one).stream
    assert machine.call("fd_close", two) == BADF
    assert machine.call("fd_renumber", one, one) == 0
    assert machine.call("fd_renumber", two, two) == BADF
    assert machine.call("fd_renumber", one, FIRST + 50) == 0
    assert [machine.open() for _ in range(3)] == [FIRST, FIRST + 1, FIRST + 2]


def test_a_socket_takes_the_number_of_a_file_for_good(machine: Machine) -> None:
    number = machine.open()
    marks: dict[int, bool] = {}
    machine.table.show(marks.__setitem__)
    assert marks == {0: True, 1: True, 2: True}
    assert machine.call("fd_renumber", number, FIRST_FILE + 1) == BADF
    assert machine.call("fd_renumber", number, FIRST_FILE) == 0
    assert marks[FIRST_FILE]
    assert machine.call("fd_close", FIRST_FILE) == 0
    assert machine.call("fd_close", FIRST_FILE) == BADF  # and is not wasmtime's again


def test_a_file_takes_the_place_of_standard_output(machine: Machine) -> None:
    marks: dict[int, bool] = {}
    machine.table.show(marks.__setitem__)
    assert machine.call("fd_renumber", FIRST_FILE, 1) == 0
    assert machine.originals == [("fd_renumber", FIRST_FILE, 1)]
    assert not marks[1]
    assert machine.call("fd_renumber", FIRST_FILE, machine.open()) == errnos.NOTSUP
    assert machine.call("fd_renumber", FIRST_FILE + 1, machine.open()) == BADF
