"""What a guest on WasmEdge's sockets may reach, held in its own process."""

import contextlib
import os
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from tests.runtime.bundles import Bundle
from tests.sockets.containers import Container, created

from wherry.oci.runtime import EGRESS
from wherry.runtime import Launcher, LaunchError
from wherry.runtime.wasi.sockets import dns

pytestmark = [pytest.mark.root, pytest.mark.guests]
Puppet = Callable[[], Bundle]

HOSTS = "192.0.2.1 db\n192.0.2.2 other\n127.0.0.1 trap.example\n"


@contextlib.asynccontextmanager
async def guarded(launcher: Launcher, bundle: Bundle, rules: str) -> AsyncIterator[Container]:
    """A container under `rules` that is told some names, with a server on port 7000."""
    bundle.config["annotations"] = {EGRESS: rules}
    bundle.put("etc/hosts", "192.0.2.2 db\n192.0.2.2 image.example\n")
    # As if these were other machines': what a name says of loopback does not count.
    told = {"hosts": HOSTS, "resolv.conf": "nameserver 192.0.2.1\nsearch fleet.test\n"}
    for name, text in told.items():
        (bundle.path / name).write_text(text)
        mount = {"destination": f"/etc/{name}", "type": "bind", "options": ["rbind"]}
        mounts = bundle.config.setdefault("mounts", [])
        mounts.append({**mount, "source": str(bundle.path / name)})
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
        assert "192.0.2.1" in await container.do("lookup", "db")
        fd = await container.open()
        assert await container.do("connect", fd, "192.0.2.1", 7000) == "ok"
        assert await container.do("connect", await container.open(), "192.0.2.1", 22) == (
            "ECONNREFUSED"
        )


async def test_a_guest_may_read_the_hosts_file_itself(launcher: Launcher, puppet: Puppet) -> None:
    async with guarded(launcher, puppet(), "db:7000") as container:
        fd = await container.open()
        assert await container.do("connect", fd, "192.0.2.2", 7000) == "ECONNREFUSED"
        assert await container.do("connect", fd, "192.0.2.1", 7000) == "ok"


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


async def test_a_name_is_what_the_engine_said_and_not_the_image(
    launcher: Launcher, puppet: Puppet
) -> None:
    async with guarded(launcher, puppet(), "*.example:7000") as container:
        assert not (await container.do("lookup", "image.example")).startswith("ok")


async def test_a_hosts_file_the_guest_has_written_counts_for_nothing(
    launcher: Launcher, puppet: Puppet
) -> None:
    bundle = puppet()
    async with guarded(launcher, bundle, "db:7000") as container:
        fd = await container.open()
        (bundle.path / "hosts").write_text("192.0.2.2 db\n")  # a guest may be root in there
        assert "192.0.2.1" in await container.do("lookup", "db")
        assert await container.do("connect", fd, "192.0.2.2", 7000) == "ECONNREFUSED"


KNOWN = {"web.fleet.test": "192.0.2.1", "deep.example": "192.0.2.1"}


def reply(query: bytes) -> bytes:
    """What a name server says that knows one name, and that by an alias."""
    asked = dns.question(query)
    end = query.index(b"\0", 12) + 5
    address = KNOWN.get(asked or "") if query[end - 4 : end - 2] == b"\0\1" else None
    code = 0 if asked in KNOWN else 3
    header = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, 2 if address else 0, 0, 0)
    records = b""
    if address:
        alias = b"\5alias\4test\0"
        records = b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 60, len(alias)) + alias
        records += alias + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton(address)
    return header + query[12:end] + records


@pytest.fixture
def name_server() -> Iterator[Callable[[Container], None]]:
    """Starts a name server in a container's network, where its resolv.conf says that it is."""
    threads: list[threading.Thread] = []
    channels: list[socket.socket] = []

    def serve(channel: socket.socket) -> None:
        while True:
            query, client = channel.recvfrom(1000)
            if not query:
                return
            channel.sendto(reply(query), client)

    def start(container: Container) -> None:
        channel = container.plug(socket.SOCK_DGRAM)
        channel.settimeout(None)  # it ends with a shutdown
        channel.bind(("192.0.2.1", 53))
        channels.append(channel)
        threads.append(threading.Thread(target=serve, args=[channel]))
        threads[-1].start()

    yield start
    for channel in channels:
        with contextlib.suppress(OSError):  # it is not connected, but its thread is told
            channel.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()
    for channel in channels:
        channel.close()


async def test_names_are_asked_for_where_the_engine_said(
    launcher: Launcher, puppet: Puppet, name_server: Callable[[Container], None]
) -> None:
    async with guarded(launcher, puppet(), "web:7000") as container:
        name_server(container)
        assert "192.0.2.1" in await container.do("lookup", "web")  # by way of `search`
        fd = await container.open()
        assert await container.do("connect", fd, "192.0.2.1", 7000) == "ok"
        assert not (await container.do("lookup", "web.other.test")).startswith("ok")


async def test_a_name_server_is_no_way_out(launcher: Launcher, puppet: Puppet) -> None:
    async with guarded(launcher, puppet(), "web:7000") as container:
        fd = await container.open(kind="dgram")
        for address, port in (("192.0.2.1", 53), ("192.0.2.2", 53)):
            said = await container.do("sendto", fd, address, port, "secrets")
            assert said == "ECONNREFUSED"
        assert await container.do("connect", await container.open(), "192.0.2.1", 53) == (
            "ECONNREFUSED"
        )
        assert await container.do("bind", fd, "0.0.0.0", 53) == "EACCES"


@pytest.mark.parametrize("rules", [None, "db:7000"])
async def test_files_that_rules_trust_in_are_not_the_guests_to_write(
    launcher: Launcher, puppet: Puppet, rules: str | None
) -> None:
    """A health check is a further process, which would read what the first one wrote there."""
    bundle = puppet()
    bundle.config["annotations"] = {} if rules is None else {EGRESS: rules}
    bundle.config["mounts"] = mounts = []
    for name in ("hosts", "resolv.conf", "hostname"):
        (bundle.path / name).write_text("")
        mount = {"destination": f"/etc/{name}", "type": "bind", "options": ["rbind", "rw"]}
        mounts.append({**mount, "source": str(bundle.path / name)})
    async with created(launcher, bundle) as container:
        etc = f"/proc/{container.process.pid}/root/etc"
        sealed = {
            name for name in os.listdir(etc) if os.statvfs(f"{etc}/{name}").f_flag & os.ST_RDONLY
        }
        assert sealed == (set() if rules is None else {"hosts", "resolv.conf"})


async def test_a_hosts_file_that_is_none_is_told(launcher: Launcher, puppet: Puppet) -> None:
    bundle = puppet()
    bundle.config["annotations"] = {EGRESS: "db:7000"}
    folder = {"destination": "/etc/hosts", "type": "bind", "source": str(bundle.image)}
    bundle.config.setdefault("mounts", []).append({**folder, "options": ["rbind"]})
    with pytest.raises(LaunchError, match="is no file to read names from"):
        async with created(launcher, bundle):
            pass
