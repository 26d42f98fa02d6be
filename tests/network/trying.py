"""Trials of the helper: each runs in a fork that is in a machine, and what it asserts comes back.

Afterwards the helper must have left by itself, with nothing in its log.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rcode
from tests.network.machine import Machine
from tests.network.nets import FRONT, Boxes, plug

from wherry.api import userns
from wherry.network import NetworkClient, Publication
from wherry.network.model import Attachment, Network, Sandbox

Trial = Callable[["Trying"], Awaitable[Any]]


class Trying:
    """What a trial has: a client, boxes to be containers, and what happens in them."""

    def __init__(self, run: Path, user: int | None) -> None:
        self.run, self.user = run, user
        self.client = NetworkClient(run)
        self.boxes = Boxes()

    def sandbox(self, id: str, host: int, network: Network = FRONT, **more: Any) -> Sandbox:
        """The box of that name, in a network, called by its name."""
        names = more.pop("names", [id])
        more.setdefault("dns", ["127.0.0.9"])  # nobody is there, as the kernel says at once
        wire = plug(network, host)
        attachment = Attachment(
            network=network, interface=wire.interface, mac=wire.mac,
            addresses=wire.addresses, default_route=True, names=names,
        )  # fmt: skip
        return self.boxes.sandbox(id, attachment, **more)

    def ask(self, id: str, name: str, kind: str = "A") -> list[str] | str:
        """What the container `id` is told of a name: data, or the response code without."""
        asked = dns.message.make_query(name, kind)
        said: dns.message.Message = self.boxes[id].do(
            lambda: dns.query.udp(asked, "127.0.0.11", timeout=60)
        )
        data = [str(each) for rrset in said.answer for each in rrset]
        return data or dns.rcode.to_text(said.rcode())

    def helper(self) -> int:
        """The helper's pid, as the kernel knows who listens."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.run / "network.sock"))
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid: int = struct.unpack("3i", peer)[0]
        assert pid != os.getpid()
        return pid


def publication(
    port: int, host_port: int, host_ip: str = "127.0.0.1", protocol: str = "tcp"
) -> Publication:
    return Publication(container_port=port, protocol=protocol, host_ip=host_ip, host_port=host_port)


def tried(machine: Machine, trial: Trial, run: Path, user: int | None) -> Any:
    return machine.call(_try, trial, run, user, user=user)


def _try(trial: Trial, run: Path, user: int | None) -> Any:
    if user is not None:
        userns.enter()
    return asyncio.run(_attempt(trial, run, user))


async def _attempt(trial: Trial, run: Path, user: int | None) -> Any:
    trying = Trying(run, user)
    try:
        return await trial(trying)
    finally:
        trying.boxes.end()
        trying.client.close()
        try:
            async with asyncio.timeout(60):
                while trying.client._place.is_served():
                    await asyncio.sleep(0.01)
        finally:
            log = (run / "network.log").read_text()
            assert not log, log


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


def get(address: str, port: int) -> bytes:
    """What is sent to who connects; empty if nobody lets it."""
    try:
        with socket.create_connection((address, port), 60) as connection:
            return connection.recv(100)
    except ConnectionError:
        return b""
