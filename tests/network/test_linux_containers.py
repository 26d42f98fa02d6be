"""Linux programs under another runtime, in the engine's networks beside guests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from tests.conftest import busybox
from tests.engine_under_test import Wherry
from tests.guests.toolchain import Guests
from tests.network.machine import INSIDE, Machine

pytestmark = [pytest.mark.containerd, pytest.mark.guests]

RUNC = ("--runtime", "io.containerd.runc.v2", "--network", "fleet")


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with Machine() as machine:
        yield machine


@pytest.fixture(scope="module")
def engine(machine: Machine, guests: Guests) -> Iterator[Wherry]:
    """An engine with the images `linux`, of busybox, and `sockets`, and the network `fleet`."""
    with Wherry() as wherry:
        wherry.within = machine.within
        context = wherry.folder / "linux"
        context.mkdir()
        shutil.copy(busybox(), context / "busybox")
        (context / "Dockerfile").write_text(
            'FROM scratch\nCOPY busybox /bin/busybox\nENTRYPOINT ["/bin/busybox"]\n'
        )
        platform = wherry.ok("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}")
        wherry.ok("build", "-q", "--platform", platform, "-t", "linux", context)
        wherry.image("sockets", guests.sockets())
        wherry.ok("network", "create", "fleet")
        yield wherry


def test_guests_and_linux_programs_find_each_other(engine: Wherry) -> None:
    engine.ok("run", "-d", "--name", "guest", "--network", "fleet", "sockets", "serve", "8000")
    engine.ok("run", "-d", "--name", "linux", *RUNC, "linux", "httpd", "-f", "-h", "/etc")
    wget = ["linux", "wget", "-q", "-O", "-"]
    assert engine.ok("run", "--rm", *RUNC, *wget, "http://guest:8000/x") == "GET /x HTTP/1.1"
    hostname = engine.ok("run", "--rm", *RUNC, *wget, "http://linux/hostname")
    assert engine.ok("inspect", "-f", "{{.Id}}", "linux").startswith(hostname)
    done = engine("run", "--rm", "--network", "fleet", "sockets", "get", "linux", "80")
    assert "404 Not Found" in done.out
    engine.ok("rm", "-f", "guest", "linux")


def test_the_way_out_and_the_settings_of_an_interface_are_as_asked(engine: Wherry) -> None:
    engine.ok("network", "create", "wide")
    option = "driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians="
    first = ("--network", f"name=fleet,{option}1")
    script = "/bin/busybox ip route; /bin/busybox cat /proc/sys/net/ipv4/conf/eth*/log_martians"
    shell = ("linux", "sh", "-c", script)
    ways = {}
    for priority in (0, 1):
        second = ("--network", f"name=wide,gw-priority={priority}")
        route, *_, fleet, wide = engine.ok("run", "--rm", *first, *second, *shell).splitlines()
        ways[priority] = route.split()[-1]
        assert (fleet, wide) == ("1", "0")
    assert ways == {0: "eth0", 1: "eth1"}
    refused = engine.refused(
        "run", "--rm", "--network", f"name=fleet,{option.replace('IFNAME', 'eth0')}1", *shell,
        code=125,
    )  # fmt: skip
    assert "write net.ipv4.conf.IFNAME.NAME=VALUE" in refused
    engine.ok("network", "rm", "wide")


def test_its_published_port_is_forwarded(engine: Wherry, machine: Machine) -> None:
    flags = ["-p", "8090:80", "--add-host", "pier:192.0.2.9"]
    engine.ok("run", "-d", "--name", "linux", *RUNC, *flags, "linux", "httpd", "-f", "-h", "/etc")
    for host in ("127.0.0.1", INSIDE):
        assert "192.0.2.9\tpier" in machine.ok("curl", "-sS", f"http://{host}:8090/hosts")
    engine.kill_daemon()
    assert "pier" in machine.ok("curl", "-sS", f"http://{INSIDE}:8090/hosts")
    engine.ok("rm", "-f", "linux")
    assert machine.run("curl", "-sS", f"http://{INSIDE}:8090/hosts").returncode != 0


def test_it_is_narrowed_by_the_network(engine: Wherry) -> None:
    engine.ok("run", "-d", "--name", "web", *RUNC, "linux", "httpd", "-f", "-h", "/etc")
    engine.ok("run", "-d", "--name", "other", *RUNC, "linux", "httpd", "-f", "-h", "/etc")
    rules = [*RUNC, "--label", "io.wherry.egress=web:80"]
    narrow = [*rules, "linux", "wget", "-q", "-O", "-"]
    assert engine("run", "--rm", *narrow, "http://web/hostname").code == 0
    assert engine("run", "--rm", *narrow, "http://other/hostname").code != 0
    shown = "{{.NetworkSettings.Networks.fleet.IPAddress}}"
    address = engine.ok("inspect", "-f", shown, "other")
    refused = engine("run", "--rm", *narrow, f"http://{address}/hostname")
    assert "refused" in refused.err
    # Packets that it makes by itself would pass by its rules.
    raw = ["linux", "arping", "-c", "1", "-w", "20", address]
    assert engine("run", "--rm", *RUNC, *raw).code == 0
    assert "not permitted" in engine("run", "--rm", *rules, *raw).err
    engine.ok("rm", "-f", "web", "other")


def test_host_and_none_are_what_they_say(engine: Wherry) -> None:
    links = ["linux", "ip", "-o", "link"]
    runtime = RUNC[:2]
    assert "uplink" in engine.ok("run", "--rm", *runtime, "--network", "host", *links)
    assert len(engine.ok("run", "--rm", *runtime, "--network", "none", *links).splitlines()) == 1
