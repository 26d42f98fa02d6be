"""Ports that the kernel forwards, and what containers may reach."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import without
from tests.network.machine import FAR, FAR6, INSIDE, INSIDE6, OUTSIDE, OUTSIDE6, Machine, told
from tests.network.nets import BACK, FRONT, Boxes, everywhere, failure, plug, tried

from wherry.network.denials import DeniedPacket, parse
from wherry.network.errors import NetworkError
from wherry.network.links import Links
from wherry.network.model import Publication
from wherry.network.netfilter import attributes, messages

pytestmark = pytest.mark.root


def _filter_bridges(machine: Machine, wanted: str) -> bool:
    """Whether packets within a bridge pass rules, too, as where Docker is; False if unknown."""

    def write() -> bool:
        try:
            for program in ("iptables", "ip6tables"):
                Path(f"/proc/sys/net/bridge/bridge-nf-call-{program}").write_text(wanted)
        except FileNotFoundError:
            return False
        return True

    return machine.do(write)


def _tcp(port: int, host_port: int, host_ip: str = "") -> Publication:
    return Publication(container_port=port, protocol="tcp", host_ip=host_ip, host_port=host_port)


@pytest.mark.parametrize("filtered", ["0", "1"], ids=["", "bridges filtered"])
def test_a_published_port_leads_into_the_container(
    machine: Machine, run: Path, filtered: str
) -> None:
    if not _filter_bridges(machine, filtered) and filtered == "1":
        without("br_netfilter is not loaded")

    async def trial(links: Links, boxes: Boxes) -> object:
        await links.attach(boxes.sandbox("one", plug(FRONT, 2)))
        await links.attach(boxes.sandbox("two", plug(FRONT, 3)))
        await links.attach(boxes.sandbox("else", plug(BACK, 2)))
        everywhere_4, at_6 = _tcp(80, 8080), _tcp(80, 8086, "::")
        assert await links.publish("one", everywhere_4)
        assert await links.publish("one", everywhere_4)
        assert await links.publish("one", at_6)
        assert await links.publish("one", _tcp(80, 8081, INSIDE))
        assert not await links.publish("one", _tcp(80, 8082, "127.0.0.1"))
        with boxes["one"].answering("172.18.0.2", 80), boxes["one"].answering("fd00:18::2", 80):
            outside = machine.outside
            seen = {
                "outside": outside.do(told, INSIDE, 8080),
                "outside at an address": outside.do(told, INSIDE, 8081),
                "outside by IPv6": outside.do(told, INSIDE6, 8086),
                "the host": told(INSIDE, 8080),
                "a neighbour": boxes["two"].do(told, INSIDE, 8080),
                "itself": boxes["one"].do(told, INSIDE, 8080),
                "another network": boxes["else"].do(told, INSIDE, 8080),
                "loopback": failure(told, "127.0.0.1", 8080),
                "not published": outside.do(failure, told, INSIDE, 8082),
            }
            await links.withdraw("one", everywhere_4)
            seen["withdrawn"] = outside.do(failure, told, INSIDE, 8080)
            await links.detach("one")
            seen["detached"] = outside.do(failure, told, INSIDE, 8081)
        return seen

    assert tried(machine, trial, run, None) == {
        "outside": OUTSIDE,
        "outside at an address": OUTSIDE,
        "outside by IPv6": OUTSIDE6,
        "the host": INSIDE,
        "a neighbour": "172.18.0.1",
        "itself": "172.18.0.1",
        "another network": "172.18.0.1",
        "loopback": "ECONNREFUSED",
        "not published": "ECONNREFUSED",
        "withdrawn": "ECONNREFUSED",
        "detached": "ECONNREFUSED",
    }


def test_who_routes_into_a_network_finds_published_ports_only(machine: Machine, run: Path) -> None:
    async def trial(links: Links, boxes: Boxes) -> object:
        await links.attach(boxes.sandbox("one", plug(FRONT, 2)))
        with boxes["one"].answering("172.18.0.2", 80):
            return machine.outside.do(failure, told, "172.18.0.2", 80)

    machine.outside.ok("ip", "route", "add", "172.18.0.0/16", "via", INSIDE)
    try:
        assert tried(machine, trial, run, None) == "EHOSTUNREACH"
    finally:
        machine.outside.ok("ip", "route", "del", "172.18.0.0/16")


def test_ports_of_a_container_that_ended_unseen_are_withdrawn(machine: Machine, run: Path) -> None:
    async def leave(links: Links, boxes: Boxes) -> str:
        for id, host in (("one", 2), ("two", 3)):
            await links.attach(boxes.sandbox(id, plug(FRONT, host)))
            await links.publish(id, _tcp(80, 8000 + host))
        boxes.end("two")
        # This helper is killed, the next one looks.
        links._connected.clear()
        another = Links(run, rootless=False)
        await another.attach(boxes.sandbox("three", plug(FRONT, 4)))
        rules = subprocess.run(["nft", "list", "map", "inet", "wherry", "published4"],
                               capture_output=True, text=True).stdout  # fmt: skip
        await another.detach("three")
        await another.close(idle=False)
        return rules

    rules = tried(machine, leave, run, None)
    assert "tcp . 8002 : 172.18.0.2 . 80" in rules and "8003" not in rules


@everywhere
def test_what_a_container_may_not_reach_is_refused_and_told(
    machine: Machine, user: int | None, run: Path
) -> None:
    async def trial(links: Links, boxes: Boxes) -> object:
        rules = f"{FAR}:80-82 [fd00:18::/64]:80"
        await links.attach(boxes.sandbox("one", plug(FRONT, 2), egress=rules))
        await links.attach(boxes.sandbox("two", plug(FRONT, 3)))
        one, two = boxes["one"], boxes["two"]
        with (
            two.answering("172.18.0.3", 80),
            two.answering("fd00:18::3", 80),
            two.answering("fd00:18::3", 81),
            one.answering("172.18.0.2", 80),
            one.answering("127.0.0.1", 99),
        ):
            seen = {
                "allowed": one.do(told, FAR, 80),
                "another port": one.do(failure, told, FAR, 90),
                "another address": one.do(failure, told, "172.18.0.3", 80),
                "allowed by IPv6": one.do(told, "fd00:18::3", 80),
                "another port by IPv6": one.do(failure, told, "fd00:18::3", 81),
                "UDP": one.do(failure, _ask, "172.18.0.3", 53),
                "itself": one.do(told, "127.0.0.1", 99),
                "as a server": two.do(told, "172.18.0.2", 80),
            }
            await links.egress_allow("one", "172.18.0.3", 80, 80)
            seen["looked up"] = one.do(told, "172.18.0.3", 80)
            await links.egress_allow("one", "fd00:18::3", 81, 90)
            await links.egress_allow("two", "fd00:18::3", 81, 90)  # has no limits
            seen["a range looked up"] = one.do(told, "fd00:18::3", 81)
            # A helper that comes back forgets no name that was looked up.
            await links.attach(boxes.sandbox("one", plug(FRONT, 2), egress=rules))
            seen["later"] = one.do(told, "172.18.0.3", 80)
        while len(boxes.denied) < 4:
            boxes.on_denied.clear()
            await asyncio.wait_for(boxes.on_denied.wait(), 60)
        return seen, boxes.denied

    with machine.outside.answering(FAR, 80), machine.outside.answering(FAR, 90):
        seen, denied = tried(machine, trial, run, user)
    assert seen == {
        "allowed": INSIDE,
        "another port": "ECONNREFUSED",
        "another address": "ECONNREFUSED",
        "allowed by IPv6": "fd00:18::2",
        "another port by IPv6": "ECONNREFUSED",
        "UDP": "ECONNREFUSED",
        "itself": "127.0.0.1",
        "as a server": "172.18.0.3",
        "looked up": "172.18.0.2",
        "a range looked up": "fd00:18::2",
        "later": "172.18.0.2",
    }
    assert set(denied) >= {
        ("one", DeniedPacket("tcp", FAR, 90)),
        ("one", DeniedPacket("tcp", "172.18.0.3", 80)),
        ("one", DeniedPacket("tcp", "fd00:18::3", 81)),
        ("one", DeniedPacket("udp", "172.18.0.3", 53)),
    }


def _ask(address: str, port: int) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(60)
        asking.connect((address, port))
        asking.send(b"?")
        return asking.recv(10)


@everywhere
def test_as_many_rules_as_there_may_be_hold(machine: Machine, user: int | None, run: Path) -> None:
    rules = " ".join([*(f"10.0.{number}.0/24:1-2" for number in range(253)), "*:443", f"{FAR}:80"])

    async def trial(links: Links, boxes: Boxes) -> object:
        await links.attach(boxes.sandbox("one", plug(FRONT, 2), egress=rules))
        return [boxes["one"].do(failure, told, FAR, port) for port in (80, 81, 443)]

    with machine.outside.answering(FAR, 80), machine.outside.answering(FAR, 443):
        seen = tried(machine, trial, run, user)
    assert seen == [f"returned {INSIDE!r}", "ECONNREFUSED", f"returned {INSIDE!r}"]


@everywhere
def test_no_rules_at_all_deny_everything(machine: Machine, user: int | None, run: Path) -> None:
    async def trial(links: Links, boxes: Boxes) -> object:
        await links.attach(boxes.sandbox("one", plug(FRONT, 2), egress=""))
        seen = [boxes["one"].do(failure, told, at, 80) for at in (FAR, FAR6)]
        # Who has no limits any more has none.
        await links.attach(boxes.sandbox("one", plug(FRONT, 2)))
        return [*seen, boxes["one"].do(told, FAR, 80)]

    with machine.outside.answering(FAR, 80), machine.outside.answering(FAR6, 80):
        assert tried(machine, trial, run, user) == ["ECONNREFUSED", "ECONNREFUSED", INSIDE]


@given(st.binary(max_size=90))
def test_no_packet_is_too_strange_to_be_told(packet: bytes) -> None:
    found = parse(packet)
    assert found is None or 0 <= found.port <= 65535
    # Nor is what is said to come from the kernel.
    assert all(len(value) <= len(packet) for _, value in attributes(packet))
    assert all(len(payload) <= len(packet) for _, _, payload in messages(packet))


def test_a_denied_packet_is_read_however_it_is_cut() -> None:
    ipv4 = bytes.fromhex("45000034000040004006000001020304cb0071070000005000000000")
    ipv6 = bytes.fromhex("6000000000000000" + "00" * 16 + "20010db8" + "00" * 11 + "07")
    assert parse(ipv4) == DeniedPacket("tcp", "203.0.113.7", 80)
    for length in range(len(ipv4)):
        found = parse(ipv4[:length])
        assert found is None or found.address == "203.0.113.7"
    assert parse(ipv6[:40]) == DeniedPacket("0", "2001:db8::7", 0)
    assert parse(b"") is None and parse(b"\xff" * 80) is None
    # A later fragment has data where ports were.
    assert parse(ipv4[:6] + b"\x00\x05" + ipv4[8:]) == DeniedPacket("tcp", "203.0.113.7", 0)


@everywhere
def test_limits_outlast_a_connection_that_fails(
    machine: Machine, user: int | None, run: Path
) -> None:
    """What is left of it then leads nowhere."""
    none = msgspec.structs.replace(BACK, id="n" * 64, bridge="lo")

    async def trial(links: Links, boxes: Boxes) -> object:
        first = plug(FRONT, 2, way_out=False)
        await links.attach(boxes.sandbox("two", plug(BACK, 3)))
        await links.attach(boxes.sandbox("one", first, egress=""))
        more = plug(BACK, 2, "eth1"), plug(none, 2, "eth2")
        with boxes["two"].answering("172.19.0.3", 80):
            with pytest.raises(NetworkError, match="is no bridge"):
                await links.attach(boxes.sandbox("one", first, *more, egress=""))
            seen = [boxes["one"].do(failure, told, "172.19.0.3", 80)]
            await links.detach("one")
            seen.append(boxes["one"].do(failure, told, "172.19.0.3", 80))
        return seen

    assert tried(machine, trial, run, user) == ["ECONNREFUSED"] * 2
