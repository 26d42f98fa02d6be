"""Limits of Linux programs, in either version of cgroups (version 2 in a virtual machine)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from tests.conftest import without
from tests.engine_under_test import Wherry, until
from tests.linux.image import context

pytestmark = pytest.mark.root

ALONE = ("run", "--rm", "--network", "none")
_SHOW = """
cd /sys/fs/cgroup
if test -e memory.max; then cat memory.max pids.max; set -- $(cat cpu.max); echo $1
else cat memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us; fi
cat /proc/self/cgroup
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[Wherry]:
    if shutil.which("runc") is None:
        without("runc is not installed")
    with Wherry() as wherry:
        folder = context(wherry.folder / "linux")
        wherry.ok("build", "-q", "--platform", "linux", "-t", "linux", folder)
        yield wherry


def test_a_linux_program_is_held_to_its_limits(engine: Wherry) -> None:
    limits = ("--memory", "20m", "--pids-limit", "10", "--cpus", "0.5")
    shown = engine.ok(*ALONE, *limits, "linux", "sh", "-c", _SHOW).splitlines()
    assert shown[:3] == [str(20 << 20), "10", "50000"]
    # Where it is in the host's cgroups is not shown.
    assert all(line.endswith(":/") for line in shown[3:])
    script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 60 & done; echo all"
    done = engine(*ALONE, *limits, "linux", "sh", "-c", script)
    assert "all" not in done.out
    assert "can't fork" in done.err


def test_it_is_paused_and_goes_on(engine: Wherry) -> None:
    ticking = "while :; do echo tick; sleep 0.1; done"
    engine.ok("run", "-d", "--name", "clock", "--network", "none", "linux", "sh", "-c", ticking)
    engine.ok("pause", "clock")
    assert engine.ok("inspect", "-f", "{{.State.Status}}", "clock") == "paused"
    told = engine.ok("logs", "clock")
    assert engine.ok("logs", "clock") == told
    engine.ok("unpause", "clock")
    until(lambda: engine.ok("logs", "clock") != told, "it did not go on")
    engine.ok("rm", "-f", "clock")
