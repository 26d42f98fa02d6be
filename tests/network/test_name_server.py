"""The name server's sockets, and others that it asks, on the loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.network.test_names import World, query, web

from wherry.network.dns import upstream
from wherry.network.dns.question import Question
from wherry.network.dns.server import _MOST, NameServer, sockets
from wherry.network.dns.upstream import HostServers, answers, ask, question_of
from wherry.network.errors import NetworkError

Reply = Callable[[dns.message.Message], bytes]


class Resolver(asyncio.DatagramProtocol):
    """A name server of the world's, at a port of the loopback, by UDP and TCP."""

    def __init__(self, reply: Reply, tcp_reply: Reply | None = None) -> None:
        self.reply, self.tcp_reply = reply, tcp_reply or reply
        self.seen: list[dns.message.Message] = []
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.seen.append(dns.message.from_wire(data))
        self.transport.sendto(self.reply(self.seen[-1]), address)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        reply = self.tcp_reply(dns.message.from_wire(data))
        writer.write(len(reply).to_bytes(2) + reply)
        writer.close()


@asynccontextmanager
async def resolver(reply: Reply, tcp_reply: Reply | None = None) -> AsyncIterator[Resolver]:
    loop = asyncio.get_running_loop()
    made = Resolver(reply, tcp_reply)
    while True:
        datagrams, other = sockets("127.0.0.1", 0)
        other.close()
        try:
            server = await asyncio.start_server(made.converse, *datagrams.getsockname())
            break
        except OSError:  # that port is free for UDP only
            datagrams.close()
    transport, _ = await loop.create_datagram_endpoint(lambda: made, sock=datagrams)
    made.port = datagrams.getsockname()[1]
    try:
        yield made
    finally:
        transport.close()
        server.close()


def telling(*addresses: str, rcode: dns.rcode.Rcode = dns.rcode.NOERROR) -> Reply:
    def reply(asked: dns.message.Message) -> bytes:
        response = dns.message.make_response(asked)
        response.set_rcode(rcode)
        if addresses:
            name = asked.question[0].name
            response.answer.append(dns.rrset.from_text(name, 60, "IN", "A", *addresses))
        return response.to_wire()

    return reply


def cut(asked: dns.message.Message) -> bytes:
    response = dns.message.make_response(asked)
    response.flags |= dns.flags.TC
    return response.to_wire()


def told(wire: bytes | None) -> list[str]:
    assert wire is not None
    return [str(data) for rrset in dns.message.from_wire(wire).answer for data in rrset]


class Served:
    """A container's name server on the loopback."""

    def __init__(self, world: World, port: int = 0) -> None:
        self.denied: list[str] = []
        self.allowed: list[tuple[str, ...]] = []
        self.upstream = port
        pair = sockets("127.0.0.1", 0)
        self.port, self.tcp_port = (each.getsockname()[1] for each in pair)
        self.server = NameServer(world.answers, pair, self._ask, self._allow, self.denied.append)

    async def _ask(self, question: Question) -> bytes | None:
        return await ask(question.wire, ["127.0.0.1"], port=self.upstream)

    async def _allow(self, question: Question, addresses: tuple[str, ...]) -> None:
        await asyncio.sleep(0)
        self.allowed.append(addresses)

    async def udp(self, name: str, kind: str = "A") -> dns.message.Message:
        asked = dns.message.make_query(name, kind)
        return await dns.asyncquery.udp(asked, "127.0.0.1", timeout=60, port=self.port)

    async def tcp(self, name: str, kind: str = "A") -> dns.message.Message:
        asked = dns.message.make_query(name, kind)
        return await dns.asyncquery.tcp(asked, "127.0.0.1", timeout=60, port=self.tcp_port)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Served]]:
    made: list[Served] = []

    def make(world: World, port: int = 0) -> Served:
        made.append(Served(world, port))
        return made[-1]

    yield make
    for each in made:
        each.server.close()


def test_the_container_cannot_have_its_name_servers_port_as_well() -> None:
    """It would get what is asked there, and could answer itself."""
    for mine in sockets("127.0.0.1", 0):
        with mine, socket.socket(socket.AF_INET, mine.type) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind(mine.getsockname())
                other.listen()


async def test_what_cannot_be_allowed_is_not_told(serve: Callable[..., Served]) -> None:
    """Of addresses that names led to, only so many are kept."""
    served = serve(World(web(), egress="web:80"))

    async def full(question: Question, addresses: tuple[str, ...]) -> None:
        raise NetworkError("container web has looked up too many addresses: no more")

    served.server._allow = full
    for asked in (served.udp, served.tcp):
        assert (await asked("web")).rcode() == dns.rcode.SERVFAIL


async def test_of_a_flood_of_queries_only_so_many_wait(serve: Callable[..., Served]) -> None:
    """Each that leads to a new address has rules changed, which is done in turn."""
    served = serve(World(web(), egress="web:80"))
    enough = asyncio.Event()

    async def allow(question: Question, addresses: tuple[str, ...]) -> None:
        await enough.wait()

    served.server._allow = allow
    asked = dns.message.make_query("web", "A").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", served.port))
        client.setblocking(False)
        for _ in range(_MOST + 20):
            client.send(asked)
        # This one waits for nothing, and is looked at last.
        client.send(b"12\x28\0" + bytes(8))
        loop = asyncio.get_running_loop()
        assert (await loop.sock_recv(client, 512))[:2] == b"12"
        assert len(served.server._waiting) == _MOST
        enough.set()
        for _ in range(_MOST):
            assert (await loop.sock_recv(client, 512))[:2] == asked[:2]


async def test_names_are_told_by_udp_and_tcp(serve: Callable[..., Served]) -> None:
    served = serve(World(web()))
    for way in (served.udp, served.tcp):
        response = await way("web")
        assert told(response.to_wire()) == ["172.18.0.2"]


async def test_other_names_are_asked_of_others_and_their_response_comes_unchanged(
    serve: Callable[..., Served],
) -> None:
    async with resolver(telling("203.0.113.7")) as world:
        served = serve(World(), world.port)
        for way in (served.udp, served.tcp):
            response = await way("example.com")
            assert told(response.to_wire()) == ["203.0.113.7"] and response.answer[0].ttl == 60
        # The number of the container's query is not what is sent out.
        assert len({asked.id for asked in world.seen}) == 2


async def test_what_was_cut_short_is_asked_again_by_tcp(serve: Callable[..., Served]) -> None:
    many = [f"203.0.113.{n}" for n in range(1, 100)]
    async with resolver(cut, telling(*many)) as world:
        served = serve(World(), world.port)
        assert (await served.udp("example.com")).flags & dns.flags.TC
        assert len(told((await served.tcp("example.com")).to_wire())) == 99


async def test_the_next_server_is_asked_when_one_fails_or_is_not_there() -> None:
    async with resolver(telling(rcode=dns.rcode.SERVFAIL)) as failing:
        port = failing.port
        pair = sockets("127.0.0.2", port)
        pair[1].close()
        good = Resolver(telling("203.0.113.7"))
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: good, sock=pair[0])
        wire = query("example.com")
        assert told(await ask(wire, ["127.0.0.1", "127.0.0.2"], port=port)) == ["203.0.113.7"]
        # Nobody listens at 127.0.0.3, which the kernel tells at once.
        assert told(await ask(wire, ["127.0.0.3", "127.0.0.2"], port=port)) == ["203.0.113.7"]
        assert await ask(wire, ["127.0.0.3"], port=port) is None
        # What a server says is said when no other knows better.
        said = await ask(wire, ["127.0.0.3", "127.0.0.1"], port=port)
        assert said is not None and dns.message.from_wire(said).rcode() == dns.rcode.SERVFAIL
        transport.close()


async def test_a_forged_response_is_not_taken() -> None:
    genuine = telling("203.0.113.7")

    class Forger(Resolver):
        def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
            asked = dns.message.from_wire(data)
            other = dns.message.make_query("other.example.com", "A", id=asked.id)
            wrong = dns.message.make_query("example.com", "A", id=asked.id ^ 1)
            for forged in (other, wrong):
                self.transport.sendto(telling("10.6.6.6")(forged), address)
            self.transport.sendto(data, address)  # not even a response
            self.transport.sendto(genuine(asked), address)

    datagrams, listener = sockets("127.0.0.1", 0)
    listener.close()
    port = datagrams.getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Forger(genuine), sock=datagrams
    )
    assert told(await ask(query("example.com"), ["127.0.0.1"], port=port)) == ["203.0.113.7"]
    transport.close()


async def test_nobody_to_ask_is_a_failure_not_silence(serve: Callable[..., Served]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    assert (await serve(World(), port).udp("example.com")).rcode() == dns.rcode.SERVFAIL


async def test_queries_beyond_those_that_may_wait_fail_at_once(
    serve: Callable[..., Served],
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        served = serve(World(), silent.getsockname()[1])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as guest:
            guest.setblocking(False)
            guest.connect(("127.0.0.1", served.port))
            loop = asyncio.get_running_loop()
            for n in range(200):
                await loop.sock_sendall(guest, query(f"n{n}.example.com"))
            response = dns.message.from_wire(await loop.sock_recv(guest, 512))
            assert response.rcode() == dns.rcode.SERVFAIL
            # What is known here is told nevertheless.
            assert told((await served.udp("me")).to_wire()) == ["172.18.0.9"]


async def test_an_address_is_learned_before_it_is_told(serve: Callable[..., Served]) -> None:
    async with resolver(telling("203.0.113.7")) as world:
        served = serve(World(web(), egress="web:80,example.com"), world.port)
        for way in (served.udp, served.tcp):
            served.allowed.clear()
            await way("web")
            assert served.allowed == [("172.18.0.2",)]
            await way("example.com")
            assert served.allowed == [("172.18.0.2",), ("203.0.113.7",)]
            assert (await way("example.org")).rcode() == dns.rcode.NXDOMAIN
        assert served.denied == ["example.org", "example.org"]
        assert len(world.seen) == 2


async def test_rubbish_does_not_stop_the_server(serve: Callable[..., Served]) -> None:
    served = serve(World(web()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as guest:
        for rubbish in (b"", b"x", bytes(12), bytes(4096), b"\xff" * 5000):
            guest.sendto(rubbish, ("127.0.0.1", served.port))
    for rubbish in (b"\0\0", b"\xff\xff", b"\0\5x", b"\0\x0c" + bytes(12), b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.tcp_port)
        writer.write(rubbish)
        writer.write_eof()
        await reader.read()
        writer.close()
    assert told((await served.udp("web")).to_wire()) == ["172.18.0.2"]


async def test_connections_are_few_and_one_carries_several_queries(
    serve: Callable[..., Served],
) -> None:
    served = serve(World(web()))
    opened = [await asyncio.open_connection("127.0.0.1", served.tcp_port) for _ in range(40)]
    ended = await asyncio.wait_for(opened[-1][0].read(), 60)
    assert ended == b""
    reader, writer = opened[0]
    for n in range(3):
        wire = dns.message.make_query("web", "A", id=n + 1).to_wire()
        writer.write(len(wire).to_bytes(2) + wire)
        length = int.from_bytes(await reader.readexactly(2))
        assert dns.message.from_wire(await reader.readexactly(length)).id == n + 1
    for _, each in opened:
        each.close()


def test_the_host_s_servers_are_read_again_when_they_have_changed(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    servers = HostServers(conf)
    assert servers() == ["127.0.0.1"]
    conf.write_text(
        "# one\nnameserver 192.0.2.1\nsearch x\nnameserver fe80::1%eth0\nnameserver x\n"
    )
    assert servers() == ["192.0.2.1", "fe80::1%eth0"]
    beside = tmp_path / "new"
    beside.write_text("nameserver 192.0.2.9\n")
    beside.rename(conf)
    assert servers() == ["192.0.2.9"]
    conf.unlink()
    assert servers() == ["127.0.0.1"]


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_no_bytes_are_an_answer_to_others(asked: bytes, said: bytes) -> None:
    question_of(said)
    if answers(asked, said):
        assert asked[:2] == said[:2]


def test_a_response_is_one_whatever_the_case_of_its_name() -> None:
    asked = query("Example.COM")
    said = bytearray(dns.message.make_response(dns.message.from_wire(asked)).to_wire())
    assert answers(asked, bytes(said).replace(b"Example", b"eXAMPLE"))
    assert not answers(asked, bytes(said).replace(b"Example", b"Exempla"))
    assert not answers(asked, asked)
    assert upstream.parse_servers("nameserver") == []
