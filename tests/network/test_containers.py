"""Containers in networks: the whole engine in a machine of its own, as root and as anybody."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine_under_test import Wherry, end, until
from tests.guests.toolchain import Guests
from tests.network.machine import FAR, INSIDE, NOBODY, Machine

pytestmark = [pytest.mark.root, pytest.mark.guests]

QUIET = ("--dns-option", "ndots:1")
"""Names that nobody has are not asked for outside, where nobody answers."""


@pytest.fixture(scope="module", params=[None, NOBODY], ids=["root", "user"])
def engine(request: pytest.FixtureRequest, guests: Guests) -> Iterator[Wherry]:
    """An engine in a machine, with the image `sockets` and the network `fleet`."""
    with Machine() as machine, Wherry(user=request.param) as wherry:
        wherry.within = machine.within
        wherry.machine = machine  # type: ignore[attr-defined]
        wherry.image("sockets", guests.sockets())
        wherry.ok("network", "create", "--subnet", "10.80.0.0/16", "fleet")
        yield wherry


@pytest.fixture(autouse=True)
def nothing_left(engine: Wherry) -> Iterator[None]:
    yield
    left = engine.ok("ps", "-aq").split()
    if left:
        engine.ok("rm", "-f", *left)
    engine.ok("network", "prune", "-f", "--filter", "label=of-a-test")


def serve(engine: Wherry, name: str, *flags: str) -> str:
    """A container that answers at its port 8000; its address."""
    engine.ok("run", "-d", "--name", name, *flags, "sockets", "serve", "8000")
    listening(engine, name)
    return address(engine, name)


def listening(engine: Wherry, name: str) -> None:
    with engine.background("logs", "-f", name) as logs:
        assert logs.stdout is not None
        assert logs.stdout.readline() == b"listening\n"


def address(engine: Wherry, name: str) -> str:
    shown = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    return engine.ok("inspect", "-f", shown, name).split()[0]


def get(engine: Wherry, name: str, *flags: str, port: int = 8000) -> bool:
    """Whether another container reaches `name`."""
    done = engine("run", "--rm", *QUIET, *flags, "sockets", "get", name, str(port))
    return done.code == 0 and "GET / HTTP" in done.out


def fetch(engine: Wherry, port: int, host: str = "127.0.0.1") -> str:
    """What the host's curl is answered."""
    curl = ["curl", "-sS", "-m", "50", f"http://{host}:{port}/x"]
    machine: Machine = engine.machine  # type: ignore[attr-defined]
    done = machine.run(*curl)
    return done.stdout.strip() or f"curl: {done.returncode}"


def network(engine: Wherry, name: str, *flags: str) -> str:
    engine.ok("network", "create", "--label", "of-a-test", *flags, name)
    return name


def inspect(engine: Wherry, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        engine.ok("inspect", "-f", "{{json .NetworkSettings}}", name)
    )
    return found


def test_containers_find_each_other_by_name_alias_and_id(engine: Wherry) -> None:
    there = serve(engine, "web", "--network", "fleet", "--network-alias", "boat", "-h", "ship")
    assert there.startswith("10.80.")
    id = engine.ok("inspect", "-f", "{{.Id}}", "web")[:12]
    for name in ("web", "boat", "ship", id):
        assert get(engine, name, "--network", "fleet"), name
    engine.ok("rename", "web", "renamed")
    assert get(engine, "renamed", "--network", "fleet")
    assert not get(engine, "web", "--network", "fleet")
    engine.ok("rm", "-f", "renamed")
    assert not get(engine, "boat", "--network", "fleet")


def test_two_networks_cannot_see_each_other(engine: Wherry) -> None:
    other = network(engine, "other")
    there = serve(engine, "web", "--network", "fleet")
    assert get(engine, there, "--network", "fleet")
    assert not get(engine, there, "--network", other)
    assert not get(engine, "web", "--network", other)
    engine.ok("network", "connect", other, "web")
    assert get(engine, "web", "--network", other)
    assert get(engine, "web", "--network", "fleet")
    engine.ok("network", "disconnect", other, "web")
    assert not get(engine, "web", "--network", other)
    assert get(engine, "web", "--network", "fleet")
    assert f"network {other}" not in engine.ok("network", "rm", other)


def test_a_network_that_cannot_be_joined_leaves_the_others_as_they_are(engine: Wherry) -> None:
    serve(engine, "web", "--network", "fleet", "-p", "8090:8000")
    taken = network(engine, "taken", "-o", "com.docker.network.bridge.name=lo")
    assert engine("network", "connect", taken, "web").code == 1
    assert list(inspect(engine, "web")["Networks"]) == ["fleet"]  # type: ignore[call-overload]
    assert get(engine, "web", "--network", "fleet")
    assert fetch(engine, 8090) == "GET /x HTTP/1.1"


def test_a_network_with_a_container_is_not_removed(engine: Wherry) -> None:
    name = network(engine, "used")
    serve(engine, "web", "--network", name)
    assert "has active endpoints (web); stop" in engine.refused("network", "rm", name, code=1)
    members = json.loads(engine.ok("network", "inspect", name))[0]["Containers"]
    assert [each["Name"] for each in members.values()] == ["web"]
    engine.ok("stop", "web")
    engine.ok("network", "rm", name)
    assert "network used not found" in engine("start", "web").err


def test_a_published_port_is_reached_at_all_addresses_of_the_host(engine: Wherry) -> None:
    serve(engine, "web", "-p", "8081:8000", "-p", "127.0.0.1:9000-9005:8000", "-P")
    assert fetch(engine, 8081) == "GET /x HTTP/1.1"
    assert fetch(engine, 8081, INSIDE) == "GET /x HTTP/1.1"
    assert fetch(engine, 8081, "[::1]") == "GET /x HTTP/1.1"
    assert fetch(engine, 9000) == "GET /x HTTP/1.1"
    ports = engine.ok("port", "web").splitlines()
    assert set(ports) == {
        "8000/tcp -> 0.0.0.0:8081",
        "8000/tcp -> [::]:8081",
        "8000/tcp -> 127.0.0.1:9000",
    }
    second = serve(engine, "second", "-p", "127.0.0.1:9000-9005:8000", "-p", "8000")
    assert second != address(engine, "web")
    assert fetch(engine, 9001) == "GET /x HTTP/1.1"
    free = engine.ok("port", "second", "8000/tcp").splitlines()[0].rpartition(":")[2]
    assert fetch(engine, int(free)) == "GET /x HTTP/1.1"
    assert engine.ok("ps", "-q", "--filter", "publish=8081").split() == [
        engine.ok("inspect", "-f", "{{.Id}}", "web")[:12]
    ]
    engine.ok("stop", "web")
    assert fetch(engine, 8081).startswith("curl:")


def test_who_has_a_port_in_use_is_told(engine: Wherry) -> None:
    serve(engine, "web", "-p", "8082:8000")
    refused = engine.refused("run", "--name", "late", "-p", "8082:1", "sockets", "x", code=125)
    assert "port is already allocated" in refused
    assert "'web' publishes it; stop that or publish another port" in refused
    twice = ("-p", "8089:1", "-p", "8089:2")
    refused = engine.refused("run", "--rm", *twice, "sockets", "x", code=125)
    assert "this container publishes it twice; leave out one" in refused
    assert inspect(engine, "late")["SandboxID"] == ""
    machine: Machine = engine.machine  # type: ignore[attr-defined]
    with machine.answering("127.0.0.1", 8083):
        taken = engine.refused(
            "run", "--rm", "-p", "127.0.0.1:8083:1", "sockets", "serve", "1", code=125
        )
    assert "another program has it" in taken
    engine.ok("rm", "-f", "web")
    engine.ok("start", "late")


def test_addresses_are_asked_for_kept_and_given_back(engine: Wherry) -> None:
    wanted = ["--network", "fleet", "--ip", "10.80.0.2", "--mac-address", "02:42:00:00:00:07"]
    engine.ok("create", "--name", "fixed", *wanted, "sockets", "serve", "8000")
    # The lowest one is promised, so that another container gets the next.
    assert serve(engine, "any", "--network", "fleet") == "10.80.0.3"
    engine.ok("start", "fixed")
    assert address(engine, "fixed") == "10.80.0.2"
    found = inspect(engine, "fixed")["Networks"]["fleet"]  # type: ignore[index]
    assert found["MacAddress"] == "02:42:00:00:00:07"
    assert found["IPAMConfig"] == {"IPv4Address": "10.80.0.2"}
    refused = engine("run", "--rm", "--network", "fleet", "--ip", "10.80.0.3", "sockets", "udp")
    assert (refused.code, "already in use" in refused.err) == (125, True)
    engine.ok("stop", "any")
    assert serve(engine, "again", "--network", "fleet") == "10.80.0.3"


def test_hosts_and_resolver_are_as_asked(engine: Wherry) -> None:
    there = serve(engine, "web", "--network", "fleet")
    flags = ["--network", "fleet", "--add-host", f"pier:{there}", "--add-host", "me:host-gateway"]
    assert get(engine, "pier", *flags)
    search = ["--dns-search", "example.org", "--dns", "192.0.2.1", "-h", "ship"]
    name = engine.ok("run", "-d", *QUIET, *flags, *search, "sockets", "serve", "8000")
    hosts = Path(engine.ok("inspect", "-f", "{{.HostsPath}}", name)).read_text().splitlines()
    resolver = Path(engine.ok("inspect", "-f", "{{.ResolvConfPath}}", name)).read_text()
    assert f"{there}\tpier" in hosts
    assert "10.80.0.1\tme" in hosts
    assert hosts[-1].split() == [address(engine, name), "ship"]
    assert resolver.split()[-6:] == [
        "nameserver", "127.0.0.11", "search", "example.org", "options", "ndots:1"
    ]  # fmt: skip
    extra = network(engine, "second")
    engine.ok("network", "connect", extra, name)
    assert len(
        Path(engine.ok("inspect", "-f", "{{.HostsPath}}", name)).read_text().splitlines()
    ) == (len(hosts) + 1)


def test_a_link_gives_a_name_on_the_predefined_network(engine: Wherry) -> None:
    serve(engine, "web")
    assert get(engine, "boat", "--link", "web:boat")
    assert not get(engine, "web")


def test_a_network_is_shared(engine: Wherry) -> None:
    serve(engine, "web", "--network", "fleet", "-h", "ship")
    assert get(engine, "127.0.0.1", "--network", "container:web")
    name = engine.ok("run", "-d", "--network", "container:web", "sockets", "serve", "8001")
    assert engine.ok("inspect", "-f", "{{.Config.Hostname}}", name) == "ship"
    assert get(engine, "web", "--network", "fleet", port=8001)
    engine.ok("stop", "web")
    refused = engine("run", "--rm", "--network", "container:web", "sockets", "udp")
    assert "non running container" in refused.err


def test_without_a_network_there_is_a_loopback_interface_for_each(engine: Wherry) -> None:
    engine.ok("run", "-d", "--name", "web", "--network", "none", "sockets", "serve", "8000")
    listening(engine, "web")
    assert get(engine, "127.0.0.1", "--network", "container:web")
    assert not get(engine, "127.0.0.1", "--network", "none")
    assert list(inspect(engine, "web")["Networks"]) == ["none"]  # type: ignore[call-overload]


def test_the_hosts_network_is_used_as_it_is(engine: Wherry) -> None:
    engine.ok("run", "-d", "--name", "web", "--network", "host", "sockets", "serve", "8084")
    listening(engine, "web")
    assert fetch(engine, 8084) == "GET /x HTTP/1.1"
    assert list(inspect(engine, "web")["Networks"]) == ["host"]  # type: ignore[call-overload]


def test_the_way_out_and_none_of_an_internal_network(engine: Wherry) -> None:
    machine: Machine = engine.machine  # type: ignore[attr-defined]
    inner = network(engine, "inner", "--internal")
    there = serve(engine, "web", "--network", inner, "-p", "8087:8000")
    assert get(engine, there, "--network", inner)
    assert engine.ok("port", "web") == ""  # as Docker has it
    assert fetch(engine, 8087).startswith("curl:")
    with machine.outside.answering(FAR, 80):
        engine.ok("run", "-d", "--name", "out", "sockets", "get", FAR, "80")
        until(lambda: INSIDE in engine("logs", "out").out, "nobody answered")
        assert engine("run", "--rm", "--network", inner, "sockets", "get", FAR, "80").code != 0


def test_everything_goes_on_while_the_engine_is_dead(engine: Wherry) -> None:
    there = serve(engine, "web", "--network", "fleet", "-p", "8085:8000")
    engine.kill_daemon()
    assert fetch(engine, 8085) == "GET /x HTTP/1.1"
    assert get(engine, "web", "--network", "fleet")
    assert address(engine, "web") == there
    assert set(engine.ok("port", "web").splitlines()) == {
        "8000/tcp -> 0.0.0.0:8085", "8000/tcp -> [::]:8085"
    }  # fmt: skip
    assert serve(engine, "next", "--network", "fleet") != there
    engine.ok("rm", "-f", "web")
    assert fetch(engine, 8085).startswith("curl:")


def test_a_helper_that_was_killed_is_replaced(engine: Wherry) -> None:
    serve(engine, "web", "--network", "fleet", "-p", "8086:8000")
    end(helper(engine), signal.SIGKILL)
    # What asks for the next helper is the engine itself, or whoever comes first.
    assert get(engine, "web", "--network", "fleet")
    until(lambda: fetch(engine, 8086) == "GET /x HTTP/1.1", "the port is not served again")


def test_engine_and_helper_may_both_be_killed(engine: Wherry) -> None:
    serve(engine, "web", "--network", "fleet", "-p", "8089:8000")
    pid = helper(engine)
    engine.kill_daemon()
    end(pid, signal.SIGKILL)
    engine.ok("ps")  # the next engine puts everything right by itself
    until(lambda: fetch(engine, 8089) == "GET /x HTTP/1.1", "the port is not served again")
    assert get(engine, "web", "--network", "fleet")


def test_a_restart_policy_gets_its_port_again(engine: Wherry) -> None:
    flags = ["--restart", "always", "--network", "fleet", "-p", "8087:8000"]
    serve(engine, "web", *flags)
    end(engine.pid("web"), signal.SIGKILL)
    until(lambda: fetch(engine, 8087) == "GET /x HTTP/1.1", "it is not served again")
    assert get(engine, "web", "--network", "fleet")


def test_what_a_container_may_reach_can_be_narrowed(engine: Wherry) -> None:
    serve(engine, "web", "--network", "fleet")
    there = serve(engine, "db", "--network", "fleet")
    only = ["--network", "fleet", "--label", "io.wherry.egress=web:8000"]
    assert get(engine, "web", *only)
    denied = engine("run", "--name", "narrow", *QUIET, *only, "sockets", "get", there, "8000")
    assert denied.code != 0
    until(lambda: f"{there}:8000" in engine("logs", "narrow").err, "the denial is not in the log")
    assert not get(engine, "db", *only)
    # A label may be an image's, and grants nothing that who makes the container does not.
    wide = ["--network", "fleet", "--label", "io.wherry.egress=*"]
    assert get(engine, "db", *wide)
    assert not get(engine, "db", *wide, "--annotation", "io.wherry.egress=web:8000")
    wrong = ["--label", "io.wherry.egress=web:nonsense"]
    refused = engine.refused("run", "--rm", *wrong, "sockets", "udp", code=125)
    assert "io.wherry.egress" in refused


def test_traffic_is_counted(engine: Wherry) -> None:
    serve(engine, "web", "-p", "8088:8000")
    fetch(engine, 8088, INSIDE)
    shown = engine.ok("stats", "--no-stream", "--format", "{{.NetIO}}", "web")
    assert shown != "0B / 0B"


def helper(engine: Wherry) -> int:
    """The pid of the helper that serves names and ports."""
    found = [
        pid
        for pid in engine.processes()
        if b"wherry.network.server" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    assert len(found) == 1, found
    return found[0]
