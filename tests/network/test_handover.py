"""Published ports that a container's process fetches, to listen on them itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.network import machine as machines
from tests.network.machine import Machine
from tests.network.nets import everywhere
from tests.network.trying import Trying, get, publication, tried

from wherry.network import NetworkError, PortInUse

pytestmark = pytest.mark.root


def fetch(run: Path, id: str) -> tuple[list[dict[str, Any]], list[socket.socket]]:
    """What the container's process is given that asks for the listening sockets of `id`."""
    told: list[dict[str, Any]] = []
    got: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as giver:
        giver.settimeout(60)
        giver.connect(str(run / "listeners.sock"))
        giver.send(id.encode())
        while True:
            packet, descriptors, _, _ = socket.recv_fds(giver, 65536, 64)
            if not packet:
                return told, got
            told += json.loads(packet)
            got += [socket.socket(fileno=fd) for fd in descriptors]


class Served:
    """A process that fetches its listeners and answers with its pid, as a guest would."""

    def __init__(self, run: Path, id: str) -> None:
        self._told, tell = socket.socketpair()
        self.pid = os.fork()
        if not self.pid:
            try:
                machines._call("unshare", machines._CLONE_NEWNET)
                machines._raise_loopback()
                told, got = fetch(run, id)
                for each in got:
                    each.listen()
                tell.send(json.dumps(told).encode())
                while got:
                    connection, _ = got[0].accept()
                    connection.send(b"the guest itself")
                    connection.close()
                signal.pause()
            finally:
                os._exit(1)
        tell.close()
        self._told.settimeout(60)
        self.told: list[dict[str, Any]] = json.loads(self._told.recv(1 << 16))

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@everywhere
def test_a_container_that_fetches_its_listeners_serves_them_itself(
    machine: Machine, user: int | None, run: Path
) -> None:
    async def trial(trying: Trying) -> None:
        client = trying.client
        ports = await client.reserve("web", [publication(80, 8084), publication(53, 0, "", "udp")])
        served = await asyncio.to_thread(Served, run, "web")
        try:
            assert served.told == [{"port": 80, "address": "127.0.0.1", "host_port": 8084}]
            # Once only, and nobody else's.
            assert fetch(run, "web") == fetch(run, "unknown") == ([], [])
            sandbox = trying.sandbox("web", 2, publications=ports)
            sandbox = msgspec.structs.replace(sandbox, pid=served.pid)
            await client.attach(sandbox)
            assert await asyncio.to_thread(get, "127.0.0.1", 8084) == b"the guest itself"
            # Another helper knows that it has them.
            os.kill(trying.helper(), signal.SIGKILL)
            async with asyncio.timeout(60):
                await client.lost.wait()
            assert await asyncio.to_thread(get, "127.0.0.1", 8084) == b"the guest itself"
            await client.attach(sandbox)
            assert await asyncio.to_thread(get, "127.0.0.1", 8084) == b"the guest itself"
            with pytest.raises(PortInUse, match="published by container web"):
                await client.reserve("other", [publication(80, 8084)])
        finally:
            served.end()
        while await client.attached():
            await asyncio.sleep(0.01)
        await client.reserve("other", [publication(80, 8084)])

    tried(machine, trial, run, user)


def test_listeners_that_were_fetched_are_remembered_when_attaching_fails(
    machine: Machine, run: Path
) -> None:
    async def trial(trying: Trying) -> None:
        client = trying.client
        ports = await client.reserve("web", [publication(80, 8085)])
        served = await asyncio.to_thread(Served, run, "web")
        try:
            sandbox = trying.sandbox("web", 2, publications=ports)
            sandbox = msgspec.structs.replace(sandbox, pid=served.pid)
            (wire,) = sandbox.attachments
            wrong = msgspec.structs.replace(wire, addresses=["192.0.2.1/99"])
            with pytest.raises(NetworkError, match="cannot be attached"):
                await client.attach(msgspec.structs.replace(sandbox, attachments=[wrong]))
            await client.attach(sandbox)
            assert await asyncio.to_thread(get, "127.0.0.1", 8085) == b"the guest itself"
            with pytest.raises(PortInUse, match="published by container web"):
                await client.reserve("other", [publication(80, 8085)])
        finally:
            served.end()

    tried(machine, trial, run, None)


def test_more_listeners_are_fetched_than_one_packet_carries(machine: Machine, run: Path) -> None:
    async def trial(trying: Trying) -> None:
        asked = [publication(n, 9000 + n) for n in range(1, 151)]
        assert await trying.client.reserve("web", asked) == asked
        told, got = await asyncio.to_thread(fetch, run, "web")
        assert [(each["port"], each["host_port"]) for each in told] == [
            (each.container_port, each.host_port) for each in asked
        ]
        assert [each.getsockname()[1] for each in got] == [each.host_port for each in asked]
        for each in got:
            assert os.get_blocking(each.fileno())
            each.close()

    tried(machine, trial, run, None)


def test_listeners_that_another_process_has_fetched_are_no_container_s(
    machine: Machine, run: Path
) -> None:
    async def trial(trying: Trying) -> None:
        ports = await trying.client.reserve("web", [publication(80, 8085)])
        told, got = fetch(run, "web")
        assert told and got
        with pytest.raises(NetworkError, match="fetched by another process"):
            await trying.client.attach(trying.sandbox("web", 2, publications=ports))
        for each in got:
            each.close()

    tried(machine, trial, run, None)
