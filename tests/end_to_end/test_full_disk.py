"""An engine whose disk is full: containers end, and go; and with room again all goes on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine_under_test import Wherry
from tests.guests.toolchain import Guests

pytestmark = pytest.mark.root


@pytest.fixture
def small() -> Iterator[Wherry]:
    """An engine whose state is on a file system of 16 MiB."""
    with Wherry() as wherry:
        wherry.root.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", wherry.root], check=True)
        try:
            yield wherry
        finally:
            wherry.end()
            subprocess.run(["umount", wherry.root], check=True)


def fill(wherry: Wherry, leave: int = 0) -> Path:
    """Take all the room that is left but some pages; the file that does."""
    ballast = wherry.root / "ballast"
    with ballast.open("wb", buffering=0) as file:
        while (free := os.statvfs(wherry.root).f_bavail - leave) > 0:
            file.write(bytes(4096 * min(free, 256)))
    return ballast


def test_a_container_that_ends_when_the_disk_is_full_has_ended_and_can_be_removed(
    small: Wherry, guests: Guests
) -> None:
    toolbox = small.image("toolbox", guests.toolbox())
    for name in ("one", "two"):
        small.ok("run", "-d", "--name", name, toolbox, "sleep", "1000")
    small.ok("tag", toolbox, "again")
    ballast = fill(small)
    small.ok("kill", "one")
    assert small.ok("wait", "one") == "137"
    assert small.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "one") == "exited 137"
    small.ok("rm", "-f", "two")
    assert small.ok("ps", "-aq", "--no-trunc") == small.ok("inspect", "-f", "{{.Id}}", "one")
    fill(small)
    small.ok("rmi", "again")
    ballast.unlink()
    assert small.ok("run", "--rm", toolbox, "pwd") == "/"
    small.kill_daemon()
    assert small.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "one") == "exited 137"
    small.ok("rm", "one")
    assert small.ok("system", "check") == "Everything is as it must be."


def test_whatever_room_is_left_a_container_that_goes_by_itself_goes(
    small: Wherry, guests: Guests
) -> None:
    toolbox = small.image("toolbox", guests.toolbox())
    small.ok("run", "--rm", toolbox, "pwd")
    for leave in (0, 3, 5, 5, 6, 8, 9):
        ballast = fill(small, leave)
        ended = small("run", "--rm", "-v", "/data", toolbox, "pwd")
        assert ended.code in (0, 125), ended.said
        assert small.ok("ps", "-aq") == "", (leave, ended.said)
        ballast.unlink()
    assert small.ok("volume", "ls", "-q") == ""
    # An engine starts on a full disk as well.
    small.ok("run", "--rm", "--name", "last", toolbox, "pwd")
    fill(small)
    small.kill_daemon()
    assert small.ok("ps", "-aq") == ""
    small.ok("rmi", toolbox)
