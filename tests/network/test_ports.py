"""Ports of the host, bound for containers: on the loopback."""

from __future__ import annotations

import socket

import msgspec
import pytest

from wherry.network.errors import PortInUse
from wherry.network.model import Publication
from wherry.network.ports import Ports


def wish(host_port: int = 0, host_ip: str = "127.0.0.1", protocol: str = "tcp") -> Publication:
    return Publication(container_port=80, protocol=protocol, host_ip=host_ip, host_port=host_port)


def test_a_port_is_one_container_s_until_it_is_released() -> None:
    ports = Ports()
    (mine,) = ports.reserve("one", [wish()]).publications
    for taken in (mine, msgspec.structs.replace(mine, host_ip="0.0.0.0")):
        with pytest.raises(PortInUse) as caught:
            ports.reserve("two", [taken])
        assert caught.value.holder == "one" and ports.get("two") is None
    # Another address, another protocol: another port.
    ports.reserve("two", [wish(mine.host_port, "127.0.0.2"), wish(mine.host_port, protocol="udp")])
    ports.release("one")
    ports.release("one")
    assert ports.reserve("three", [mine]).publications == [mine]
    ports.release("two")
    ports.release("three")
    assert not len(ports)


def test_all_or_none_are_bound() -> None:
    ports = Ports()
    (mine,) = ports.reserve("one", [wish()]).publications
    ports.release("one")
    with pytest.raises(PortInUse) as caught:
        ports.reserve("one", [mine, mine])
    assert caught.value.holder == "one"
    with socket.create_server(("127.0.0.1", mine.host_port)):
        with pytest.raises(PortInUse) as caught:
            ports.reserve("one", [mine])
        assert caught.value.holder is None


def test_a_port_of_all_addresses_is_the_same_in_both_families() -> None:
    ports = Ports()
    found = ports.reserve("one", [wish(host_ip="")]).publications
    assert [each.host_ip for each in found] in (["0.0.0.0", "::"], ["0.0.0.0"])
    assert len({each.host_port for each in found}) == 1
    ports.release("one")


def test_a_port_whose_last_connections_have_just_ended_may_be_had_again() -> None:
    ports = Ports()
    reservation = ports.reserve("one", [wish()])
    (bound,) = reservation.sockets.values()
    bound.listen()
    with socket.create_connection(bound.getsockname()) as guest:
        bound.setblocking(True)
        accepted, _ = bound.accept()
        accepted.close()  # this side ends first, and so has what remains of the connection
        assert guest.recv(1) == b""
    (mine,) = reservation.publications
    ports.release("one")
    ports.reserve("one", [mine])
    ports.release("one")


def test_what_a_container_has_got_is_remembered_and_not_bound() -> None:
    ports = Ports()
    with socket.create_server(("127.0.0.1", 0)) as guest:
        mine = wish(guest.getsockname()[1])
        reservation = ports.reserve("one", [mine, mine], handed=True)
        assert not reservation.sockets
        with pytest.raises(PortInUse) as caught:
            ports.reserve("two", [mine])
        assert caught.value.holder == "one"
        ports.release("one")
