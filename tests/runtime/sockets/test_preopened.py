"""Listening sockets that a guest finds open, and whether they block."""

import socket
from collections.abc import Iterator

import pytest
from tests.runtime.sockets.machine import NONBLOCK, Machine

from wherry.runtime.wasi import errnos

LISTENER = 3


@pytest.fixture
def port(machine: Machine) -> Iterator[int]:
    """The port of a socket that is open as descriptor 3."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    machine.table.preopen([listener])
    yield listener.getsockname()[1]


def flags(machine: Machine, number: int) -> int:
    stat = machine.room(24)
    assert machine.call("fd_fdstat_get", number, stat) == 0
    return machine.get(stat + 2, 2)


def blocks(machine: Machine) -> bool:
    return machine.table.socket(LISTENER).socket.getblocking()


def test_it_blocks_who_accepts_without_asking(machine: Machine, port: int) -> None:
    """Rust's and C's libraries do, and end at EAGAIN."""
    assert blocks(machine)
    with socket.create_connection(("127.0.0.1", port)):
        assert machine.call("sock_accept", LISTENER, 0, machine.room(4)) == 0


def test_it_does_not_block_who_has_asked_for_its_flags(machine: Machine, port: int) -> None:
    """Go asks, and believes what it is told: its accept would stop all goroutines."""
    assert flags(machine, LISTENER) == NONBLOCK
    assert machine.call("sock_accept", LISTENER, 0, machine.room(4)) == errnos.AGAIN
    assert flags(machine, LISTENER) == NONBLOCK


def test_it_is_as_the_guest_has_set_it(machine: Machine, port: int) -> None:
    assert machine.call("fd_fdstat_set_flags", LISTENER, 0) == 0
    assert flags(machine, LISTENER) == 0 and blocks(machine)
    assert machine.call("fd_fdstat_set_flags", LISTENER, NONBLOCK) == 0
    assert flags(machine, LISTENER) == NONBLOCK and not blocks(machine)


def test_a_socket_that_the_guest_opened_blocks_until_it_is_told_not_to(machine: Machine) -> None:
    number, _ = machine.listener()
    assert flags(machine, number) == 0
    assert machine.table.socket(number).socket.getblocking()
