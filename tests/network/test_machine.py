"""The machine that networks are tested in."""

from __future__ import annotations

import os
import subprocess

import pytest
from tests.network.machine import (
    FAR,
    FAR6,
    INSIDE,
    INSIDE6,
    MTU,
    NOBODY,
    OUTSIDE,
    OUTSIDE6,
    Machine,
    told,
)

pytestmark = pytest.mark.root


def test_the_world_is_reached_by_root_and_by_an_ordinary_user() -> None:
    before = os.listdir("/sys/class/net")
    with Machine() as machine:
        for address, seen in (
            (OUTSIDE, INSIDE),
            (FAR, INSIDE),
            (OUTSIDE6, INSIDE6),
            (FAR6, INSIDE6),
        ):
            with machine.outside.answering(address, 7777):
                assert machine.call(told, address, 7777) == seen
                assert machine.call(told, address, 7777, user=NOBODY) == seen
        assert f"mtu {MTU}" in machine.ok("ip", "link", "show", "uplink")
    assert os.listdir("/sys/class/net") == before


def _open_tun() -> int:
    os.close(os.open("/dev/net/tun", os.O_RDWR))
    return os.getuid()


def test_an_ordinary_user_may_make_tunnels_in_namespaces_of_its_own() -> None:
    with Machine() as machine:
        assert machine.call(_open_tun, user=NOBODY) == NOBODY
        assert machine.ok("pwd", user=NOBODY).strip() == os.getcwd()


def test_what_runs_in_the_machine_ends_with_it() -> None:
    with Machine() as machine:
        left = subprocess.Popen(machine.argv("sleep", "1000", user=NOBODY))
        while left.pid not in machine.processes():
            assert left.poll() is None
    assert left.wait(60) == -9
