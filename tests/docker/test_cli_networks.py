"""wherry's command against a Docker: networks and ports, as docker's own command does them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cli.conftest import COMMAND
from tests.docker.engine import Docker

pytestmark = pytest.mark.root

SLEEP = ("busybox", "/bin/busybox", "sleep", "1000")


class Pair:
    """The two commands, for the same Docker."""

    def __init__(self, docker: Docker) -> None:
        self.docker = docker
        self._environment = {
            **os.environ,
            "WHERRY_HOST": docker.dockerd.host,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }

    def wherry(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *words],
            capture_output=True, text=True, env=self._environment, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def ok(self, *words: str) -> str:
        done = self.wherry(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def pair(docker: Docker) -> Iterator[Pair]:
    """Networks `front` and `back`, a container `up` in both with ports, and one without."""
    pair = Pair(docker)
    pair.ok("network", "create", "--subnet", "10.77.0.0/24", "--label", "a=b", "front")
    pair.ok("network", "create", "--internal", "back")
    pair.ok(
        "run", "-d", "--name", "up", "--network", "front", "--network-alias", "shop",
        "--ip", "10.77.0.9", "-p", "8080:80", "-p", "127.0.0.1:7000-7002:7000-7002", "-p", "53/udp",
        "-p", "[::1]:9000:90", "--expose", "100-102", *SLEEP,
    )  # fmt: skip
    pair.ok("network", "connect", "--alias", "store", "back", "up")
    pair.ok("run", "-d", "--name", "alone", "--network", "none", "--expose", "1", *SLEEP)
    yield pair
    pair.ok("rm", "-f", "up", "alone")
    pair.ok("network", "rm", "front", "back")


SAME = [
    "network ls", "network ls -q", "network ls --no-trunc", "network ls -f driver=bridge",
    "network ls -f type=custom --format {{.Name}}|{{.Driver}}|{{.Scope}}|{{.IPv6}}|{{.Internal}}",
    "network ls --format {{.Labels}}|{{.CreatedAt}}", "network ls -f label=a=b -q",
    "network ls -f dangling=true -q", "network ls -f name=ro",
    "network inspect front", "network inspect front back", "network inspect nosuch front",
    "network inspect -f {{range.Containers}}{{.Name}}|{{.IPv4Address}}{{end}} front",
    "network inspect -v front", "inspect front", "inspect --type network front",
    "inspect --type network up", "network rm nosuch", "network rm -f nosuch", "network rm front",
    "network rm bridge", "network create front", "network create", "network create bridge",
    "network create --subnet nonsense x", "network create --subnet 10.77.0.0/25 x",
    "network connect front nosuch", "network connect nosuch up",
    "network connect front up", "network connect --ip 10.99.0.1 front alone",
    "network disconnect back alone", "network disconnect nosuch up", "network nosuch",
    "port up", "port up 80", "port up 80/tcp", "port up 53/udp", "port up 53", "port up 81",
    "port up x", "port alone", "port nosuch", "port",
    "ps --format {{.Networks}}",
    "ps -a --filter network=front --format {{.Names}}", "ps --filter network=nosuch -q",
    "ps -a --filter publish=8080 --format {{.Names}}", "ps --filter publish=80/udp -q",
    "ps -a --filter publish=7000-7001/tcp --format {{.Names}}",
    "ps -a --filter expose=100-102/tcp --format {{.Names}}", "ps -a --filter expose=1 -q",
    "run --rm --network nosuch busybox true", "run --rm -p 80:80:80 busybox true",
    "run --rm -p 8080:80 busybox true", "run --rm --network front --ip 10.77.0.9 busybox true",
    "run --rm --ip 10.0.0.1 busybox true", "run --rm --network-alias x busybox true",
    "run --rm --network none --network front busybox true",
    "run --rm --network container:nosuch busybox true",
    "run --rm --network container:up -p 80 busybox true",
    "run --rm --add-host a:1.2.3.4 --add-host b:fd00::1 --network none busybox cat /etc/hosts",
    "run --rm --dns 1.2.3.4 --dns-search x.y --dns-option ndots:3 busybox cat /etc/resolv.conf",
    "run --rm --network container:up busybox /bin/busybox hostname -i",
    "run --rm --network front --ip 10.77.0.50 --mac-address 92:d0:c6:0a:29:33"
    " busybox /bin/busybox ip address show eth0 scope global",
    "run --rm --add-host here:host-gateway busybox /bin/busybox grep here /etc/hosts",
    "create --network container: busybox", "create -p 1-3:1-2 busybox",
]  # fmt: skip


@pytest.mark.parametrize("docker", ["forky"], indirect=True)
@pytest.mark.parametrize("line", SAME)
def test_same_output_and_exit_code(pair: Pair, line: str) -> None:
    words = line.split()
    ours, theirs = pair.wherry(*words), pair.docker(*words)
    in_order = "{{.Networks}}" not in line  # docker tells them in Go's order, any order
    assert _plain(ours.stdout, in_order) == _plain(theirs.stdout, in_order), ours.stderr
    assert ours.returncode == theirs.returncode, (ours.stderr, theirs.stderr)
    assert bool(ours.stderr) == bool(theirs.stderr), (ours.stderr, theirs.stderr)


def _plain(text: str, in_order: bool) -> list[str]:
    """Lines, without the numbers that the kernel gives to interfaces.

    Of what is listed with commas the order may not count.
    """
    lines = [line.partition("<")[2] if "eth0@" in line else line for line in text.splitlines()]
    return lines if in_order else [",".join(sorted(line.split(","))) for line in lines]


NEWER = ["network ls --format json", "ps -a --format {{.Names}}|{{.Ports}}"]
"""What Docker 28 writes otherwise than Docker 26: the addresses of IPv6 in brackets."""


@pytest.mark.parametrize("line", NEWER)
def test_same_output_as_the_newer_docker(pair: Pair, line: str) -> None:
    ours, theirs = pair.ok(*line.split()), pair.docker.ok(*line.split())
    if pair.docker.ok("version", "-f", "{{.Client.Version}}").startswith("26."):
        ours = ours.replace('"IPv4":"true",', "")
        for address in ("::", "::1"):
            ours = ours.replace(f"[{address}]:", f"{address}:")
    assert ours == theirs


FLAGS = [
    "", "-p 80", "-p 8080:80 -p 127.0.0.1::80 -p 53:53/udp", "-p 8000-8010:80-90/udp",
    "-p 8000-8010:80", "-p [::1]:8080:80", "-p published=8080,target=80,protocol=udp",
    "-P --expose 80 --expose 90-95/udp", "--network host", "--network none", "--network front",
    "--network bridge", "--network container:up", "--network front --network back",
    "--network name=front,alias=a,ip=10.77.0.20,mac-address=92:d0:c6:0a:29:33 --network back",
    "--network front --network-alias a --network-alias b --ip 10.77.0.21 --link up:there",
    "--net front --mac-address 92:d0:c6:0a:29:33", "--mac-address 92:d0:c6:0a:29:33",
    "--name linked --link up --link up:alias", "--hostname me --domainname house",
    "--dns 1.2.3.4 --dns-search x.y --dns-option ndots:3",
    "--add-host a:1.2.3.4 --add-host b=1.2.3.5 --add-host c:host-gateway --add-host d=[::1]",
]  # fmt: skip
MADE = {
    "Config": ("ExposedPorts", "Domainname"),
    "HostConfig": (
        "PortBindings", "NetworkMode", "PublishAllPorts", "Dns", "DnsSearch", "DnsOptions",
        "ExtraHosts", "Links",
    ),
}  # fmt: skip
JOINED = ("IPAMConfig", "Links", "Aliases", "DriverOpts")


@pytest.mark.parametrize("flags", FLAGS)
def test_containers_are_made_alike(pair: Pair, flags: str) -> None:
    made = []
    for command in (pair.wherry, pair.docker):
        done = command("create", *flags.split(), "busybox", "true")
        assert done.returncode == 0, done.stderr
        name = done.stdout.strip()
        (document,) = json.loads(pair.docker.ok("inspect", name))
        pair.ok("rm", name)
        document["HostConfig"]["Links"] = sorted(document["HostConfig"]["Links"] or [])
        made.append(
            {field: document[part].get(field) or None for part in MADE for field in MADE[part]}
            | {"mac": document["Config"].get("MacAddress"), "networks": _joined(document, name)}
        )
    ours, theirs = made
    assert ours == theirs


def _joined(document: Any, name: str) -> Any:
    """What was asked of each network, without the ID that Docker adds to the aliases."""
    return {
        network: [endpoint.get(field) or None for field in JOINED]
        for network, endpoint in document["NetworkSettings"]["Networks"].items()
        if not endpoint.get("Aliases") or endpoint["Aliases"].pop() == name[:12]
    }


def test_networks_are_made_alike(pair: Pair) -> None:
    flags = (
        "--subnet", "10.78.0.0/16", "--subnet", "fd00:78::/64", "--gateway", "10.78.0.7",
        "--ip-range", "10.78.5.0/24", "--aux-address", "printer=10.78.0.9", "--ipv6", "--internal",
        "--label", "a=b", "--label", "c", "-o", "com.docker.network.driver.mtu=1400",
        "--attachable",
    )  # fmt: skip
    layout = "{{json .IPAM}} {{.EnableIPv6}} {{.Internal}} {{.Labels}} {{.Options}} {{.Attachable}}"
    made = []
    for command in (pair.wherry, pair.docker):
        done = command("network", "create", *flags, "made")
        assert done.returncode == 0, done.stderr
        made.append(pair.docker.ok("network", "inspect", "-f", layout, "made"))
        assert command("network", "rm", "made").stdout == "made\n"
    assert made[0] == made[1]


def test_events_of_networks_are_the_same(pair: Pair) -> None:
    began = f"{time.time():.9f}"
    pair.ok("network", "create", "told")
    pair.ok("network", "connect", "told", "up")
    pair.ok("network", "disconnect", "told", "up")
    pair.ok("network", "rm", "told")
    period = ("--since", began, "--until", f"{time.time():.9f}")
    words = ("events", *period, "--filter", "type=network")
    for layout in ((), ("--format", "json"), ("--format", "{{.Type}} {{.Action}} {{.Actor.ID}}")):
        ours, theirs = pair.wherry(*words, *layout), pair.docker(*words, *layout)
        assert ours.stdout.splitlines() == theirs.stdout.splitlines()
    actions = [line.split()[1] for line in ours.stdout.splitlines()]
    assert set(actions) == {"create", "connect", "disconnect", "destroy"}


def test_pruning_says_the_same(pair: Pair) -> None:
    pair.ok("builder", "prune", "-f")
    for words in (["network", "prune", "-f"], ["system", "prune", "-f", "--filter", "label=mine"]):
        said = []
        for command in (pair.wherry, pair.docker):
            pair.ok("network", "create", "--label", "mine", "spare")
            done = command(*words)
            assert done.returncode == 0, done.stderr
            said.append(done.stdout)
        assert said[0] == said[1]
        assert said[0].startswith("Deleted Networks:\nspare\n\n")
    for words in (["network", "prune"], ["system", "prune"], ["system", "prune", "--volumes"]):
        ours, theirs = pair.wherry(*words).stdout, pair.docker(*words).stdout
        assert ours.splitlines()[:4] == theirs.splitlines()[:4]
