"""Published ports carried by the helper, with real sockets on the loopback."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import resource
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from wherry.network.forwarding import tcp
from wherry.network.forwarding.sockets import DistantSockets, Sockets
from wherry.network.forwarding.tcp import TcpForwarder
from wherry.network.forwarding.udp import Room, UdpForwarder

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Port:
    """A published port, forwarded to a server in this process."""

    def __init__(self, sockets: Sockets | None = None, most: int = 1000) -> None:
        self.forwarder = TcpForwarder(sockets or Sockets(), most)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.address = self.listener.getsockname()
        self.target: tuple[str, int] | None = None
        self._servers: list[asyncio.Server] = []

    async def serve(self, handler: Handler) -> Port:
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        self._servers.append(server)
        self.target = server.sockets[0].getsockname()
        self.forwarder.serve(self.listener, lambda: self.target)
        return self

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address)

    def close(self) -> None:
        self.forwarder.close()
        self.listener.close()
        for server in self._servers:
            server.close()


@pytest.fixture
async def publish() -> AsyncIterator[Callable[..., Port]]:
    made: list[Port] = []

    def make(sockets: Sockets | None = None, most: int = 1000) -> Port:
        made.append(Port(sockets, most))
        return made[-1]

    yield make
    for port in made:
        port.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say back what comes, to its end."""
    while chunk := await reader.read(1 << 16):
        writer.write(chunk)
        await writer.drain()
    writer.close()


async def digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read to the end, then answer: who sends must be able to end its half alone."""
    seen = hashlib.sha256()
    while chunk := await reader.read(1 << 16):
        seen.update(chunk)
    writer.write(seen.digest())
    writer.close()


async def test_what_is_sent_arrives_and_each_half_ends_by_itself(
    publish: Callable[..., Port],
) -> None:
    port = await publish().serve(digest)
    sent = os.urandom(5 << 20)
    reader, writer = await port.connect()
    writer.write(sent)
    writer.write_eof()
    assert await reader.read() == hashlib.sha256(sent).digest()
    writer.close()


async def test_a_server_that_ends_its_half_first_still_hears_the_client(
    publish: Callable[..., Port],
) -> None:
    heard = asyncio.get_running_loop().create_future()

    async def ends_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"go on")
        writer.write_eof()
        heard.set_result(await reader.read())
        writer.close()

    port = await publish().serve(ends_first)
    reader, writer = await port.connect()
    assert await reader.read() == b"go on"
    writer.write(b"I did")
    writer.write_eof()
    assert await heard == b"I did"
    writer.close()


async def test_both_directions_at_once_and_many_connections(publish: Callable[..., Port]) -> None:
    port = await publish().serve(echo)

    async def trip(n: int) -> None:
        sent = bytes([n]) * 300_000
        reader, writer = await port.connect()
        writer.write(sent)
        writer.write_eof()
        assert await reader.read() == sent
        writer.close()

    await asyncio.gather(*(trip(n) for n in range(50)))


async def test_who_does_not_read_holds_up_nobody_and_costs_no_more_than_a_buffer(
    publish: Callable[..., Port],
) -> None:
    written = 0

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        with pytest.raises(ConnectionError):
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()
                written += 1 << 16

    port = await publish().serve(flood)
    with socket.create_connection(port.address) as lazy:
        lazy.setblocking(False)
        before = -1
        while written != before:  # until nothing moves any more
            before = written
            for _ in range(50):
                await asyncio.sleep(0)
        # What the kernel keeps for four sockets, and one buffer.
        assert written < 64 << 20
        kept = [
            end.pending
            for listening in port.forwarder._listening.values()
            for carried in listening.carried
            for end in (carried.client, carried.container)
        ]
        assert all(len(rest or b"") <= tcp.BUFFER for rest in kept)
        # Others are served meanwhile.
        reader, writer = await port.connect()
        assert await reader.readexactly(1 << 20) == bytes(1 << 20)
        writer.close()


async def test_many_who_do_not_read_cost_little_each(
    publish: Callable[..., Port], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reaches a published port may open as many connections as there may be."""
    monkeypatch.setattr(tcp, "_MUCH", 1 << 20)
    kept: list[int] = []
    quiet = asyncio.Event()

    async def reads_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await quiet.wait()
        writer.close()

    port = await publish().serve(reads_nothing)
    clients = [socket.create_connection(port.address) for _ in range(20)]
    for client in clients:
        client.setblocking(False)
    stalled = 0
    while stalled < 100:  # until nothing moves any more
        stalled += 1
        for client in clients:
            with suppress(BlockingIOError):
                client.send(bytes(1 << 20))
                stalled = 0
        await asyncio.sleep(0)
        kept.append(port.forwarder._kept)
    assert 0 < max(kept) < (1 << 20) + tcp.BUFFER + len(clients) * tcp._LITTLE
    for client in clients:
        client.close()
    quiet.set()
    while port.forwarder._count:
        await asyncio.sleep(0)
    assert port.forwarder._kept == 0


async def test_a_port_where_nobody_listens_in_the_container_is_reset(
    publish: Callable[..., Port],
) -> None:
    port = await publish().serve(echo)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port.target = nobody.getsockname()
    for target in (port.target, None):  # a container without any address is the same to a client
        port.target = target
        with pytest.raises(ConnectionResetError):
            reader, _ = await port.connect()
            await reader.read()


async def test_a_reset_is_told_to_the_other_side(publish: Callable[..., Port]) -> None:
    told = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        try:
            await reader.read()
            told.set_result("an orderly end")
        except ConnectionResetError:
            told.set_result("a reset")
        writer.close()

    port = await publish().serve(listen)
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, port.address)
        assert await loop.sock_recv(client, 5) == b"hello"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert await told == "a reset"


async def test_more_connections_than_may_be_wait_their_turn(publish: Callable[..., Port]) -> None:
    port = await publish(most=3).serve(echo)

    async def trip() -> bytes:
        reader, writer = await port.connect()
        writer.write(b"turn")
        writer.write_eof()
        said = await reader.read()
        writer.close()
        return said

    assert await asyncio.gather(*(trip() for _ in range(20))) == [b"turn"] * 20
    assert port.forwarder._count == 0


async def test_a_port_that_is_withdrawn_ends_its_connections(publish: Callable[..., Port]) -> None:
    port = await publish().serve(echo)
    reader, writer = await port.connect()
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    port.forwarder.stop(port.listener)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_no_descriptor_is_leaked_whatever_way_connections_end(
    publish: Callable[..., Port],
) -> None:
    port = await publish().serve(echo)

    async def orderly() -> None:
        reader, writer = await port.connect()
        writer.write(b"x")
        writer.write_eof()
        await reader.read()
        writer.close()

    async def abrupt() -> None:
        with socket.socket() as client:
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, port.address)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    await orderly()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        await asyncio.gather(*(each() for each in (orderly, abrupt) * 20))
    while port.forwarder._count:
        await asyncio.sleep(0)
    gc.collect()
    while len(os.listdir("/proc/self/fd")) > before:  # the servers' own ends close by and by
        await asyncio.sleep(0)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """This process gets no further ones, whatever numbers it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_without_descriptors_connections_wait_until_others_have_ended(
    publish: Callable[..., Port],
) -> None:
    port = await publish().serve(echo)
    reader, writer = await port.connect()
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    with socket.socket() as late:
        late.setblocking(False)
        with no_descriptors():
            loop = asyncio.get_running_loop()
            await loop.sock_connect(late, port.address)
            await loop.sock_sendall(late, b"late")
            while not port.forwarder._paused:
                await asyncio.sleep(0)
        writer.close()
        assert await loop.sock_recv(late, 4) == b"late"


async def test_sockets_of_another_network_are_made_there_and_waited_for(
    publish: Callable[..., Port],
) -> None:
    batches = 0

    async def within(work: Callable[[], list[socket.socket]]) -> list[socket.socket]:
        nonlocal batches
        batches += 1
        await asyncio.sleep(0)
        return work()

    sockets = DistantSockets(within)
    port = await publish(sockets).serve(echo)

    async def trip() -> bytes:
        reader, writer = await port.connect()
        writer.write(b"far")
        writer.write_eof()
        said = await reader.read()
        writer.close()
        return said

    assert await asyncio.gather(*(trip() for _ in range(100))) == [b"far"] * 100
    assert batches < 20
    sockets.close()


class Datagrams:
    """A published UDP port, forwarded to an echo."""

    def __init__(self, host: str = "127.0.0.1", room: Room | None = None, **more: float) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.port, self.server = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
        self.port.bind((host, 0))
        self.server.bind(("::1" if ":" in host else "127.0.0.1", 0))
        for each in (self.port, self.server):
            each.setblocking(False)
        self.seen: set[tuple[str, int]] = set()
        address = self.server.getsockname()[:2]
        self.room = room or Room(100)
        self.forwarder = UdpForwarder(self.port, lambda: address, Sockets(), self.room, **more)
        asyncio.get_running_loop().add_reader(self.server, self._echo)
        self.number: int = self.port.getsockname()[1]

    def _echo(self) -> None:
        data, address = self.server.recvfrom(65535)
        self.seen.add(address)
        self.server.sendto(data, address)

    def close(self) -> None:
        self.forwarder.close()
        asyncio.get_running_loop().remove_reader(self.server)
        self.port.close()
        self.server.close()


async def exchange(address: tuple[str, int], data: bytes = b"ping") -> tuple[bytes, str]:
    """What is answered, and from where."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.bind(("::1" if ":" in address[0] else "127.0.0.1", 0))
        client.sendto(data, address)
        async with asyncio.timeout(60):
            said, peer = await loop.sock_recvfrom(client, 65535)
    return said, peer[0]


async def test_each_client_of_a_udp_port_is_answered() -> None:
    served = Datagrams()
    sent = [bytes([n]) * 1000 for n in range(20)]
    said = await asyncio.gather(*(exchange(("127.0.0.1", served.number), data) for data in sent))
    assert [data for data, _ in said] == sent
    assert len(served.seen) == 20
    served.close()


@pytest.mark.parametrize(("host", "address"), [("0.0.0.0", "127.0.0.5"), ("::", "::1")])
async def test_a_client_is_answered_from_the_address_that_it_asked(host: str, address: str) -> None:
    served = Datagrams(host)
    assert await exchange((address, served.number)) == (b"ping", address)
    served.close()


async def test_datagrams_of_all_sizes_pass() -> None:
    served = Datagrams()
    for size in (0, 1, 1472, 60_000):
        data = os.urandom(size)
        assert (await exchange(("127.0.0.1", served.number), data))[0] == data
    served.close()


async def test_a_silent_client_is_forgotten_and_its_descriptor_closed() -> None:
    served = Datagrams(idle=0.01)
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    await exchange(("127.0.0.1", served.number))
    while served.forwarder._clients:
        await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) == before
    assert (await exchange(("127.0.0.1", served.number)))[0] == b"ping"
    served.close()
    assert served.room.taken == 0


async def test_all_ports_together_have_no_more_clients_than_there_is_room_for() -> None:
    room = Room(3)
    one, other = Datagrams(room=room), Datagrams(room=room)
    for served in (one, other, one, other, one):
        # At first the other one has none that could be forgotten.
        if room.taken < 3 or served.forwarder._clients:
            assert (await exchange(("127.0.0.1", served.number)))[0] == b"ping"
        assert room.taken <= 3
    assert room.taken == 3
    one.close()
    other.close()
    assert room.taken == 0


async def test_of_too_many_clients_who_was_silent_for_longest_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wherry.network.forwarding.udp._CLIENTS", 4)
    served = Datagrams()
    for _ in range(10):
        await exchange(("127.0.0.1", served.number))
    assert len(served.forwarder._clients) == 4
    served.close()
