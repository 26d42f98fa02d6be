"""Limits that people set for a container: checked, as Docker does, before they are tried."""

import os
import resource

from wherry.engine import cgroups
from wherry.engine.config import HostConfig
from wherry.engine.errors import InvalidRequest

_LEAST_MEMORY = 6 << 20
_NO_CGROUP = "no cgroup for it can be made here (systemd gives users theirs by Delegate=yes)"


def check_limits(host: HostConfig) -> None:
    """Whether the limits make sense. Raises InvalidRequest."""
    _check_memory(host)
    _check_cpu(host)
    for limit in host.ulimits or ():
        if not isinstance(getattr(resource, f"RLIMIT_{limit.name.upper()}", None), int):
            raise InvalidRequest(f"invalid ulimit type: {limit.name}")
        if limit.soft > limit.hard >= 0:
            raise InvalidRequest(
                f"ulimit {limit.name}: the soft limit must be less than or equal to the hard "
                f"limit: {limit.soft} > {limit.hard}"
            )
    if not -1000 <= host.oom_score_adj <= 1000:
        raise InvalidRequest(
            f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        )
    if host.pids_limit is not None and host.pids_limit < -1:
        raise InvalidRequest("Invalid value for pids limit: it is a number of tasks, or -1")


def unkept_limits(host: HostConfig, *, is_wasm: bool) -> list[str]:
    """Warnings of the limits that nothing holds a container to on this host."""
    bounded = cgroups.bounded()
    warnings = []
    if host.memory and "memory" not in bounded:
        warnings.append(
            "The memory limit holds for the memory of a WebAssembly module only, not for all of "
            f"its process: {_NO_CGROUP}"
            if is_wasm
            else f"The memory limit is discarded: {_NO_CGROUP}"
        )
    elif host.memory_swap > 0 and not cgroups.bounds_swap():
        warnings.append("Memory is limited without swap: the kernel does not account for swap")
    if (host.nano_cpus or host.cpu_quota or host.cpu_shares) and "cpu" not in bounded:
        warnings.append(f"The CPU limit is discarded: {_NO_CGROUP}")
    if (host.cpuset_cpus or host.cpuset_mems) and "cpuset" not in bounded:
        warnings.append(f"The CPU set is discarded: {_NO_CGROUP}")
    if (host.pids_limit or 0) > 0 and "pids" not in bounded:
        warnings.append(f"The limit of processes is discarded: {_NO_CGROUP}")
    return warnings


def _check_memory(host: HostConfig) -> None:
    if host.memory < 0 or host.memory_reservation < 0:
        raise InvalidRequest("a memory limit cannot be negative")
    if 0 < host.memory < _LEAST_MEMORY:
        raise InvalidRequest("Minimum memory limit allowed is 6MB")
    if host.memory_swap > 0 and not host.memory:
        raise InvalidRequest(
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        )
    if host.memory and 0 < host.memory_swap < host.memory:
        raise InvalidRequest(
            "Minimum memoryswap limit should be larger than memory limit, see usage"
        )
    if host.memory and host.memory_reservation > host.memory:
        raise InvalidRequest(
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        )


def _check_cpu(host: HostConfig) -> None:
    if host.nano_cpus and (host.cpu_quota or host.cpu_period):
        raise InvalidRequest(
            "Conflicting options: Nano CPUs and CPU Period or Quota cannot both be set"
        )
    available = os.cpu_count() or 1
    if not 0 <= host.nano_cpus <= available * 1_000_000_000:
        raise InvalidRequest(
            f"Range of CPUs is from 0.01 to {available}.00, as there are only {available} CPUs "
            "available"
        )
    if host.cpu_shares < 0:
        raise InvalidRequest(f"CPU shares cannot be negative: {host.cpu_shares}")
    if host.cpu_period and not 1000 <= host.cpu_period <= 1_000_000:
        raise InvalidRequest(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < host.cpu_quota < 1000:
        raise InvalidRequest("CPU cfs quota can not be less than 1ms (i.e. 1000)")
