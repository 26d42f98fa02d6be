"""The helper process, as root and as an ordinary user, on a machine of its own.

Ports that containers fetch are in test_handover.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import msgspec
import pytest
from tests.network.machine import FAR, INSIDE, NOBODY, Machine
from tests.network.nets import BACK, everywhere
from tests.network.trying import Trying, get, publication, tried, until

from wherry import __version__
from wherry.network import NetworkClient, NetworkError, PortInUse
from wherry.network.model import Sandbox

pytestmark = pytest.mark.root


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
