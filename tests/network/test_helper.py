"""The helper process, as root and as an ordinary user, on a machine of its own.

A trial runs in a fork that is in the machine; what it asserts comes back. Afterwards the helper
must have left by itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rcode
import msgspec
import pytest
from tests.network import machine as machines
from tests.network.machine import FAR, INSIDE, NOBODY, Machine
from tests.network.nets import BACK, FRONT, Boxes, everywhere, plug

from wherry import __version__
from wherry.api import userns
from wherry.network import NetworkClient, NetworkError, PortInUse, Publication
from wherry.network.model import Attachment, Network, Sandbox

pytestmark = pytest.mark.root

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


@everywhere
def test_containers_find_each_other_until_they_end(
    machine: Machine, user: int | None, run: Path
) -> None:
    async def trial(trying: Trying) -> None:
        ask, client = trying.ask, trying.client
        await client.attach(trying.sandbox("one", 2))
        await client.attach(trying.sandbox("two", 3, names=["two", "db", "0123456789ab"]))
        await client.attach(trying.sandbox("apart", 2, BACK))
        for name in ("two", "DB", "0123456789ab", "two.front"):
            assert ask("one", name) == ["172.18.0.3"]
        assert ask("one", "two", "AAAA") == ["fd00:18::3"]
        assert ask("one", "two", "TXT") == "NOERROR"
        assert ask("one", "3.0.18.172.in-addr.arpa", "PTR") == ["two.front."]
        assert sorted(await client.attached()) == ["apart", "one", "two"]
        # A container is renamed, and one joins another network.
        await client.attach(trying.sandbox("two", 3, names=["two", "cache"]))
        assert ask("one", "cache") == ["172.18.0.3"]
        trying.boxes.end("two")
        await until(lambda: ask("one", "cache") != ["172.18.0.3"])
        assert await client.attached() == ["one", "apart"]
        await client.release("one")
        assert await client.attached() == ["apart"]

    tried(machine, trial, run, user)


@everywhere
def test_published_ports_lead_to_the_container_until_it_ends(
    machine: Machine, user: int | None, run: Path
) -> None:
    async def trial(trying: Trying) -> None:
        client = trying.client
        asked = [publication(80, 8080, "", "tcp"), publication(53, 0, "", "udp")]
        ports = await client.reserve("web", asked)
        assert [(each.host_ip, each.protocol) for each in ports] == [
            ("0.0.0.0", "tcp"), ("::", "tcp"), ("0.0.0.0", "udp"), ("::", "udp"),
        ]  # fmt: skip
        assert ports[2].host_port == ports[3].host_port > 0
        with pytest.raises(PortInUse, match="published by container web") as caught:
            await client.reserve("other", [publication(80, 8080)])
        assert caught.value.holder == "web"
        await client.attach(trying.sandbox("web", 2, publications=ports))
        web = trying.boxes["web"]
        assert await asyncio.to_thread(get, "127.0.0.1", 8080) == b""  # nobody listens yet
        with web.answering("0.0.0.0", 80):
            for address in ("127.0.0.1", "::1", INSIDE):
                assert await asyncio.to_thread(get, address, 8080)
        with (
            web.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as guest,
        ):
            server.bind(("0.0.0.0", 53))
            server.settimeout(60)
            guest.settimeout(60)
            for address in ("127.0.0.1", INSIDE):
                guest.sendto(b"ping", (address, ports[2].host_port))
                data, peer = await asyncio.to_thread(server.recvfrom, 100)
                server.sendto(data.upper(), peer)
                assert await asyncio.to_thread(guest.recvfrom, 100) == (
                    b"PING", (address, ports[2].host_port),
                )  # fmt: skip
        trying.boxes.end("web")
        while await client.attached():
            await asyncio.sleep(0.01)
        assert await client.reserve("other", [publication(80, 8080)])
        await client.release("other")

    tried(machine, trial, run, user)


@everywhere
def test_names_and_ports_go_on_while_the_engine_is_dead(
    machine: Machine, user: int | None, run: Path
) -> None:
    async def trial(trying: Trying) -> None:
        one, web = trying.sandbox("one", 2), trying.sandbox("web", 3)

        async def engine() -> None:
            client = NetworkClient(run)
            ports = await client.reserve("web", [publication(80, 8081)])
            await client.attach(one)
            await client.attach(msgspec.structs.replace(web, publications=ports))
            # What was begun and not finished goes with the engine.
            await client.reserve("unfinished", [publication(80, 8082)])
            os.kill(os.getpid(), signal.SIGKILL)

        child = os.fork()
        if not child:
            asyncio.set_event_loop(None)
            asyncio.events._set_running_loop(None)
            asyncio.run(engine())
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        assert trying.ask("one", "web") == ["172.18.0.3"]
        with trying.boxes["web"].answering("0.0.0.0", 80):
            assert await asyncio.to_thread(get, "127.0.0.1", 8081)
        assert sorted(await trying.client.attached()) == ["one", "web"]
        await trying.client.reserve("other", [publication(80, 8082)])
        with pytest.raises(PortInUse):
            await trying.client.reserve("another", [publication(80, 8081)])

    tried(machine, trial, run, user)


@everywhere
def test_a_helper_that_is_killed_is_noticed_and_another_one_takes_over(
    machine: Machine, user: int | None, run: Path
) -> None:
    async def trial(trying: Trying) -> None:
        client = trying.client
        ports = await client.reserve("web", [publication(80, 8083), publication(9, 0, "", "udp")])
        web = trying.sandbox("web", 2, publications=ports)
        await client.attach(web)
        assert not client.lost.is_set()
        os.kill(trying.helper(), signal.SIGKILL)
        async with asyncio.timeout(60):
            await client.lost.wait()
        assert await client.attached() == []
        await client.attach(web)
        assert not client.lost.is_set()
        assert trying.ask("web", "web") == ["172.18.0.2"]
        with trying.boxes["web"].answering("0.0.0.0", 80):
            assert await asyncio.to_thread(get, "127.0.0.1", 8083)

    tried(machine, trial, run, user)


@contextmanager
def resolver(machine: Machine, address: str) -> Iterator[list[str]]:
    """A name server of the machine's, which knows one address; the names that it was asked for."""
    asked: list[str] = []
    with machine.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))

        def answer() -> None:
            while data := server.recvfrom(4096):
                if not data[0]:
                    return
                said = dns.message.make_response(dns.message.from_wire(data[0]))
                name = said.question[0].name
                asked.append(name.to_text())
                said.answer.append(dns.rrset.from_text(name, 60, "IN", "A", FAR))
                server.sendto(said.to_wire(), data[1])

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield asked
        finally:
            with machine.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", (address, 53))
            thread.join()


@everywhere
def test_a_resolver_on_the_host_s_loopback_is_asked_but_not_for_an_internal_network(
    machine: Machine, user: int | None, run: Path
) -> None:
    hidden = msgspec.structs.replace(BACK, internal=True)

    async def trial(trying: Trying) -> None:
        servers = ["127.0.0.53"]
        await trying.client.attach(trying.sandbox("one", 2, dns=servers))
        await trying.client.attach(trying.sandbox("two", 2, hidden, dns=servers))
        assert await asyncio.to_thread(trying.ask, "one", "www.example.com") == [FAR]
        assert await asyncio.to_thread(trying.ask, "two", "exfiltrated.example.com") == "SERVFAIL"
        assert await asyncio.to_thread(trying.ask, "two", "two") == ["172.19.0.2"]

    with resolver(machine, "127.0.0.53") as asked:
        tried(machine, trial, run, user)
    assert asked == ["www.example.com."]


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


def test_a_helper_that_hangs_is_told_of(machine: Machine, run: Path) -> None:
    async def trial(trying: Trying) -> None:
        await trying.client.attach(trying.sandbox("one", 2))
        helper = trying.helper()
        os.kill(helper, signal.SIGSTOP)
        trying.client.patience = 0.05
        with pytest.raises(NetworkError, match="does not answer"):
            await trying.client.attached()
        os.kill(helper, signal.SIGCONT)
        trying.client.patience = 60
        assert await trying.client.attached() == ["one"]

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


def test_a_port_of_another_program_and_a_privileged_one_are_told_apart(
    machine: Machine, run: Path
) -> None:
    async def trial(trying: Trying) -> None:
        with socket.create_server(("127.0.0.1", 8086)):
            with pytest.raises(PortInUse, match="in use by another program") as caught:
                await trying.client.reserve("web", [publication(81, 8087), publication(80, 8086)])
            assert caught.value.holder is None
            # All or none.
            await trying.client.reserve("web", [publication(81, 8087)])
        with pytest.raises(NetworkError, match="for root"):
            await trying.client.reserve("low", [publication(80, 80)])
        with pytest.raises(NetworkError, match="no address of this host"):
            await trying.client.reserve("far", [publication(80, 8088, FAR)])
        with pytest.raises(PortInUse, match="published by container same"):
            await trying.client.reserve("same", [publication(80, 8088), publication(81, 8088)])

    tried(machine, trial, run, NOBODY)


def test_other_names_are_asked_of_the_container_s_servers_and_egress_is_opened_for_them(
    machine: Machine, run: Path
) -> None:
    async def trial(trying: Trying) -> None:
        lines: list[tuple[str, str]] = []
        trying.client.on_denied = lambda id, line: lines.append((id, line))
        await trying.client.attach(
            trying.sandbox("one", 2, dns=["172.18.0.3"], egress="a.example.com:80,two")
        )
        await trying.client.attach(trying.sandbox("two", 3))
        two = trying.boxes["two"]
        server = two.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("0.0.0.0", 53))
        server.setblocking(False)

        def answer() -> None:
            data, peer = server.recvfrom(4096)
            said = dns.message.make_response(dns.message.from_wire(data))
            name = said.question[0].name
            said.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "172.18.0.3"))
            server.sendto(said.to_wire(), peer)

        asyncio.get_running_loop().add_reader(server, answer)

        def reach(port: int) -> str:
            with trying.boxes["one"].socket() as connection:
                connection.settimeout(60)
                try:
                    connection.connect(("172.18.0.3", port))
                except ConnectionRefusedError:
                    return "refused"
                return "reached"

        with two.answering("0.0.0.0", 80), two.answering("0.0.0.0", 81):
            assert await asyncio.to_thread(reach, 80) == "refused"
            assert await asyncio.to_thread(trying.ask, "one", "a.example.com") == ["172.18.0.3"]
            assert await asyncio.to_thread(reach, 80) == "reached"
            assert await asyncio.to_thread(reach, 81) == "refused"
            assert await asyncio.to_thread(trying.ask, "one", "b.example.com") == "NXDOMAIN"
            # Its neighbour's name allows all ports of it.
            assert await asyncio.to_thread(trying.ask, "one", "two") == ["172.18.0.3"]
            assert await asyncio.to_thread(reach, 81) == "reached"
        asyncio.get_running_loop().remove_reader(server)
        server.close()
        await until(lambda: len(lines) >= 3)
        assert all(id == "one" for id, _ in lines)
        told = " ".join(line for _, line in lines)
        assert "172.18.0.3:80 " in told and "172.18.0.3:81 " in told and "b.example.com" in told

    tried(machine, trial, run, None)


def test_who_asks_for_nonsense_is_let_go_and_others_are_not(machine: Machine, run: Path) -> None:
    async def trial(trying: Trying) -> None:
        await trying.client.attach(trying.sandbox("one", 2))
        for nonsense in (
            b"\xff\xff\xff\xff",
            struct.pack("!I", 5) + b"{}   ",
            struct.pack("!I", 2) + b"[]",
            struct.pack("!I", len(__version__) + 2)
            + f'"{__version__}"'.encode()
            + struct.pack("!I", 2)
            + b"{}",
            b"\0\0",
        ):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.settimeout(60)
                stranger.connect(str(run / "network.sock"))
                stranger.sendall(nonsense)
                stranger.shutdown(socket.SHUT_WR)
                assert await asyncio.to_thread(stranger.recv, 100) == b""
        assert await trying.client.attached() == ["one"]
        with pytest.raises(NetworkError, match="has ended"):
            await trying.client.attach(
                Sandbox(id="gone", pid=2**22 - 1, name="gone", attachments=[])
            )
        (run / "network.log").write_text("")

    tried(machine, trial, run, None)


@everywhere
def test_a_helper_of_another_version_makes_room_for_one_of_the_engine_s(
    machine: Machine, user: int | None, run: Path
) -> None:
    async def trial(trying: Trying) -> None:
        one = trying.sandbox("one", 2)
        await trying.client.attach(one)
        before = trying.helper()
        with socket.socket(socket.AF_UNIX) as newer:
            newer.settimeout(60)
            newer.connect(str(run / "network.sock"))
            newer.sendall(struct.pack("!I", 7) + b'"9.9.9"')
            assert await asyncio.to_thread(newer.recv, 100) == b""
        async with asyncio.timeout(60):
            await trying.client.lost.wait()
        await trying.client.attach(one)
        assert trying.helper() != before
        assert trying.ask("one", "one") == ["172.18.0.2"]

    tried(machine, trial, run, user)


def test_the_socket_is_for_its_owner_alone(machine: Machine, run: Path) -> None:
    async def trial(trying: Trying) -> None:
        await trying.client.attach(trying.sandbox("one", 2))
        for name in ("network.sock", "listeners.sock"):
            assert (run / name).stat().st_mode & 0o777 == 0o600
        (run / "network.sock").chmod(0o666)
        (run / "listeners.sock").chmod(0o666)
        for name, kind in (("network.sock", "STREAM"), ("listeners.sock", "SEQPACKET")):
            code = (
                f"import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_{kind});"
                f"s.connect({str(run / name)!r}); s.settimeout(60); print(s.recv(10))"
            )
            done = subprocess.run(
                ["setpriv", "--reuid=65534", "--clear-groups", "python3", "-c", code],
                capture_output=True, text=True, cwd="/",
            )  # fmt: skip
            assert done.stdout == "b''\n", done

    tried(machine, trial, run, None)


def test_clients_that_come_at_once_start_one_helper(machine: Machine, run: Path) -> None:
    async def trial(trying: Trying) -> None:
        clients = [NetworkClient(run) for _ in range(8)]
        await asyncio.gather(
            *(
                client.reserve(f"c{n}", [publication(80, 8100 + n)])
                for n, client in enumerate(clients)
            )
        )
        with pytest.raises(PortInUse, match="published by container c0"):
            await clients[7].reserve("late", [publication(80, 8100)])
        for client in clients:
            client.close()

    tried(machine, trial, run, None)


def test_egress_is_opened_for_names_of_the_hosts_file(machine: Machine, run: Path) -> None:
    """Nobody is asked for those."""

    async def trial(trying: Trying) -> None:
        hosts = {"store": "172.18.0.3"}
        await trying.client.attach(trying.sandbox("one", 2, hosts=hosts, egress="store:80"))
        await trying.client.attach(trying.sandbox("two", 3))

        def reach(address: str, port: int) -> str:
            with trying.boxes["one"].socket() as connection:
                connection.settimeout(60)
                try:
                    connection.connect((address, port))
                except ConnectionRefusedError:
                    return "refused"
                return "reached"

        with trying.boxes["two"].answering("0.0.0.0", 80):
            assert await asyncio.to_thread(reach, "172.18.0.3", 80) == "reached"
            assert await asyncio.to_thread(reach, "172.18.0.3", 81) == "refused"

    tried(machine, trial, run, None)
