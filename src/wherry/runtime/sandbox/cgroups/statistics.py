"""What a cgroup has used, whichever version of cgroups counted it."""

import os
from collections.abc import Iterable
from typing import NamedTuple


class CgroupStats(NamedTuple):
    """Bytes, nanoseconds and counts. A limit of None is no limit; what nobody counts is 0."""

    memory_usage: int = 0
    memory_limit: int | None = None
    memory_peak: int = 0
    memory_inactive_file: int = 0
    """Page cache the kernel would give back first; Docker subtracts it from the usage."""
    memory_failcnt: int = 0
    """How often the limit was met."""
    oom_kills: int = 0
    swap_usage: int = 0
    cpu_total: int = 0
    cpu_user: int = 0
    cpu_kernel: int = 0
    throttle_periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0
    pids_current: int = 0
    pids_limit: int | None = None


def measure_processes(pids: Iterable[int]) -> CgroupStats:
    """Add up what `/proc` knows of some processes, for a host without a usable controller."""
    page = os.sysconf("SC_PAGE_SIZE")
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    memory = user = kernel = count = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                # The name in parentheses may hold anything, so count from its end (proc(5)).
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        user += int(fields[11])
        kernel += int(fields[12])
        count += int(fields[17])
        memory += int(fields[21])
    return CgroupStats(
        memory_usage=memory * page,
        memory_peak=memory * page,
        cpu_total=(user + kernel) * tick,
        cpu_user=user * tick,
        cpu_kernel=kernel * tick,
        pids_current=count,
    )
