"""What a cgroup has used, in containerd's words. Imported when somebody asks."""

from wherry.runtime.sandbox.cgroups import Cgroup, CgroupStats
from wherry.runtime.sandbox.cgroups.hierarchies import of_this_process
from wherry.shim import metrics
from wherry.shim.protobuf import Any

_UNLIMITED = (1 << 64) - 1


def measure(cgroup: Cgroup) -> Any:
    """Metrics of a cgroup, in the version that this host has."""
    words = metrics_v2 if of_this_process().is_unified else metrics_v1
    return metrics.encode_metrics(words(cgroup.stats()))


def metrics_v1(stats: CgroupStats) -> metrics.MetricsV1:
    """Statistics in the words of cgroup v1 (nanoseconds)."""
    cache = stats.memory_inactive_file
    limit = _or_unlimited(stats.memory_limit)
    return metrics.MetricsV1(
        pids=metrics.Pids(current=stats.pids_current, limit=stats.pids_limit or 0),
        cpu=metrics.CpuV1(
            usage=metrics.CpuUsageV1(
                total=stats.cpu_total, kernel=stats.cpu_kernel, user=stats.cpu_user
            ),
            throttling=metrics.ThrottleV1(
                periods=stats.throttle_periods,
                throttled_periods=stats.throttled_periods,
                throttled_time=stats.throttled_time,
            ),
        ),
        memory=metrics.MemoryV1(
            rss=max(0, stats.memory_usage - cache),
            total_rss=max(0, stats.memory_usage - cache),
            inactive_file=cache,
            total_inactive_file=cache,
            hierarchical_memory_limit=limit,
            usage=metrics.MemoryEntryV1(
                limit=limit,
                usage=stats.memory_usage,
                max=stats.memory_peak,
                failcnt=stats.memory_failcnt,
            ),
            swap=metrics.MemoryEntryV1(usage=stats.memory_usage + stats.swap_usage),
        ),
        memory_oom_control=metrics.MemoryOomControlV1(oom_kill=stats.oom_kills),
    )


def metrics_v2(stats: CgroupStats) -> metrics.MetricsV2:
    """Statistics in the words of cgroup v2 (microseconds)."""
    return metrics.MetricsV2(
        pids=metrics.Pids(current=stats.pids_current, limit=stats.pids_limit or 0),
        cpu=metrics.CpuV2(
            usage_usec=stats.cpu_total // 1000,
            user_usec=stats.cpu_user // 1000,
            system_usec=stats.cpu_kernel // 1000,
            nr_periods=stats.throttle_periods,
            nr_throttled=stats.throttled_periods,
            throttled_usec=stats.throttled_time // 1000,
        ),
        memory=metrics.MemoryV2(
            anon=max(0, stats.memory_usage - stats.memory_inactive_file),
            inactive_file=stats.memory_inactive_file,
            usage=stats.memory_usage,
            usage_limit=_or_unlimited(stats.memory_limit),
            max_usage=stats.memory_peak,
            swap_usage=stats.swap_usage,
        ),
        memory_events=metrics.MemoryEventsV2(max=stats.memory_failcnt, oom_kill=stats.oom_kills),
    )


def _or_unlimited(limit: int | None) -> int:
    return _UNLIMITED if limit is None else limit
