"""`stats`: what a container uses, in Docker's shape (Engine API, ContainerStats)."""

import asyncio
import os
from collections.abc import AsyncGenerator
from typing import Any

from wherry.engine.clock import timestamp
from wherry.engine.containers.container import Container
from wherry.engine.inspection import NEVER
from wherry.shim.client import TaskError
from wherry.shim.metrics import MetricsV1, MetricsV2
from wherry.shim.protobuf import Message

Stats = dict[str, Any]
"""One answer, as it becomes JSON. Times are nanoseconds, sizes bytes."""

_INTERVAL = 1.0
_TICK = os.sysconf("SC_CLK_TCK")


async def follow_stats(
    container: Container, *, stream: bool, one_shot: bool
) -> AsyncGenerator[Stats, None]:
    """Figures each second until the container is gone; once without `stream`.

    The first of a stream, and a single one unless `one_shot`, compares with a second before.
    """
    before: Stats | None = None
    if not stream and not one_shot and container.task is not None:
        before = await _measure(container, None)
        await asyncio.sleep(_INTERVAL)
    while not container.removed:
        now = await _measure(container, before)
        yield now
        if not stream:
            return
        before = now
        await asyncio.sleep(_INTERVAL)


async def _measure(container: Container, before: Stats | None) -> Stats:
    metrics: Message | None = None
    if container.task is not None:
        try:
            metrics = await container.task.stats(container.id)
        except TaskError:
            metrics = None  # it has ended just now
    cpu, memory, pids = _v2(metrics) if isinstance(metrics, MetricsV2) else _v1(metrics)
    if metrics is not None:
        cpu |= {"system_cpu_usage": _system_cpu(), "online_cpus": os.cpu_count() or 1}
    return {
        "read": timestamp(),
        "preread": before["read"] if before else NEVER,
        "pids_stats": pids,
        "blkio_stats": {
            "io_service_bytes_recursive": None,
            "io_serviced_recursive": None,
            "io_queue_recursive": None,
            "io_service_time_recursive": None,
            "io_wait_time_recursive": None,
            "io_merged_recursive": None,
            "io_time_recursive": None,
            "sectors_recursive": None,
        },
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": cpu,
        "precpu_stats": before["cpu_stats"] if before else _cpu(0, 0, 0, 0, 0, 0),
        "memory_stats": memory,
        "name": f"/{container.name}",
        "id": container.id,
        "networks": _interfaces(container),
    }


def _interfaces(container: Container) -> Stats:
    """What went through each interface of its network namespace (proc(5), /proc/PID/net/dev)."""
    plugged = container.life.plugged
    if plugged is None or not container.state.running:
        return {}
    try:
        with open(f"/proc/{container.state.pid}/net/dev", encoding="ascii") as file:
            lines = [line.partition(":") for line in file]
    except OSError:
        return {}  # it has ended just now
    own = {endpoint.interface for endpoint in plugged.endpoints.values()}
    found = {}
    for name, colon, text in lines:
        if colon and name.strip() in own:
            received, sent = (list(map(int, text.split()[at : at + 4])) for at in (0, 8))
            found[name.strip()] = {
                "rx_bytes": received[0],
                "rx_packets": received[1],
                "rx_errors": received[2],
                "rx_dropped": received[3],
                "tx_bytes": sent[0],
                "tx_packets": sent[1],
                "tx_errors": sent[2],
                "tx_dropped": sent[3],
            }
    return found


def _v1(metrics: Message | None) -> tuple[Stats, Stats, Stats]:
    if not isinstance(metrics, MetricsV1):
        return _cpu(0, 0, 0, 0, 0, 0), {}, {}
    usage = metrics.cpu.usage if metrics.cpu else None
    throttling = metrics.cpu.throttling if metrics.cpu else None
    cpu = _cpu(
        usage.total if usage else 0,
        usage.kernel if usage else 0,
        usage.user if usage else 0,
        throttling.periods if throttling else 0,
        throttling.throttled_periods if throttling else 0,
        throttling.throttled_time if throttling else 0,
    )
    memory: Stats = {}
    if metrics.memory and metrics.memory.usage:
        entry = metrics.memory.usage
        memory = {
            "usage": entry.usage,
            "max_usage": entry.max,
            "failcnt": entry.failcnt,
            "limit": min(entry.limit or _all_memory(), _all_memory()),
            "stats": {"total_inactive_file": metrics.memory.total_inactive_file},
        }
    return cpu, memory, _pids(metrics.pids)


def _v2(metrics: MetricsV2) -> tuple[Stats, Stats, Stats]:
    found = metrics.cpu
    cpu = _cpu(0, 0, 0, 0, 0, 0)
    if found:
        cpu = _cpu(
            found.usage_usec * 1000,
            found.system_usec * 1000,
            found.user_usec * 1000,
            found.nr_periods,
            found.nr_throttled,
            found.throttled_usec * 1000,
        )
    memory: Stats = {}
    if metrics.memory:
        memory = {
            "usage": metrics.memory.usage,
            "limit": min(metrics.memory.usage_limit or _all_memory(), _all_memory()),
            "stats": {"inactive_file": metrics.memory.inactive_file, "anon": metrics.memory.anon},
        }
    return cpu, memory, _pids(metrics.pids)


def _cpu(
    total: int, kernel: int, user: int, periods: int, throttled: int, throttled_time: int
) -> Stats:
    return {
        "cpu_usage": {
            "total_usage": total,
            "usage_in_kernelmode": kernel,
            "usage_in_usermode": user,
        },
        "throttling_data": {
            "periods": periods,
            "throttled_periods": throttled,
            "throttled_time": throttled_time,
        },
    }


def _pids(pids: Any) -> Stats:
    if pids is None:
        return {}
    return {"current": pids.current} | ({"limit": pids.limit} if pids.limit else {})


def _all_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _system_cpu() -> int:
    """Nanoseconds that all CPUs have spent, idle ones too (proc_stat(5), without guest time)."""
    with open("/proc/stat", "rb") as file:
        fields = file.readline().split()[1:9]
    return sum(int(field) for field in fields) * (1_000_000_000 // _TICK)
