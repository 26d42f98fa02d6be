"""One descriptor of the guest's that listens in its network and on the host."""

import socket
from collections.abc import Iterator

import pytest
from tests.runtime.sockets.machine import NONBLOCK, Machine, clock, readable

from wherry.runtime.wasi import errnos

PORT = 4711
"""Any port in the container; in these tests its network is the machine's own, at 127.0.0.2."""


@pytest.fixture
def host() -> Iterator[socket.socket]:
    """A port of the host's, bound and not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


def served(machine: Machine, flags: int = 0, address: str = "0.0.0.0") -> int:
    number = machine.open(flags=flags)
    assert machine.call("sock_bind", number, machine.address(address), 0) == 0
    return number


def published(machine: Machine, number: int, host: socket.socket) -> None:
    machine.table.published[machine.local(number)[1]] = [host]
    assert machine.call("sock_listen", number, 16) == 0


def accept(machine: Machine, number: int) -> tuple[int, int]:
    result = machine.room(4)
    error = machine.call("sock_accept", number, NONBLOCK, result)
    return error, machine.get(result)


def test_connections_of_both_sides_are_accepted(machine: Machine, host: socket.socket) -> None:
    number = served(machine)
    published(machine, number, host)
    inside = ("127.0.0.2", machine.local(number)[1])
    for address in (inside, host.getsockname(), inside):
        with socket.create_connection(address) as client:
            assert [event[0] for event in machine.poll(readable(1, number))] == [1]
            error, accepted = accept(machine, number)
            assert error == 0
            assert machine.peer(accepted) == client.getsockname()


def test_who_waits_for_connections_waits_for_those_of_the_host_once_it_listens(
    machine: Machine, host: socket.socket
) -> None:
    number = served(machine, NONBLOCK)
    asked = readable(1, number), clock(2, 0)
    machine.poll(*asked)
    published(machine, number, host)
    assert [event[0] for event in machine.poll(*asked)] == [2]
    with socket.create_connection(host.getsockname()):
        assert [event[0] for event in machine.poll(*asked)] == [1, 2]
    assert machine.call("sock_shutdown", number, 3) == 0
    assert machine.call("sock_listen", number, 16) == 0
    with (
        socket.create_connection(host.getsockname()),
        socket.create_connection(("127.0.0.2", machine.local(number)[1])),
    ):
        assert [event[0] for event in machine.poll(*asked)] == [1, 2]


def test_who_does_not_wait_is_told_that_nobody_is_there(
    machine: Machine, host: socket.socket
) -> None:
    number = served(machine, NONBLOCK)
    published(machine, number, host)
    assert accept(machine, number)[0] == errnos.AGAIN


def test_what_is_set_reaches_the_host_as_far_as_connections_have_it_of_their_listener(
    machine: Machine, host: socket.socket
) -> None:
    """Not its devices: a guest's eth0 is another one than the host's."""
    number = served(machine)
    published(machine, number, host)
    here = machine.put(b"lo\0")
    assert machine.call("sock_setsockopt", number, 0, 14, here, 3) == 0  # SO_BINDTODEVICE
    assert machine.call("sock_setsockopt", number, 0, 7, machine.put(b"\1\0\0\0"), 4) == 0
    assert host.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16) == b""
    assert host.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_what_listens_on_loopback_is_not_published(machine: Machine, host: socket.socket) -> None:
    number = served(machine, address="127.0.0.1")
    published(machine, number, host)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(host.getsockname())


@pytest.mark.parametrize("how", ["close", "shut down"])
def test_nobody_listens_on_the_host_after_the_guest_and_it_may_again(
    machine: Machine, host: socket.socket, how: str
) -> None:
    for _ in range(2):
        number = served(machine)
        published(machine, number, host)
        socket.create_connection(host.getsockname()).close()
        if how == "close":
            assert machine.call("fd_close", number) == 0
        else:
            assert machine.call("sock_shutdown", number, 3) == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(host.getsockname())


def test_sockets_are_open_when_the_guest_begins(machine: Machine, host: socket.socket) -> None:
    with socket.create_server(("127.0.0.2", 0)) as inside:
        machine.table.published[inside.getsockname()[1]] = [host]
        machine.table.preopen([inside])
        assert machine.table.preopened == 1
        prestat = machine.room(8)
        assert machine.call("fd_prestat_get", 3, prestat) == 0
        assert machine.get(prestat, 1) != 0  # no directory
        assert machine.call("fd_prestat_get", 4, prestat) == errnos.BADF
        for address in (inside.getsockname(), host.getsockname()):
            with socket.create_connection(address) as client:
                error, accepted = accept(machine, 3)
                assert error == 0
                assert machine.peer(accepted) == client.getsockname()
