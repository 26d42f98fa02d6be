"""`events`: what a container uses, and when it runs out of memory, as runc prints it."""

import os
import select
import sys
import time

import msgspec

from wherry.durations import parse_duration
from wherry.runtime.command import linux
from wherry.runtime.command.limits import group_of
from wherry.runtime.command.options import Arguments, Options, UsageError
from wherry.runtime.command.record import FAILED, Record
from wherry.runtime.exits import LaunchError
from wherry.runtime.sandbox.cgroups import Cgroup, CgroupStats

_NO_LIMIT = 2**64 - 1


def events(options: Options) -> int:
    """`events [--stats] [--interval DURATION] ID`: print events until the container ends.

    With --stats one, of what it uses now.
    """
    arguments = Arguments(options.arguments, values="interval", switches="stats")
    record = linux.find(options, arguments.identifier())
    status, pid = record.status()
    if status not in ("created", "running", "paused"):
        raise LaunchError(f"container not running: {record.id} is {status}", FAILED)
    group = group_of(record)
    if "stats" in arguments:
        _print(record, "stats", _statistics(group.stats()))
    else:
        _follow(record, pid, group, _seconds(arguments.value("interval", "5s")))
    return 0


def _follow(record: Record, pid: int, group: Cgroup, interval: float) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    memory = group.oom_event()
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if memory is not None:
        poll.register(memory, select.POLLIN)
    kills = group.stats().oom_kills
    due = time.monotonic() + interval
    while True:
        ready = [fd for fd, _ in poll.poll(max(0.0, due - time.monotonic()) * 1000)]
        if memory is not None and memory in ready:
            os.read(memory, 4096)
        if ready:
            now = group.stats().oom_kills
            if now > kills:
                _print(record, "oom", None)
            kills = now
        if pidfd in ready:
            return
        if time.monotonic() >= due:
            _print(record, "stats", _statistics(group.stats()))
            due += interval


def _print(record: Record, kind: str, data: object) -> None:
    event: dict[str, object] = {"type": kind, "id": record.id}
    if data is not None:
        event["data"] = data
    sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
    sys.stdout.flush()


def _statistics(stats: CgroupStats) -> dict[str, object]:
    """What runc calls stats, as far as it is measured."""

    def used(usage: int, limit: int | None = None, peak: int = 0, failures: int = 0) -> object:
        return {
            "limit": _NO_LIMIT if limit is None else limit,
            "usage": usage,
            "max": peak,
            "failcnt": failures,
        }

    return {
        "cpu": {
            "usage": {
                "total": stats.cpu_total,
                "kernel": stats.cpu_kernel,
                "user": stats.cpu_user,
            },
            "throttling": {
                "periods": stats.throttle_periods,
                "throttledPeriods": stats.throttled_periods,
                "throttledTime": stats.throttled_time,
            },
        },
        "memory": {
            "usage": used(
                stats.memory_usage, stats.memory_limit, stats.memory_peak, stats.memory_failcnt
            ),
            "swap": used(stats.swap_usage),
            "kernel": used(0),
            "kernelTCP": used(0),
            "raw": {"inactive_file": stats.memory_inactive_file},
        },
        "pids": {"current": stats.pids_current, "limit": stats.pids_limit or 0},
        "blkio": {},
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _seconds(duration: str) -> float:
    """A duration as Go writes it ("500ms", "5s", "1m"). Raises UsageError."""
    try:
        seconds = parse_duration(duration) / 1e9
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise UsageError(f"--interval is a duration like 5s or 500ms, not {duration!r}")
    return seconds


COMMANDS = {"events": events}
