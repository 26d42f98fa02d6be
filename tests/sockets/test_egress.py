"""What a guest on WasmEdge's sockets may reach, held in its own process."""

import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import pytest
from tests.runtime.bundles import Bundle
from tests.sockets.containers import Container, created

from wherry.oci.runtime import EGRESS
from wherry.runtime import Launcher

pytestmark = [pytest.mark.root, pytest.mark.guests]
Puppet = Callable[[], Bundle]


@contextlib.asynccontextmanager
async def guarded(launcher: Launcher, bundle: Bundle, rules: str) -> AsyncIterator[Container]:
    """A container under `rules` whose hosts file has a name, with a server on port 7000."""
    bundle.config["annotations"] = {EGRESS: rules}
    # As if these were other machines': what a name says of loopback does not count.
    bundle.put("etc/hosts", "192.0.2.1 db\n192.0.2.2 other\n127.0.0.1 trap.example\n")
    async with created(launcher, bundle) as container:
        for address in ("192.0.2.1", "192.0.2.2"):
            await container.ask("ip", "address", "add", f"{address}/32", "dev", "lo")
        server = container.plug()
        server.bind(("0.0.0.0", 7000))
        server.listen()
        with server:
            await container.start()
            yield container


async def test_an_address_is_reached_by_its_rule_alone(launcher: Launcher, puppet: Puppet) -> None:
    async with guarded(launcher, puppet(), "192.0.2.1:7000") as container:
        fds = [await container.open() for _ in range(3)]
        assert await container.do("connect", fds[0], "192.0.2.1", 7000) == "ok"
        assert await container.do("connect", fds[1], "192.0.2.2", 7000) == "ECONNREFUSED"
        assert await container.do("connect", fds[2], "127.0.0.1", 7000) == "ECONNREFUSED"


async def test_a_denial_is_told_with_its_target_and_not_for_ever(
    launcher: Launcher, puppet: Puppet
) -> None:
    async with guarded(launcher, puppet(), "192.0.2.1:7000") as container:
        fd = await container.open()
        for _ in range(5):
            assert await container.do("connect", fd, "192.0.2.2", 7000) == "ECONNREFUSED"
        assert await container.do("connect", fd, "192.0.2.2", 7001) == "ECONNREFUSED"
        lines = [(await container.stderr.readline()).decode() for _ in range(2)]
        assert "egress to 192.0.2.2:7000 denied" in lines[0]
        assert "egress to 192.0.2.2:7001 denied" in lines[1]


async def test_a_name_leads_where_its_rule_allows(launcher: Launcher, puppet: Puppet) -> None:
    async with guarded(launcher, puppet(), "db:7000") as container:
        fd = await container.open()
        assert await container.do("connect", fd, "192.0.2.1", 7000) == "ECONNREFUSED"
        assert "192.0.2.1" in await container.do("lookup", "db")
        assert await container.do("connect", fd, "192.0.2.1", 7000) == "ok"
        assert await container.do("connect", await container.open(), "192.0.2.1", 22) == (
            "ECONNREFUSED"
        )


async def test_a_name_without_a_rule_is_not_looked_up(launcher: Launcher, puppet: Puppet) -> None:
    async with guarded(launcher, puppet(), "db:7000") as container:
        assert not (await container.do("lookup", "other")).startswith("ok")
        assert "egress to other denied" in (await container.stderr.readline()).decode()
        fd = await container.open()
        assert await container.do("connect", fd, "192.0.2.2", 7000) == "ECONNREFUSED"


async def test_a_name_cannot_lead_home(launcher: Launcher, puppet: Puppet) -> None:
    async with guarded(launcher, puppet(), "*.example:7000") as container:
        await container.do("lookup", "trap.example")
        fd = await container.open()
        assert await container.do("connect", fd, "127.0.0.1", 7000) == "ECONNREFUSED"


async def test_datagrams_are_denied_as_well(launcher: Launcher, puppet: Puppet) -> None:
    async with guarded(launcher, puppet(), "192.0.2.1:7000") as container:
        receiver = container.plug(socket.SOCK_DGRAM)
        receiver.bind(("0.0.0.0", 7000))
        fd = await container.open(kind="dgram")
        assert await container.do("sendto", fd, "192.0.2.2", 7000, "no") == "ECONNREFUSED"
        assert await container.do("connect", fd, "192.0.2.2", 7000) == "ECONNREFUSED"
        assert await container.do("sendto", fd, "192.0.2.1", 7000, "yes") == "ok 3"
        with receiver:
            assert receiver.recv(10) == b"yes"


async def test_who_asked_is_answered(launcher: Launcher, puppet: Puppet) -> None:
    """A server under rules of egress answers its clients, by TCP and UDP."""
    async with guarded(launcher, puppet(), "") as container:
        listening, receiving = await container.open(), await container.open(kind="dgram")
        assert await container.do("bind", listening, "127.0.0.1", 8000) == "ok"
        assert await container.do("listen", listening, 5) == "ok"
        with container.dial(8000) as client:
            accepted = (await container.do("accept", listening)).split()[1]
            assert await container.do("send", accepted, "hello") == "ok 5"
            assert client.recv(10) == b"hello"
        assert await container.do("bind", receiving, "127.0.0.1", 8000) == "ok"
        with container.plug(socket.SOCK_DGRAM) as client:
            client.bind(("127.0.0.1", 0))
            port = client.getsockname()[1]
            assert await container.do("sendto", receiving, "127.0.0.1", port, "x") == "ECONNREFUSED"
            client.sendto(b"ask", ("127.0.0.1", 8000))
            assert (await container.do("recvfrom", receiving, 10)).startswith("ok")
            assert await container.do("sendto", receiving, "127.0.0.1", port, "told") == "ok 4"
            assert client.recv(10) == b"told"


async def test_without_rules_everything_is_reached(launcher: Launcher, puppet: Puppet) -> None:
    async with guarded(launcher, puppet(), "*") as container:
        fd = await container.open()
        assert await container.do("connect", fd, "127.0.0.1", 7000) == "ok"
        assert "192.0.2.2" in await container.do("lookup", "other")
