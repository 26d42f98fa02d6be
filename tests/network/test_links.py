"""Bridges, interfaces and rules, as root and as an ordinary user, in a machine of their own."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from pyroute2 import IPRoute
from tests.network.machine import FAR, FAR6, INSIDE, INSIDE6, MTU, Machine, told
from tests.network.nets import BACK, FRONT, Boxes, ended, everywhere, failure, plug, tried

from wherry.network.errors import NetworkError
from wherry.network.links import Links

pytestmark = pytest.mark.root

FORBIDDEN = ("EHOSTUNREACH", "EACCES", "ENETUNREACH")
"""What a container is told that is sent back by a router, by IPv4 and IPv6."""


def _links_of() -> dict[str, tuple[int, str]]:
    """The interfaces where this is called: MTU and MAC by name."""
    with IPRoute() as links:
        return {
            link.get("ifname"): (link.get("mtu"), link.get("address"))
            for link in links.link("dump")
        }


@everywhere
def test_containers_of_a_network_reach_each_other(
    machine: Machine, user: int | None, run: Path
) -> None:
    async def trial(links: Links, boxes: Boxes) -> object:
        for host, id in ((2, "one"), (3, "two")):
            await links.attach(boxes.sandbox(id, plug(FRONT, host)))
        seen = []
        for mine, other in (("172.18.0.2", "172.18.0.3"), ("fd00:18::2", "fd00:18::3")):
            with boxes["one"].answering(mine, 80):
                seen.append(boxes["two"].do(told, mine, 80) == other)
        interfaces = boxes["two"].do(_links_of)
        return seen, sorted(interfaces), interfaces["eth0"]

    seen, names, (mtu, mac) = tried(machine, trial, run, user)
    assert seen == [True, True]
    assert names == ["eth0", "lo"] and mac == "02:42:00:00:00:03"
    # That of the host's way out, or of pasta's.
    assert mtu == (MTU if user is None else 65520)


@everywhere
def test_two_networks_do_not_see_each_other(machine: Machine, user: int | None, run: Path) -> None:
    async def trial(links: Links, boxes: Boxes) -> object:
        await links.attach(boxes.sandbox("one", plug(FRONT, 2)))
        await links.attach(boxes.sandbox("two", plug(BACK, 2)))
        seen = []
        for mine in ("172.19.0.2", "fd00:19::2"):
            with boxes["two"].answering(mine, 80):
                seen.append(boxes["one"].do(failure, told, mine, 80))
                seen.append(boxes["two"].do(told, mine, 80))
        return seen

    by4, own4, by6, own6 = tried(machine, trial, run, user)
    assert by4 in FORBIDDEN and by6 in FORBIDDEN
    assert (own4, own6) == ("172.19.0.2", "fd00:19::2")


@everywhere
def test_a_network_leads_outside_by_the_hosts_address(
    machine: Machine, user: int | None, run: Path
) -> None:
    async def trial(links: Links, boxes: Boxes) -> object:
        await links.attach(boxes.sandbox("one", plug(FRONT, 2)))
        return [boxes["one"].do(told, address, 80) for address in (FAR, FAR6)], links.warning

    with machine.outside.answering(FAR, 80), machine.outside.answering(FAR6, 80):
        assert tried(machine, trial, run, user) == ([INSIDE, INSIDE6], "")


@everywhere
def test_an_internal_network_leads_nowhere(machine: Machine, user: int | None, run: Path) -> None:
    internal = msgspec.structs.replace(BACK, internal=True)

    async def trial(links: Links, boxes: Boxes) -> object:
        await links.attach(boxes.sandbox("one", plug(internal, 2)))
        await links.attach(boxes.sandbox("two", plug(internal, 3)))
        await links.attach(boxes.sandbox("else", plug(FRONT, 2)))
        # Even who sets a route of its own.
        boxes["one"].do(_route_by, "172.19.0.1")
        with boxes["two"].answering("172.19.0.3", 80):
            seen = [boxes["one"].do(told, "172.19.0.3", 80)]
            seen.append(boxes["else"].do(failure, told, "172.19.0.3", 80))
        seen.append(boxes["one"].do(failure, told, FAR, 80))
        seen.append(boxes["one"].do(failure, told, "172.18.0.1", 80))
        return seen

    with machine.outside.answering(FAR, 80):
        near, *others = tried(machine, trial, run, user)
    assert near == "172.19.0.2"
    assert all(each in FORBIDDEN for each in others), others


def _route_by(gateway: str) -> None:
    with IPRoute() as links:
        links.route("add", dst="default", gateway=gateway)


@everywhere
def test_containers_that_are_kept_apart_still_reach_outside(
    machine: Machine, user: int | None, run: Path
) -> None:
    apart = msgspec.structs.replace(FRONT, icc=False)

    async def trial(links: Links, boxes: Boxes) -> object:
        await links.attach(boxes.sandbox("one", plug(apart, 2)))
        await links.attach(boxes.sandbox("two", plug(apart, 3)))
        with boxes["one"].answering("172.18.0.2", 80):
            seen = boxes["two"].do(failure, told, "172.18.0.2", 80)
        return seen, boxes["two"].do(told, FAR, 80)

    with machine.outside.answering(FAR, 80):
        near, far = tried(machine, trial, run, user)
    assert near in (*FORBIDDEN, "timeout")
    assert far == INSIDE


@everywhere
def test_a_running_container_is_connected_and_disconnected(
    machine: Machine, user: int | None, run: Path
) -> None:
    async def trial(links: Links, boxes: Boxes) -> object:
        box, seen = boxes["one"], []
        await links.attach(boxes.sandbox("other", plug(BACK, 3)))
        await links.attach(boxes.sandbox("one", plug(FRONT, 2)))
        with boxes["other"].answering("172.19.0.3", 80):
            for plugs in (
                [plug(FRONT, 2), plug(BACK, 2, "eth1", way_out=False)],
                [plug(FRONT, 2, way_out=False), plug(BACK, 2, "eth1")],
                [plug(BACK, 2, "eth1")],
                [plug(FRONT, 2)],
                [],
            ):
                await links.attach(boxes.sandbox("one", *plugs))
                reached = [box.do(failure, told, at, 80) for at in ("172.19.0.3", FAR)]
                seen.append((sorted(box.do(_links_of)), *reached))
        return seen

    with machine.outside.answering(FAR, 80):
        both, moved, second, first, none = tried(machine, trial, run, user)
    near, far = "returned '172.19.0.2'", f"returned '{INSIDE}'"
    assert both == moved == (["eth0", "eth1", "lo"], near, far)
    assert second == (["eth1", "lo"], near, far)
    assert first[0] == ["eth0", "lo"] and first[1] in FORBIDDEN and first[2] == far
    assert none == (["lo"], "ENETUNREACH", "ENETUNREACH")


@everywhere
def test_attaching_again_changes_nothing(machine: Machine, user: int | None, run: Path) -> None:
    def indices() -> dict[str, int]:
        with IPRoute() as links:
            return {link.get("ifname"): link["index"] for link in links.link("dump")}

    async def trial(links: Links, boxes: Boxes) -> object:
        wanted = boxes.sandbox("one", plug(FRONT, 2))
        await links.attach(wanted)
        before = boxes["one"].do(indices)
        await links.attach(wanted)
        # The same for the next helper, which remembers nothing.
        another = Links(run, rootless=user is not None)
        await another.attach(wanted)
        after = boxes["one"].do(indices)
        await another.close(idle=False)
        return before, after

    before, after = tried(machine, trial, run, user)
    assert before == after and set(before) == {"lo", "eth0"}


@everywhere
def test_a_bridge_that_somebody_removed_is_made_again(
    machine: Machine, user: int | None, run: Path
) -> None:
    def remove() -> None:
        with IPRoute() as links:
            links.link("del", ifname=FRONT.bridge)

    async def trial(links: Links, boxes: Boxes) -> object:
        await links.attach(boxes.sandbox("one", plug(FRONT, 2)))
        await links._traveller.run(remove)
        await links.attach(boxes.sandbox("two", plug(FRONT, 3)))
        await links.attach(boxes.sandbox("one", plug(FRONT, 2)))
        with boxes["one"].answering("172.18.0.2", 80):
            return boxes["two"].do(told, "172.18.0.2", 80)

    assert tried(machine, trial, run, user) == "172.18.0.3"


def _left(machine: Machine) -> tuple[set[str], str]:
    names = {line.split(":")[1].strip() for line in machine.ok("ip", "-o", "link").splitlines()}
    return names, machine.ok("nft", "list", "ruleset")


@everywhere
def test_nothing_is_left_behind(machine: Machine, user: int | None, run: Path) -> None:
    before, running = _left(machine), machine.processes()

    async def trial(links: Links, boxes: Boxes) -> None:
        await links.attach(boxes.sandbox("one", plug(FRONT, 2), egress="*:80"))
        await links.attach(boxes.sandbox("two", plug(BACK, 2), plug(FRONT, 3, "eth1")))
        await links.remove_network(BACK.id)
        boxes.end("two")
        await links.detach("two")

    tried(machine, trial, run, user)
    assert _left(machine) == before
    for pid in set(machine.processes()) - set(running):
        ended(pid)  # as it was told to
    assert {path.name for path in run.iterdir()} <= {"network-home.lock"}


def test_the_hosts_own_network_is_nobodys(machine: Machine, run: Path) -> None:
    before = _left(machine)

    async def trial(links: Links, boxes: Boxes) -> str:
        wanted = boxes.sandbox("one", plug(FRONT, 2))
        with pytest.raises(NetworkError) as caught:
            await links.attach(msgspec.structs.replace(wanted, pid=os.getpid()))
        with pytest.raises(NetworkError, match="has ended"):
            await links.attach(msgspec.structs.replace(wanted, pid=1 << 22))
        return str(caught.value)

    assert "no network of its own" in tried(machine, trial, run, None)
    assert _left(machine)[0] == before[0]


def test_an_interface_of_somebody_else_is_not_taken(machine: Machine, run: Path) -> None:
    machine.ok("ip", "link", "add", "lan", "type", "bridge")
    machine.ok("ip", "address", "add", "172.18.0.1/24", "dev", "lan")

    async def trial(links: Links, boxes: Boxes) -> list[str]:
        said = []
        for name in ("uplink", "lan"):
            taken = msgspec.structs.replace(FRONT, bridge=name)
            with pytest.raises(NetworkError) as caught:
                await links.attach(boxes.sandbox("one", plug(taken, 2)))
            said.append(str(caught.value))
        return said

    try:
        no_bridge, others = tried(machine, trial, run, None)
        assert "uplink exists and is no bridge" in no_bridge and "lan is in use by others" in others
        assert f"{INSIDE}/24" in machine.ok("ip", "address", "show", "uplink")
        assert "172.18.0.1/24" in machine.ok("ip", "address", "show", "lan")
    finally:
        machine.ok("ip", "link", "del", "lan")


@pytest.mark.parametrize("same_id", [False, True])
def test_two_engines_do_not_take_each_others_bridge(
    machine: Machine, run: Path, same_id: bool
) -> None:
    other = msgspec.structs.replace(BACK, bridge=FRONT.bridge, id=FRONT.id if same_id else "e" * 64)

    async def trial(links: Links, boxes: Boxes) -> str:
        await links.attach(boxes.sandbox("one", plug(FRONT, 2)))
        await links.attach(boxes.sandbox("two", plug(FRONT, 3)))
        another = Links(run, rootless=False)
        with pytest.raises(NetworkError) as caught:
            await another.attach(boxes.sandbox("three", plug(other, 2)))
        await another.remove_network(other.id)
        await another.close(idle=True)
        with boxes["one"].answering("172.18.0.2", 80):
            assert boxes["two"].do(told, "172.18.0.2", 80) == "172.18.0.3"
            assert boxes["two"].do(told, FAR, 80) == INSIDE
        return str(caught.value)

    with machine.outside.answering(FAR, 80):
        assert "another engine" in tried(machine, trial, run, None)
