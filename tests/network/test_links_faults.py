"""What becomes of networks when helper, keeper or way out dies, and where others have rules."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from tests.conftest import without
from tests.network.machine import FAR, FAR6, INSIDE, INSIDE6, NOBODY, OUTSIDE, Box, Machine, told
from tests.network.nets import BACK, FRONT, Boxes, attempt, ended, everywhere, failure, plug, tried

from wherry.api import userns
from wherry.network import keeper
from wherry.network.home import NO_WAY_OUT
from wherry.network.links import Links

pytestmark = pytest.mark.root

_OURS = tuple(
    f"/wherry/network/{name}.py"
    for name in ("links", "bridges", "endpoints", "firewall", "fence", "home", "netfilter")
)


@everywhere
def test_attaching_survives_kill_between_any_two_lines(
    machine: Machine, user: int | None, run: Path
) -> None:
    """A helper is killed after so many lines, and the next one makes what is missing."""

    def trial() -> int:
        if user is not None:
            userns.enter()
        boxes, kills = Boxes(), 0
        wanted = [
            boxes.sandbox("one", plug(FRONT, 2), egress=f"{FAR}:80"),
            boxes.sandbox("two", plug(BACK, 2), plug(FRONT, 3, "eth1", way_out=False)),
        ]

        async def attach(links: Links) -> None:
            for sandbox in wanted:
                await links.attach(sandbox)

        async def killed() -> None:
            await attach(Links(run, rootless=user is not None))

        async def mended(links: Links, _: Boxes) -> None:
            await attach(links)
            with boxes["two"].answering("172.18.0.3", 80), boxes["one"].answering("172.18.0.2", 80):
                assert boxes["two"].do(told, "172.18.0.2", 80) == "172.18.0.3"
                assert boxes["one"].do(failure, told, "172.18.0.3", 80) == "ECONNREFUSED"
                assert boxes["two"].do(told, FAR, 80) == INSIDE
            for sandbox in wanted:
                await links.detach(sandbox.id)

        step = 499  # prime to what repeats
        while _killed_after(kills * step + 1, killed):
            kills += 1
            code = _in_fork(lambda: asyncio.run(attempt(mended, run, rootless=user is not None)))
            assert code == 0, f"not mended after {(kills - 1) * step + 1} lines"
        boxes.end()
        return kills

    with machine.outside.answering(FAR, 80):
        assert machine.call(trial, user=user) > 5


def _killed_after(lines: int, work: Callable[[], Any]) -> bool:
    """Whether a fork that does `work` had so many lines of ours to run, and was killed then."""
    left = lines

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.endswith(_OURS):
            return None
        if event == "line":
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    def traced() -> None:
        threading.settrace(trace)
        sys.settrace(trace)
        asyncio.run(work())

    return _in_fork(traced) == -signal.SIGKILL


def _in_fork(work: Callable[[], Any]) -> int:
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _record(run: Path) -> tuple[int, str]:
    pid, _, way_out, *_ = (run / "network-home").read_text().split()
    return int(pid), way_out


async def _reached(box: Box, address: str) -> str:
    """What is told at an address, once it is reached again."""
    while (told_ := box.do(failure, told, address, 80)) in ("ENETUNREACH", "EHOSTUNREACH"):
        await asyncio.sleep(0)
    return told_


def test_the_next_helper_finds_the_namespace_of_the_last(machine: Machine, run: Path) -> None:
    async def trial(links: Links, boxes: Boxes) -> object:
        await links.attach(boxes.sandbox("one", plug(FRONT, 2)))
        first = os.fstat(links._home.namespace).st_ino, _record(run)
        another = Links(run, rootless=True)
        await another.attach(boxes.sandbox("two", plug(FRONT, 3)))
        second = os.fstat(another._home.namespace).st_ino, _record(run)
        await another.detach("two")
        await another.close(idle=False)
        return first == second, first[1][0]

    same, pid = tried(machine, trial, run, NOBODY)
    assert same
    ended(pid)  # with the last helper that left


def test_a_killed_keeper_is_replaced_and_networks_stay(machine: Machine, run: Path) -> None:
    async def trial(links: Links, boxes: Boxes) -> object:
        await links.attach(boxes.sandbox("one", plug(FRONT, 2)))
        await links.attach(boxes.sandbox("two", plug(FRONT, 3)))
        before, _ = _record(run)
        with boxes["one"].answering("172.18.0.2", 80):
            os.kill(before, signal.SIGKILL)
            near = boxes["two"].do(told, "172.18.0.2", 80)
            while _record(run)[0] == before:
                await asyncio.sleep(0)
            near += boxes["two"].do(told, "172.18.0.2", 80)
        return near, await _reached(boxes["two"], FAR)

    with machine.outside.answering(FAR, 80):
        assert tried(machine, trial, run, NOBODY) == ("172.18.0.3" * 2, f"returned {INSIDE!r}")


def test_a_way_out_that_died_is_there_again(machine: Machine, run: Path) -> None:
    async def trial(links: Links, boxes: Boxes) -> object:
        await links.attach(boxes.sandbox("one", plug(FRONT, 2)))
        first = boxes["one"].do(told, FAR, 80)
        os.kill(int((run / "network-home").read_text().split()[3]), signal.SIGKILL)
        await _reached(boxes["one"], FAR)
        return first

    with machine.outside.answering(FAR, 80):
        assert tried(machine, trial, run, NOBODY) == INSIDE


def test_a_keeper_that_nobody_needs_ends_by_itself(machine: Machine, run: Path) -> None:
    def keep() -> int:
        userns.enter()
        keeper._PERIOD = 10
        sys.argv = ["keeper.py", str(run / "network-home"), str(run / "network-home.lock")]
        assert _in_fork(keeper.main) == 0
        while not (run / "network-home").exists():
            os.sched_yield()
        return _record(run)[0]

    ended(machine.call(keep, user=NOBODY))
    assert not (run / "network-home").exists()


def test_a_keeper_that_is_told_to_end_does_so_at_once(machine: Machine, run: Path) -> None:
    """Also when the signal leaves its system call as it is, as one that just precedes it does."""
    raise_loopback = keeper._raise_loopback

    def tell() -> None:
        while not (run / "network-home").exists():
            os.sched_yield()
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    def with_teller() -> None:
        raise_loopback()
        threading.Thread(target=tell, daemon=True).start()

    def keep() -> int:
        userns.enter()
        os.environ["PATH"] = str(run)  # no way out
        keeper._PERIOD = 300_000
        keeper._raise_loopback = with_teller
        sys.argv = ["keeper.py", str(run / "network-home"), str(run / "network-home.lock")]
        assert _in_fork(keeper.main) == 0
        while not (run / "network-home").exists():
            os.sched_yield()
        return _record(run)[0]

    ended(machine.call(keep, user=NOBODY))


@pytest.mark.parametrize("program", ["pasta", "slirp4netns"])
def test_either_program_is_a_way_out(machine: Machine, run: Path, program: str) -> None:
    path = shutil.which(program)
    if path is None:
        without(f"{program} is not installed")
    (run / "bin").mkdir()
    (run / "bin" / program).symlink_to(path)

    async def trial(links: Links, boxes: Boxes) -> object:
        os.environ["PATH"] = str(run / "bin")
        await links.attach(boxes.sandbox("one", plug(FRONT, 2)))
        far6 = boxes["one"].do(failure, told, FAR6, 80)
        near = ("10.0.2.2", INSIDE, OUTSIDE, "172.18.0.1")
        loopback = [boxes["one"].do(failure, told, at, 4444, 1) for at in near]
        return boxes["one"].do(told, FAR, 80), far6, loopback, _record(run)[1], links.warning

    outside, at_loopback = machine.outside, machine.answering("127.0.0.1", 4444)
    with outside.answering(FAR, 80), outside.answering(FAR6, 80), at_loopback:
        far, far6, loopback, used, warning = tried(machine, trial, run, NOBODY)
    assert (far, used, warning) == (INSIDE, program, "")
    assert far6 == f"returned {INSIDE6!r}" or program != "pasta"
    # What listens on the machine's own loopback is out of reach.
    assert not any(each.startswith("returned") for each in loopback), loopback


def test_without_a_way_out_networks_work_and_it_is_said(machine: Machine, run: Path) -> None:
    async def trial(links: Links, boxes: Boxes) -> object:
        os.environ["PATH"] = str(run)
        await links.attach(boxes.sandbox("one", plug(FRONT, 2)))
        await links.attach(boxes.sandbox("two", plug(FRONT, 3)))
        with boxes["one"].answering("172.18.0.2", 80):
            near = boxes["two"].do(told, "172.18.0.2", 80)
        return near, boxes["one"].do(failure, told, FAR, 80), links.warning

    near, far, warning = tried(machine, trial, run, NOBODY)
    assert near == "172.18.0.3" and far in ("ENETUNREACH", "EHOSTUNREACH")
    assert warning == NO_WAY_OUT


def test_what_docker_drops_is_let_through_and_nothing_else_changes(
    machine: Machine, run: Path
) -> None:
    if shutil.which("iptables") is None:
        without("iptables is not installed")
    # As dockerd leaves it, with a container of its own.
    machine.ok("iptables", "-P", "FORWARD", "DROP")
    machine.ok("ip", "link", "add", "docker0", "type", "bridge")
    machine.ok("ip", "address", "add", "172.17.0.1/16", "dev", "docker0")
    machine.ok("ip", "link", "set", "docker0", "up")
    before = machine.ok("iptables-save")

    async def trial(links: Links, boxes: Boxes) -> object:
        await links.attach(boxes.sandbox("one", plug(FRONT, 2)))
        during = machine.ok("iptables-save")
        return boxes["one"].do(told, FAR, 80), during

    try:
        with machine.outside.answering(FAR, 80):
            far, during = tried(machine, trial, run, None)
        assert far == INSIDE
        assert "-A WHERRY-FORWARD -i wherry0 -o docker0 -j RETURN" in during
        assert _rules(machine.ok("iptables-save")) == _rules(before)
    finally:
        machine.ok("iptables", "-P", "FORWARD", "ACCEPT")
        machine.ok("ip", "link", "del", "docker0")


def _rules(saved: str) -> list[str]:
    """What iptables-save says, without the time and its counters."""
    return [line.partition("[")[0] for line in saved.splitlines() if not line.startswith("#")]
