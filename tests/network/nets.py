"""What tests of networks are made of: networks, sandboxes, and a place for `Links` to be tried in.

    @everywhere
    def test_…(machine: Machine, user: int | None, run: Path) -> None:
        async def trial(links: Links, boxes: Boxes) -> str: …
        assert tried(machine, trial, run, user) == …

A trial runs in a fork that is in the machine, as root or as an ordinary user who is root of a user
namespace, as wherryd would be. What it returns or raises comes back.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.network.machine import NOBODY, Box, Machine

from wherry.api import userns
from wherry.network.denials import DeniedPacket
from wherry.network.links import Links
from wherry.network.model import Attachment, Network, Sandbox, Subnet

everywhere = pytest.mark.parametrize("user", [None, NOBODY], ids=["root", "rootless"])

FRONT = Network(
    id="f" * 64,
    name="front",
    bridge="wherry0",
    subnets=[Subnet("172.18.0.0/16", "172.18.0.1"), Subnet("fd00:18::/64", "fd00:18::1")],
)
BACK = Network(
    id="b" * 64,
    name="back",
    bridge="wh-back",
    subnets=[Subnet("172.19.0.0/16", "172.19.0.1"), Subnet("fd00:19::/64", "fd00:19::1")],
)


class Boxes:
    """The containers of a trial, each a box that has an id."""

    def __init__(self) -> None:
        self._boxes: dict[str, Box] = {}
        self.denied: list[tuple[str, DeniedPacket]] = []
        self.on_denied = asyncio.Event()

    def __getitem__(self, id: str) -> Box:
        if id not in self._boxes:
            self._boxes[id] = Box()
        return self._boxes[id]

    def sandbox(self, id: str, *attachments: Attachment, **more: Any) -> Sandbox:
        return Sandbox(id=id, pid=self[id].pid, name=id, attachments=[*attachments], **more)

    def end(self, *ids: str) -> None:
        """End these, or all."""
        for id in ids or tuple(self._boxes):
            self._boxes.pop(id).end()

    def note(self, id: str, denied: DeniedPacket) -> None:
        self.denied.append((id, denied))
        self.on_denied.set()


def plug(
    network: Network, host: int, interface: str = "eth0", *, way_out: bool = True
) -> Attachment:
    """An interface with the `host`-th address of each subnet."""
    addresses = [
        subnet.gateway.removesuffix("1") + f"{host}/{subnet.subnet.partition('/')[2]}"
        for subnet in network.subnets
    ]
    return Attachment(
        network=network, interface=interface, mac=f"02:42:00:00:00:{host:02x}",
        addresses=addresses, default_route=way_out,
    )  # fmt: skip


Trial = Callable[[Links, Boxes], Awaitable[Any]]


def tried(machine: Machine, trial: Trial, run: Path, user: int | None) -> Any:
    """What the trial returns; afterwards nothing is attached, and the helper's part leaves."""
    return machine.call(_try, trial, run, user, user=user)


def _try(trial: Trial, run: Path, user: int | None) -> Any:
    if user is not None:
        userns.enter()
    return asyncio.run(attempt(trial, run, rootless=user is not None))


async def attempt(trial: Trial, run: Path, *, rootless: bool) -> Any:
    """Try it in this process, in which `Links` may be."""
    boxes = Boxes()
    links = Links(run, rootless=rootless, on_denied=boxes.note)
    try:
        return await trial(links, boxes)
    finally:
        for id in [*boxes._boxes]:
            await links.detach(id)
        await links.close(idle=True)
        boxes.end()


def failure(function: Callable[..., Any], *arguments: Any) -> str:
    """The kind of OSError that a call raises, by its name; what it returns if it does not."""
    try:
        return f"returned {function(*arguments)!r}"
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, repr(error))


def ended(pid: int) -> None:
    """Wait until a process has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([pidfd], [], [], 60)[0], f"process {pid} has not ended"
    os.close(pidfd)
