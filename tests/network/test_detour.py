"""How queries to 127.0.0.11 get to the name server of a container."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tests.network.machine import Machine
from tests.network.nets import Boxes, everywhere, tried

from wherry.network.dns.detour import detoured_sockets
from wherry.network.links import Links

pytestmark = pytest.mark.root


def _heard() -> bytes:
    """What the newer of two name servers hears, of which the older one was killed."""
    for socket_ in detoured_sockets():
        socket_.close()
    datagrams, _ = pair = detoured_sockets()
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.sendto(b"who?", ("127.0.0.11", 53))
        datagrams.settimeout(30)
        heard = datagrams.recv(100)
    for socket_ in pair:
        socket_.close()
    return heard


@everywhere
def test_queries_get_to_the_server_that_came_last(
    machine: Machine, user: int | None, run: Path
) -> None:
    async def trial(links: Links, boxes: Boxes) -> object:
        return boxes["one"].do(_heard)

    assert tried(machine, trial, run, user) == b"who?"
