"""Cgroup metrics as containerd reads them (github.com/containerd/cgroups, `stats` v1 and v2).

Only the fields that a Wasm container can have. Imported when somebody asks for statistics.
"""

from collections.abc import Sequence

from wherry.shim.protobuf import (
    Any,
    InvalidMessage,
    Message,
    embedded,
    messages,
    string,
    uint64,
    uint64s,
)


class Pids(Message):
    current: int = uint64(1)
    limit: int = uint64(2)


class CpuUsageV1(Message):
    """Nanoseconds."""

    total: int = uint64(1)
    kernel: int = uint64(2)
    user: int = uint64(3)
    per_cpu: Sequence[int] = uint64s(4)


class ThrottleV1(Message):
    """Numbers of periods, and nanoseconds."""

    periods: int = uint64(1)
    throttled_periods: int = uint64(2)
    throttled_time: int = uint64(3)


class CpuV1(Message):
    usage: CpuUsageV1 | None = embedded(1, CpuUsageV1)
    throttling: ThrottleV1 | None = embedded(2, ThrottleV1)


class MemoryEntryV1(Message):
    """Bytes."""

    limit: int = uint64(1)
    usage: int = uint64(2)
    max: int = uint64(3)
    failcnt: int = uint64(4)


class MemoryV1(Message):
    """Bytes, except the counters of pages and faults."""

    cache: int = uint64(1)
    rss: int = uint64(2)
    rss_huge: int = uint64(3)
    mapped_file: int = uint64(4)
    dirty: int = uint64(5)
    writeback: int = uint64(6)
    pg_pg_in: int = uint64(7)
    pg_pg_out: int = uint64(8)
    pg_fault: int = uint64(9)
    pg_maj_fault: int = uint64(10)
    inactive_anon: int = uint64(11)
    active_anon: int = uint64(12)
    inactive_file: int = uint64(13)
    active_file: int = uint64(14)
    unevictable: int = uint64(15)
    hierarchical_memory_limit: int = uint64(16)
    hierarchical_swap_limit: int = uint64(17)
    total_cache: int = uint64(18)
    total_rss: int = uint64(19)
    total_rss_huge: int = uint64(20)
    total_mapped_file: int = uint64(21)
    total_pg_fault: int = uint64(26)
    total_pg_maj_fault: int = uint64(27)
    total_inactive_anon: int = uint64(28)
    total_active_anon: int = uint64(29)
    total_inactive_file: int = uint64(30)
    total_active_file: int = uint64(31)
    total_unevictable: int = uint64(32)
    usage: MemoryEntryV1 | None = embedded(33, MemoryEntryV1)
    swap: MemoryEntryV1 | None = embedded(34, MemoryEntryV1)


class BlkioEntryV1(Message):
    op: str = string(1)
    device: str = string(2)
    major: int = uint64(3)
    minor: int = uint64(4)
    value: int = uint64(5)


class BlkioV1(Message):
    io_service_bytes_recursive: Sequence[BlkioEntryV1] = messages(1, BlkioEntryV1)
    io_serviced_recursive: Sequence[BlkioEntryV1] = messages(2, BlkioEntryV1)


class MemoryOomControlV1(Message):
    oom_kill_disable: int = uint64(1)
    under_oom: int = uint64(2)
    oom_kill: int = uint64(3)


class MetricsV1(Message):
    """io.containerd.cgroups.v1.Metrics."""

    pids: Pids | None = embedded(2, Pids)
    cpu: CpuV1 | None = embedded(3, CpuV1)
    memory: MemoryV1 | None = embedded(4, MemoryV1)
    blkio: BlkioV1 | None = embedded(5, BlkioV1)
    memory_oom_control: MemoryOomControlV1 | None = embedded(9, MemoryOomControlV1)


class CpuV2(Message):
    """Microseconds, and numbers of periods."""

    usage_usec: int = uint64(1)
    user_usec: int = uint64(2)
    system_usec: int = uint64(3)
    nr_periods: int = uint64(4)
    nr_throttled: int = uint64(5)
    throttled_usec: int = uint64(6)


class MemoryV2(Message):
    """Bytes, except the counters of faults."""

    anon: int = uint64(1)
    file: int = uint64(2)
    kernel_stack: int = uint64(3)
    slab: int = uint64(4)
    sock: int = uint64(5)
    shmem: int = uint64(6)
    file_mapped: int = uint64(7)
    file_dirty: int = uint64(8)
    file_writeback: int = uint64(9)
    anon_thp: int = uint64(10)
    inactive_anon: int = uint64(11)
    active_anon: int = uint64(12)
    inactive_file: int = uint64(13)
    active_file: int = uint64(14)
    unevictable: int = uint64(15)
    slab_reclaimable: int = uint64(16)
    slab_unreclaimable: int = uint64(17)
    pgfault: int = uint64(18)
    pgmajfault: int = uint64(19)
    usage: int = uint64(32)
    usage_limit: int = uint64(33)
    swap_usage: int = uint64(34)
    swap_limit: int = uint64(35)
    max_usage: int = uint64(36)


class MemoryEventsV2(Message):
    low: int = uint64(1)
    high: int = uint64(2)
    max: int = uint64(3)
    oom: int = uint64(4)
    oom_kill: int = uint64(5)
    oom_group_kill: int = uint64(6)


class IoEntryV2(Message):
    major: int = uint64(1)
    minor: int = uint64(2)
    rbytes: int = uint64(3)
    wbytes: int = uint64(4)
    rios: int = uint64(5)
    wios: int = uint64(6)


class IoV2(Message):
    usage: Sequence[IoEntryV2] = messages(1, IoEntryV2)


class MetricsV2(Message):
    """io.containerd.cgroups.v2.Metrics."""

    pids: Pids | None = embedded(1, Pids)
    cpu: CpuV2 | None = embedded(2, CpuV2)
    memory: MemoryV2 | None = embedded(4, MemoryV2)
    io: IoV2 | None = embedded(6, IoV2)
    memory_events: MemoryEventsV2 | None = embedded(8, MemoryEventsV2)


_KINDS: dict[str, type[MetricsV1] | type[MetricsV2]] = {
    "io.containerd.cgroups.v1.Metrics": MetricsV1,
    "io.containerd.cgroups.v2.Metrics": MetricsV2,
}


def encode_metrics(metrics: MetricsV1 | MetricsV2) -> Any:
    """Metrics with the name of their type."""
    name = next(name for name, kind in _KINDS.items() if isinstance(metrics, kind))
    return Any(type_url=name, value=metrics.encode())


def decode_metrics(value: Any) -> MetricsV1 | MetricsV2:
    """Metrics by the name of their type. Raises InvalidMessage for any other type."""
    kind = _KINDS.get(value.type_url.rpartition("/")[2])
    if kind is None:
        raise InvalidMessage(f"metrics of type {value.type_url[:200]!r}")
    return kind.decode(value.value)
