"""Waiting for sockets, standard streams, files and clocks together."""

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from tests.runtime.sockets.machine import (
    FIRST_FILE,
    NONBLOCK,
    Machine,
    clock,
    readable,
    writable,
)

from wherry.runtime.wasi import errnos
from wherry.runtime.wasi.sockets.poll import MAX_SUBSCRIPTIONS
from wherry.runtime.wasi.sockets.table import FIRST

SOON = 1_000_000
LATE = 3600_000_000_000
CLOCK, READ, WRITE = range(3)


@pytest.fixture
def stdin() -> Iterator[int]:
    """Descriptor 0 is a pipe's end; this is the other."""
    before = os.dup(0)
    ours, theirs = os.pipe()
    os.dup2(ours, 0)
    os.close(ours)
    yield theirs
    os.dup2(before, 0)
    os.close(before)
    os.close(theirs)


def test_what_has_come_is_told_with_its_size(machine: Machine) -> None:
    number, peer = machine.connection()
    with peer:
        peer.sendall(b"hello")
        events = machine.poll(readable(7, number), clock(8, LATE))
        assert events == [(7, 0, READ, 5, 0)]
        assert machine.poll(writable(2**64 - 1, number)) == [(2**64 - 1, 0, WRITE, 1, 0)]


def test_both_directions_of_one_socket_are_told(machine: Machine) -> None:
    number, peer = machine.connection()
    with peer:
        peer.sendall(b"x")
        kinds = [event[2] for event in machine.poll(readable(1, number), writable(2, number))]
        assert kinds == [READ, WRITE]


def test_a_peer_that_has_left_is_readable_to_the_end(machine: Machine) -> None:
    number, peer = machine.connection()
    peer.close()
    assert machine.poll(readable(1, number)) == [(1, 0, READ, 0, 0)]
    assert machine.call("sock_shutdown", number, 2) == 0
    (event,) = machine.poll(readable(1, number))
    assert event[4] == 1  # both have hung up


def test_a_connection_that_waits_to_be_accepted_is_something_to_read(machine: Machine) -> None:
    number, port = machine.listener()
    assert machine.poll(readable(1, number), clock(2, 0)) == [(2, 0, CLOCK, 0, 0)]
    with socket.create_connection(("127.0.0.1", port)):
        assert machine.poll(readable(1, number), clock(2, LATE)) == [(1, 0, READ, 1, 0)]


def test_the_same_poll_is_about_the_socket_that_is_there_now(machine: Machine) -> None:
    number, peer = machine.connection()
    asked = readable(1, number), clock(2, 0)
    with peer:
        peer.sendall(b"x")
        for _ in range(2):
            assert [event[0] for event in machine.poll(*asked)] == [1, 2]
        assert machine.call("fd_close", number) == 0
        assert machine.poll(*asked)[0] == (1, errnos.BADF, READ, 0, 0)
    again, peer = machine.connection()
    assert again == number
    with peer:
        assert machine.poll(*asked) == [(2, 0, CLOCK, 0, 0)]
        peer.sendall(b"xy")
        assert machine.poll(*asked)[0] == (1, 0, READ, 2, 0)


def test_a_socket_asked_for_twice_is_told_twice(machine: Machine) -> None:
    number, peer = machine.connection()
    with peer:
        peer.sendall(b"x")
        assert machine.poll(readable(1, number), readable(1, number)) == [(1, 0, READ, 1, 0)] * 2


def test_clocks_may_be_anywhere_and_many(machine: Machine) -> None:
    number, peer = machine.connection()
    with peer:
        peer.sendall(b"x")
        asked = clock(1, 0), readable(2, number), clock(3, LATE), writable(4, number), clock(5, 0)
        assert [event[0] for event in machine.poll(*asked)] == [2, 4, 1, 5]


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
@pytest.mark.parametrize("which", [0, 1], ids=["realtime", "monotonic"])
def test_the_earlier_of_two_clocks_runs_out(which: int, absolute: bool) -> None:
    start = time.monotonic_ns()

    def original(machine: Machine, name: str, *arguments: int) -> int:
        assert name == "clock_time_get"  # the guest's begins with the guest
        struct.pack_into("<Q", machine.memory, arguments[2], time.monotonic_ns() - start)
        return 0

    machine = Machine(original)
    now = 0 if not absolute else time.time_ns() if which == 0 else 0
    later = clock(1, now + LATE, clock=which, absolute=absolute)
    sooner = clock(2, now + SOON, clock=which, absolute=absolute)
    assert machine.poll(later, sooner) == [(2, 0, CLOCK, 0, 0)]
    assert time.monotonic_ns() - start >= SOON


def test_a_time_that_never_comes_does_not_overflow(machine: Machine) -> None:
    number, peer = machine.connection()
    with peer:
        for which in (0, 1):
            events = machine.poll(writable(1, number), clock(2, 2**64 - 1, clock=which))
            assert [event[0] for event in events] == [1]
            asked = clock(2, 2**64 - 1, clock=which, absolute=True)
            assert [event[0] for event in machine.poll(writable(1, number), asked)] == [1]


def test_a_time_long_past_has_run_out(machine: Machine) -> None:
    assert machine.poll(clock(1, 0, clock=0, absolute=True)) == [(1, 0, CLOCK, 0, 0)]


def test_stdin_wakes_who_waits_for_it_and_a_socket(machine: Machine, stdin: int) -> None:
    number, _ = machine.listener()
    events: list[tuple[int, ...]] = []
    asked = (readable(1, 0), readable(2, number))
    waiting = threading.Thread(target=lambda: events.extend(machine.poll(*asked)))
    waiting.start()
    os.write(stdin, b"line\n")
    waiting.join()
    assert events == [(1, 0, READ, 5, 0)]
    assert machine.receive(0) == (0, b"line\n")


def test_stdin_that_does_not_block_says_again(machine: Machine, stdin: int) -> None:
    assert machine.call("fd_fdstat_set_flags", 0, NONBLOCK) == 0
    assert machine.receive(0)[0] == errnos.AGAIN
    assert os.get_blocking(0), "others share it"


def test_stdin_that_others_made_not_block_is_waited_for(machine: Machine, stdin: int) -> None:
    os.set_blocking(0, False)
    read: list[tuple[int, bytes]] = []
    waiting = threading.Thread(target=lambda: read.append(machine.receive(0)))
    waiting.start()
    os.write(stdin, b"line\n")
    waiting.join()
    assert read == [(0, b"line\n")]


def test_a_descriptor_that_is_not_open_is_told_at_once(machine: Machine) -> None:
    events = machine.poll(readable(1, FIRST), clock(2, LATE), writable(3, 3))
    assert (1, errnos.BADF, READ, 0, 0) in events


def test_files_are_ready_and_directories_cannot_be_polled() -> None:
    def original(machine: Machine, name: str, *arguments: int) -> int:
        assert name == "fd_fdstat_get"
        number, result = arguments
        machine.memory[result] = {FIRST_FILE: 4, FIRST_FILE + 1: 3}.get(number, 0)
        return 0 if machine.memory[result] else errnos.BADF

    machine = Machine(original)
    number, peer = machine.connection()
    with peer:
        asked = [readable(kind, FIRST_FILE + kind) for kind in range(3)]
        assert machine.poll(clock(9, LATE), readable(8, number), *asked) == [
            (0, 0, READ, 1, 0),
            (1, errnos.BADF, READ, 0, 0),
            (2, errnos.BADF, READ, 0, 0),
        ]
        peer.sendall(b"x")
        events = machine.poll(readable(8, number), writable(7, FIRST_FILE), clock(9, LATE))
        assert [event[0] for event in events] == [7, 8]


def test_many_sockets_are_polled_at_once(machine: Machine) -> None:
    numbers = [machine.listener()[0] for _ in range(80)]
    asked = [readable(number, number) for number in numbers]
    with socket.create_connection(machine.local(numbers[70])):
        assert [event[0] for event in machine.poll(*asked)] == [numbers[70]]


def test_nonsense_is_refused(machine: Machine) -> None:
    events, result = machine.room(32), machine.room(4)

    def poll(subscription: bytes, count: int = 1) -> int:
        return machine.call("poll_oneoff", machine.put(subscription), events, count, result)

    assert poll(clock(1, 0), 0) == errnos.INVAL
    assert poll(clock(1, 0), 2**32 - 1) == errnos.INVAL
    assert poll(clock(1, 0), MAX_SUBSCRIPTIONS) == errnos.FAULT
    assert poll(clock(1, 0, clock=2)) == errnos.INVAL
    assert poll(struct.pack("<QB39x", 1, 3)) == errnos.INVAL
    outside = len(machine.memory) - 47
    assert machine.call("poll_oneoff", outside, events, 1, result) == errnos.FAULT
    assert machine.call("poll_oneoff", machine.put(clock(1, 0)), outside + 20, 1, result) == (
        errnos.FAULT
    )
