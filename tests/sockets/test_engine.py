"""Guests on WasmEdge's sockets in the engine's own networks, as root and as an ordinary user.

Of Go there is one: to compile it takes longer than all else here.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.conftest import without
from tests.engine_under_test import Wherry
from tests.guests.toolchain import Guests
from tests.network.machine import FAR, INSIDE, NOBODY, Machine

pytestmark = [pytest.mark.root, pytest.mark.guests, pytest.mark.slow]


class Harbour(NamedTuple):
    """An engine in a machine of its own."""

    engine: Wherry
    machine: Machine

    def serving(self, name: str, *flags: str) -> None:
        """Run a server that says when it listens."""
        self.engine.ok("run", "-d", "--name", name, *flags)
        with self.engine.background("logs", "-f", name) as logs:
            assert logs.stdout is not None
            assert logs.stdout.readline().startswith(b"listening")

    def curl(self, url: str, *flags: str) -> str:
        """What the machine's curl is answered."""
        return self.machine.ok("curl", "-sSf", "-m", "20", *flags, url)


@pytest.fixture(scope="module", params=[None, NOBODY], ids=["root", "user"])
def harbour(request: pytest.FixtureRequest, guests: Guests) -> Iterator[Harbour]:
    with Machine() as machine, Wherry(user=request.param) as engine:
        engine.within = machine.within
        engine.image("hello", guests.rust("hyper-hello"))
        engine.image("client", guests.go("client"))
        engine.image("mirror", guests.rust("hello"))
        engine.image("given", guests.rust("preopened"))
        engine.image("httpd", guests.httpd())
        engine.ok("network", "create", "--subnet", "10.81.0.0/16", "fleet")
        yield Harbour(engine, machine)


@pytest.fixture(autouse=True)
def nothing_left(harbour: Harbour) -> Iterator[None]:
    yield
    if left := harbour.engine.ok("ps", "-aq").split():
        harbour.engine.ok("rm", "-f", *left)


def test_a_published_port_shows_the_client_as_it_is(harbour: Harbour) -> None:
    """The guest listens on the host's socket itself: nothing stands between, rootless neither."""
    harbour.serving("web", "-p", "8080:8080", "hello")
    assert harbour.curl("http://127.0.0.1:8080/") == "hello from hyper\n"
    assert harbour.curl("http://127.0.0.1:8080/who", "--local-port", "9001") == "127.0.0.1:9001\n"
    seen = harbour.curl(f"http://{INSIDE}:8080/who", "--local-port", "9002")
    assert seen == f"{INSIDE}:9002\n"
    assert harbour.curl("http://[::1]:8080/who", "--local-port", "9003") == "[::1]:9003\n"


def test_a_server_is_found_by_its_name_from_another_container(harbour: Harbour) -> None:
    harbour.serving("web", "--network", "fleet", "hello")
    # With this option a name that nobody here has is not asked for outside, where nobody answers.
    get = ("run", "--rm", "--network", "fleet", "--dns-option", "ndots:1", "client", "get")
    assert harbour.engine.ok(*get, "http://web:8080/") == "200\nhello from hyper"
    harbour.engine.ok("rm", "-f", "web")
    gone = harbour.engine(*get, "http://web:8080/")
    assert gone.code == 1 and "no such host" in gone.err, gone.said


def test_packets_come_in_by_a_published_port(harbour: Harbour) -> None:
    flags = ("--network", "fleet", "-p", "7000:7000/udp")
    harbour.serving("mirror", *flags, "mirror", "udp", "0.0.0.0:7000")
    for address in ("127.0.0.1", INSIDE):
        with harbour.machine.socket(kind=socket.SOCK_DGRAM) as peer:
            peer.settimeout(60)
            for size in (1, 300):
                peer.sendto(b"ahoy" * size, (address, 7000))
                assert peer.recvfrom(5000) == (b"yoha" * size, (address, 7000))


def test_a_standard_library_serves_what_is_published_or_exposed(harbour: Harbour) -> None:
    """The sockets are there in the order of their ports, from descriptor 3 on."""
    flags = ("--network", "fleet", "-p", "8082:9000", "--expose", "8080")
    harbour.serving("rust", *flags, "given", "4")
    assert harbour.curl("http://127.0.0.1:8082/").startswith("descriptor 4, ")
    harbour.engine.ok("rm", "-f", "rust")
    harbour.serving("rust", *flags, "given", "3")
    get = ("run", "--rm", "--network", "fleet", "client", "get", "http://rust:8080/")
    assert harbour.engine.ok(*get).startswith("200\ndescriptor 3, ")


def test_many_requests_at_once_by_a_published_port(harbour: Harbour) -> None:
    harbour.serving("web", "-p", "8081:8080", "httpd")
    said = harbour.machine.ok(
        "wrk", "-t1", "-c32", "-d1s", "--timeout=60s", "http://127.0.0.1:8081/"
    )
    assert "requests in" in said and "Socket errors" not in said


def test_redis_in_the_world_outside_is_written_and_read(harbour: Harbour, tmp_path: Path) -> None:
    if shutil.which("redis-server") is None:
        without("redis-server (apt install redis-server)")
    outside = harbour.machine.outside
    words = ["--bind", FAR, "--protected-mode", "no", "--save", "", "--dir", str(tmp_path)]
    with outside.background("redis-server", *words) as server:
        assert server.stdout is not None
        assert any("Ready to accept connections" in line for line in server.stdout)
        ask = ("redis-cli", "-h", FAR)
        outside.ok(*ask, "set", "pier:outside", "from outside")
        flags = ("--network", "fleet", "--add-host", f"store:{FAR}")
        said = harbour.engine.ok("run", "--rm", *flags, "client", "redis", "store:6379", "pier")
        assert said.splitlines()[:3] == [
            "value from inside",
            "outside from outside",
            "counter 1000",
        ]
        assert outside.ok(*ask, "get", "pier") == "from inside\n"
        narrow = ("--label", "io.wherry.egress=store:6380")
        denied = harbour.engine(
            "run", "--name", "denied", *flags, *narrow, "client", "redis", "store:6379", "pier"
        )
        assert denied.code == 1 and "refused" in denied.err, denied.said


def test_exposed_ports_are_open_in_the_hosts_network_as_well(harbour: Harbour) -> None:
    harbour.serving("web", "--network", "host", "--expose", "8097", "given", "3")
    assert harbour.curl("http://127.0.0.1:8097/").startswith("descriptor 3, ")
