"""Packets and streams of both families, by a real library on both ends."""

import socket
from collections.abc import Callable

import pytest
from tests.guests.toolchain import Guests
from tests.runtime.bundles import Bundle
from tests.sockets.containers import Container, created, running

from wherry.runtime import Launcher

pytestmark = [pytest.mark.root, pytest.mark.guests]
Module = Callable[..., Bundle]


def join(bundle: Bundle, container: Container) -> Bundle:
    """Let a bundle's container share the network of another."""
    for namespace in bundle.config["linux"]["namespaces"]:
        if namespace["type"] == "network":
            namespace["path"] = container.network
    return bundle


@pytest.mark.parametrize("network", ["tcp", "udp"])
@pytest.mark.parametrize("resolver", ["its own", "WasmEdge's"])
async def test_go_echoes_to_go(
    launcher: Launcher, guests: Guests, module: Module, network: str, resolver: str
) -> None:
    if resolver == "its own":
        program, addresses = guests.go("echo"), ["127.0.0.1:7000", "[::1]:7000"]
    else:
        # The library takes an address of IPv6 from where the flow is: not for that family.
        program, addresses = guests.go("echo", "getaddrinfo"), ["127.0.0.1:7000"]
    server = module(program, "serve", network, *addresses)
    async with running(launcher, server) as container:
        said = sorted([await container.line() for _ in addresses])
        assert said == [f"listening on {address}" for address in addresses]
        client = join(module(program, "send", network, *addresses), container)
        async with running(launcher, client) as other:
            for address in addresses:
                assert await other.line() == f'{address}: "ahoy" from {address}'


async def test_one_listener_of_ipv6_takes_both(
    launcher: Launcher, guests: Guests, module: Module
) -> None:
    program = guests.go("echo")
    async with running(launcher, module(program, "serve", "tcp", "[::]:7000")) as container:
        assert await container.line() == "listening on [::]:7000"
        for address in ("127.0.0.1", "::1"):
            with container.dial(7000, address) as peer:
                peer.sendall(b"ahoy")
                assert peer.recv(10) == b"ahoy"


async def test_go_tells_why_there_is_no_connection(
    launcher: Launcher, guests: Guests, module: Module
) -> None:
    program = guests.go("echo")
    addresses = ["127.0.0.1:9", "192.0.2.1:9", f"{'a' * 300}:9"]
    client = module(program, "send", "tcp", *addresses)
    async with running(launcher, client) as container:
        assert await container.line() == f"{addresses[0]}: Connection refused"
        assert (await container.line()) in (f"{addresses[1]}: Network is unreachable",)
        assert await container.line() == f"{addresses[2]}: no such name"


async def test_go_tells_that_a_port_is_in_use(
    launcher: Launcher, guests: Guests, module: Module
) -> None:
    program = guests.go("echo")
    bundle = module(program, "serve", "tcp", "127.0.0.1:7000")
    async with created(launcher, bundle) as container:
        with container.listener(7000):
            await container.start()
            said = (await container.stderr.readline()).decode()
            assert said == "127.0.0.1:7000: Address already in use\n"


async def test_rust_turns_packets_around(
    launcher: Launcher, guests: Guests, module: Module
) -> None:
    program = guests.rust("hello")
    async with running(launcher, module(program, "udp", "127.0.0.1:7000")) as container:
        assert await container.line() == "listening"
        with container.plug(socket.SOCK_DGRAM) as peer:
            peer.sendto(b"ahoy", ("127.0.0.1", 7000))
            assert peer.recvfrom(100) == (b"yoha", ("127.0.0.1", 7000))


async def test_rust_serves_many_streams_without_blocking(
    launcher: Launcher, guests: Guests, module: Module
) -> None:
    program = guests.rust("hello")
    async with running(launcher, module(program, "poll", "127.0.0.1:7000")) as container:
        assert await container.line() == "listening on 127.0.0.1:7000"
        peers = [container.dial(7000) for _ in range(50)]
        for round in range(3):
            for index, peer in enumerate(peers):
                peer.sendall(b"%d of %d" % (index, round))
            for index, peer in reversed(list(enumerate(peers))):
                assert peer.recv(100) == b"%d of %d" % (index, round)
        for peer in peers:
            peer.close()
        with container.dial(7000) as one_more:
            one_more.sendall(b"still there")
            assert one_more.recv(100) == b"still there"


async def test_rust_sees_addresses_options_and_names(
    launcher: Launcher, guests: Guests, module: Module
) -> None:
    program = guests.rust("hello")
    async with created(launcher, module(program, "options", "127.0.0.1:7000")) as container:
        with container.listener(7000):
            await container.start()
            said = [await container.line() for _ in range(7)]
    assert said == [
        "peer 127.0.0.1:7000",
        "local 127.0.0.1",
        "type Stream, error Ok(())",
        "keepalive true, listener false",
        "receive timeout None",
        "receive timeout Some(1.5s)",
        "nothing came: Err(WouldBlock)",
    ]
    bundle = module(program, "lookup", "pier")
    bundle.put("etc/hosts", "192.0.2.7 pier\n")
    async with running(launcher, bundle) as container:
        assert await container.line() == "192.0.2.7"
