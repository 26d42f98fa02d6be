"""What a guest is told when a peer, a port or a number is not as it should be.

The guest is a puppet (tests/guests/puppet.c), in each of WasmEdge's ABIs.
"""

import os
import shutil
import socket
from collections.abc import Callable

import pytest
from tests.conftest import without
from tests.guests.toolchain import Guests
from tests.runtime.bundles import Bundle
from tests.sockets.containers import Container, number, running

from wherry.runtime import Launcher

pytestmark = [pytest.mark.root, pytest.mark.guests]
Puppet = Callable[[], Bundle]
Module = Callable[..., Bundle]

SO_ERROR = 2
ABORT = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
"""For SO_LINGER: a close that sends a reset."""


async def connected(container: Container) -> tuple[int, socket.socket]:
    """A puppet's connection and our end of it."""
    with container.listener() as listener:
        fd = await container.open()
        assert await container.do("connect", fd, "127.0.0.1", listener.getsockname()[1]) == "ok"
        peer, _ = listener.accept()
    peer.settimeout(60)
    return fd, peer


async def firewall(container: Container, rule: str) -> None:
    """Put a rule before everything that comes in, and that is all there is in this network."""
    if shutil.which("nft", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        without("nft (apt install nftables)")
    chain = f"chain first {{ type filter hook input priority 0; {rule}; }};"
    await container.ask("nft", f"table inet test {{ {chain} }}")


def abort(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    peer.close()


async def test_nobody_listens(launcher: Launcher, puppet: Puppet) -> None:
    async with running(launcher, puppet()) as container:
        fd = await container.open()
        assert await container.do("connect", fd, "127.0.0.1", 9) == "ECONNREFUSED"


async def test_nobody_listens_for_who_does_not_wait(launcher: Launcher, puppet: Puppet) -> None:
    async with running(launcher, puppet()) as container:
        fd = await container.open()
        assert await container.do("nonblock", fd) == "ok"
        assert await container.do("connect", fd, "127.0.0.1", 9) == "EINPROGRESS"
        assert (await container.do("poll", 60_000, f"w{fd}")).startswith(f"ok w{fd}")
        refused = number(await container.do("get", fd, SO_ERROR))
        assert refused == 14  # ECONNREFUSED, as WASI counts
        assert await container.do("get", fd, SO_ERROR) == "ok 0"  # told once
        assert await container.do("peer", fd) == "ENOTCONN"


async def test_a_connection_that_is_not_waited_for_comes_about(
    launcher: Launcher, puppet: Puppet
) -> None:
    async with running(launcher, puppet()) as container:
        with container.listener(7000):
            fd = await container.open()
            await container.do("nonblock", fd)
            assert await container.do("connect", fd, "127.0.0.1", 7000) == "EINPROGRESS"
            assert await container.do("poll", 60_000, f"w{fd}") == f"ok w{fd}"
            assert await container.do("get", fd, SO_ERROR) == "ok 0"
            assert await container.do("peer", fd) == "ok 127.0.0.1 7000"
            assert (
                await container.do("connect", fd, "127.0.0.1", 7000) == "ok"
            )  # Linux says so once
            assert await container.do("connect", fd, "127.0.0.1", 7000) == "EISCONN"


async def test_there_is_no_way_to_the_peer(launcher: Launcher, puppet: Puppet) -> None:
    async with running(launcher, puppet()) as container:
        for family, address in ((4, "192.0.2.1"), (6, "2001:db8::1")):
            fd = await container.open(family)
            said = await container.do("connect", fd, address, 80)
            assert said in ("ENETUNREACH", "EADDRNOTAVAIL")


async def test_a_peer_that_never_answers_times_out(
    launcher: Launcher, guests: Guests, module: Module
) -> None:
    async with running(launcher, module(guests.puppet())) as container:
        await container.ask("sh", "-c", "echo 1 > /proc/sys/net/ipv4/tcp_syn_retries")
        await firewall(container, "tcp dport 7000 drop")
        fd = await container.open()
        assert await container.do("connect", fd, "127.0.0.1", 7000) == "ETIMEDOUT"


async def test_the_peer_resets(launcher: Launcher, puppet: Puppet) -> None:
    async with running(launcher, puppet()) as container:
        fd, peer = await connected(container)
        abort(peer)
        assert (await container.do("poll", 60_000, f"r{fd}")).startswith(f"ok r{fd}")
        assert await container.do("recv", fd, 10) == "ECONNRESET"
        assert await container.do("send", fd, "anyone?") == "EPIPE"
        other, peer = await connected(container)
        abort(peer)
        assert await container.do("read", other, 10) == "ECONNRESET"


async def test_the_peer_resets_before_it_is_accepted(launcher: Launcher, puppet: Puppet) -> None:
    async with running(launcher, puppet()) as container:
        fd = await container.open()
        await container.do("bind", fd, "127.0.0.1", 7000)
        await container.do("listen", fd, 5)
        peer = container.dial(7000)
        port = peer.getsockname()[1]
        abort(peer)
        accepted = number(await container.do("accept", fd))
        assert await container.do("peer", accepted) == f"ok 127.0.0.1 {port}"
        assert await container.do("recv", accepted, 1) == "ECONNRESET"


async def test_the_peer_has_said_all_and_still_listens(launcher: Launcher, puppet: Puppet) -> None:
    async with running(launcher, puppet()) as container:
        fd, peer = await connected(container)
        with peer:
            peer.sendall(b"last")
            peer.shutdown(socket.SHUT_WR)
            assert await container.do("recv", fd, 10) == "ok last"
            assert await container.do("recv", fd, 10) == "ok "
            assert await container.do("recv", fd, 10) == "ok "
            assert (await container.do("poll", 60_000, f"r{fd}")).startswith(f"ok r{fd}")
            assert await container.do("send", fd, "answer") == "ok 6"
            assert peer.recv(10) == b"answer"
            assert await container.do("shutdown", fd, "w") == "ok"
            assert peer.recv(10) == b""
            assert await container.do("send", fd, "more") == "EPIPE"


async def test_a_peer_that_vanishes_is_given_up_on(
    launcher: Launcher, guests: Guests, module: Module
) -> None:
    """Its machine is gone: nothing answers any more, not even by a reset."""
    async with running(launcher, module(guests.puppet())) as container:
        fd, peer = await connected(container)
        with peer:
            await container.ask("sh", "-c", "echo 1 > /proc/sys/net/ipv4/tcp_retries2")
            await firewall(container, f"tcp dport {peer.getsockname()[1]} drop")
            assert await container.do("send", fd, "there?") == "ok 6"
            assert (await container.do("poll", 60_000, f"r{fd}")).startswith(f"ok r{fd}")
            assert await container.do("recv", fd, 10) == "ETIMEDOUT"


async def test_a_port_in_use(launcher: Launcher, puppet: Puppet) -> None:
    async with running(launcher, puppet()) as container:
        with container.listener(7000):
            fd = await container.open()
            assert await container.do("bind", fd, "127.0.0.1", 7000) == "EADDRINUSE"
            assert await container.do("bind", fd, "127.0.0.1", 7001) == "ok"
            assert await container.do("listen", fd, 5) == "ok"
            assert await container.do("local", fd) == "ok 127.0.0.1 7001"


async def test_an_address_of_somebody_elses(launcher: Launcher, puppet: Puppet) -> None:
    async with running(launcher, puppet()) as container:
        fd = await container.open()
        assert await container.do("bind", fd, "192.0.2.1", 80) == "EADDRNOTAVAIL"


async def test_what_is_not_a_socket_or_not_of_that_kind(launcher: Launcher, puppet: Puppet) -> None:
    async with running(launcher, puppet()) as container:
        assert await container.do("recv", 99_999, 1) == "EBADF"
        assert await container.do("recv", 99, 1) == "EBADF"
        assert await container.do("send", 1, "text") == "ENOTSOCK"
        assert await container.do("accept", 0) == "ENOTSOCK"
        fd = await container.open()
        assert await container.do("recv", fd, 1) == "ENOTCONN"
        assert await container.do("accept", fd) == "EINVAL"
        assert await container.do("close", fd) == "ok"
        assert await container.do("close", fd) == "EBADF"
        assert await container.do("recv", fd, 1) == "EBADF"
        assert await container.do("poll", 60_000, f"r{fd}") == f"ok r{fd}:EBADF"


async def test_nothing_has_come_yet(launcher: Launcher, puppet: Puppet) -> None:
    async with running(launcher, puppet()) as container:
        fd, peer = await connected(container)
        with peer:
            await container.do("nonblock", fd)
            assert await container.do("recv", fd, 1) == "EAGAIN"
            assert await container.do("read", fd, 1) == "EAGAIN"
            assert await container.do("poll", 0, f"r{fd}") == "ok time"
            said = await container.do("poll", 0, f"r{fd}", f"w{fd}")
            assert set(said.split()) - {"time"} == {"ok", f"w{fd}"}
            peer.sendall(b"a")
            assert await container.do("poll", 60_000, f"r{fd}") == f"ok r{fd}"
            assert await container.do("read", fd, 1) == "ok a"


async def test_stdin_a_listener_and_a_clock_are_waited_for_together(
    launcher: Launcher, puppet: Puppet
) -> None:
    async with running(launcher, puppet()) as container:
        fd = await container.open()
        await container.do("bind", fd, "127.0.0.1", 7000)
        await container.do("listen", fd, 5)
        assert await container.do("poll", 1, "r0", f"r{fd}") == "ok time"
        with container.dial(7000):
            assert await container.do("poll", 60_000, "r0", f"r{fd}") == f"ok r{fd}"
            container.tell("poll", 60_000, "r0")
            container.tell("kind", fd)  # comes by stdin, which the guest waits for
            assert await container.line() == "ok r0"
            assert await container.line() == "ok 6 0"


async def test_a_guest_that_opens_sockets_until_it_may_not_goes_on_living(
    launcher: Launcher, puppet: Puppet
) -> None:
    bundle = puppet()
    limit = {"type": "RLIMIT_NOFILE", "soft": 200, "hard": 200}
    bundle.config["process"]["rlimits"] = [limit]
    async with running(launcher, bundle) as container:
        first = await container.do("hoard", 4, "stream")
        assert first.endswith(" EMFILE") and 100 < int(first.split()[1]) < 200
        assert await container.do("hoard", 6, "dgram") == first
        fd, peer = await connected(container)
        with peer:
            assert await container.do("send", fd, "alive") == "ok 5"
            assert peer.recv(10) == b"alive"


async def test_a_name_that_cannot_be_one(launcher: Launcher, puppet: Puppet) -> None:
    async with running(launcher, puppet()) as container:
        for name in ("a" * 300, ".".join(["a" * 60] * 5), "a" * 3000, "é" * 40, "-", "..", "%s"):
            said = await container.do("lookup", name)
            assert said in ("EAINONAME", "EAIFAIL", "EAIAGAIN"), (name, said)
        assert await container.do("lookup", "127.0.0.1") == "ok 127.0.0.1 80"


async def test_names_come_from_the_containers_hosts_file(
    launcher: Launcher, puppet: Puppet
) -> None:
    bundle = puppet()
    bundle.put("etc/hosts", "127.0.0.1 localhost\n192.0.2.7 pier\n2001:db8::7 pier\n")
    async with running(launcher, bundle) as container:
        said = await container.do("lookup", "pier", 8080)
        assert "192.0.2.7 8080" in said and "2001:db8::7 8080" in said


async def test_packets_of_both_families(launcher: Launcher, puppet: Puppet) -> None:
    async with running(launcher, puppet()) as container:
        for family, address in ((4, "127.0.0.1"), (6, "::1")):
            fd = await container.open(family, "dgram")
            assert await container.do("bind", fd, address, 7000) == "ok"
            assert await container.do("kind", fd) == "ok 5 0"
            kind = socket.AF_INET if family == 4 else socket.AF_INET6
            with container.plug(socket.SOCK_DGRAM, kind) as peer:
                peer.bind((address, 7001))
                peer.sendto(b"ahoy", (address, 7000))
                assert await container.do("recvfrom", fd, 100) == f"ok {address} 7001 ahoy"
                assert await container.do("sendto", fd, address, 7001, "aye") == "ok 3"
                said, sender = peer.recvfrom(100)
                assert (said, sender[:2]) == (b"aye", (address, 7000))
                assert await container.do("sendto", fd, address, 7001) == "ok 0"
                assert peer.recv(100) == b""
            assert await container.do("close", fd) == "ok"
