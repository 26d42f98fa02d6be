"""cgroup v2: one folder for a container (the kernel's Documentation/admin-guide/cgroup-v2)."""

from __future__ import annotations

import ctypes
import errno
import math
import os
import re
import time
from typing import TYPE_CHECKING

from wherry.runtime.sandbox.cgroups import control_file
from wherry.runtime.sandbox.cgroups.cgroup import (
    PATIENCE,
    Cgroup,
    make_folder,
    processes_beneath,
    remove_folder,
)
from wherry.runtime.sandbox.cgroups.control_file import CgroupError, set_value
from wherry.runtime.sandbox.cgroups.statistics import CgroupStats, measure_processes

if TYPE_CHECKING:
    from wherry.oci.runtime import Cpu, Memory, Resources
    from wherry.runtime.sandbox.cgroups.hierarchies import Hierarchies

ALWAYS = frozenset({"memory", "pids"})
"""Controllers enabled for every container, since they are what `stats` reads."""

IN_MODIFY = 0x2
IN_CLOEXEC = os.O_CLOEXEC
IN_NONBLOCK = os.O_NONBLOCK


class UnifiedCgroup(Cgroup):
    """The folder of one container in the v2 hierarchy."""

    def __init__(self, path: str, found: Hierarchies) -> None:
        super().__init__(path)
        self._found = found
        self._home = found.unified or ""
        self._folder = ""

    def _make(self) -> bool:
        for home in self._found.homes():
            folder = home + self.path
            try:
                make_folder(folder)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                    continue
                raise CgroupError(f"cannot make cgroup {folder}: {error.strerror}") from None
            self._home, self._folder = home, folder
            self._enable(ALWAYS)
            return True
        return False

    def _find(self) -> bool:
        for home in self._found.homes():
            if os.path.isdir(home + self.path):
                self._home, self._folder = home, home + self.path
                return True
        return False

    @property
    def procs_files(self) -> list[str]:
        """The one `cgroup.procs`; its folder is also what CLONE_INTO_CGROUP takes."""
        return [f"{self._folder}/cgroup.procs"]

    def update(self, resources: Resources) -> None:
        """Set the limits that are named, converted from v1's terms as the runtime-spec asks."""
        if resources.memory and self._need("memory", "memory limit"):
            self._set_memory(resources.memory)
        if resources.pids and self._need("pids", "pids limit"):
            limit = resources.pids.limit
            set_value(f"{self._folder}/pids.max", str(limit) if limit > 0 else "max")
        cpu = resources.cpu
        if cpu and (cpu.shares or cpu.quota or cpu.period) and self._need("cpu", "CPU limit"):
            self._set_cpu(cpu)
        if cpu and (cpu.cpus or cpu.mems) and self._need("cpuset", "CPU set"):
            if cpu.cpus:
                set_value(f"{self._folder}/cpuset.cpus", cpu.cpus)
            if cpu.mems:
                set_value(f"{self._folder}/cpuset.mems", cpu.mems)
        for name, value in (resources.unified or {}).items():
            self._set_unified(name, value)

    def stats(self) -> CgroupStats:
        """Measure, by /proc where a controller is missing."""
        folder = self._folder
        plain = CgroupStats()
        if not os.path.exists(f"{folder}/memory.current"):
            plain = measure_processes(self.pids())
        cpu = control_file.read_table(f"{folder}/cpu.stat")
        events = control_file.read_table(f"{folder}/memory.events")
        usage = control_file.read_number(f"{folder}/memory.current")
        return CgroupStats(
            memory_usage=plain.memory_usage if usage is None else usage,
            memory_limit=control_file.read_number(f"{folder}/memory.max"),
            memory_peak=control_file.read_number(f"{folder}/memory.peak") or plain.memory_peak,
            memory_inactive_file=control_file.read_table(f"{folder}/memory.stat").get(
                "inactive_file", 0
            ),
            memory_failcnt=events.get("max", 0),
            oom_kills=events.get("oom_kill", 0),
            swap_usage=control_file.read_number(f"{folder}/memory.swap.current") or 0,
            cpu_total=cpu.get("usage_usec", 0) * 1000,
            cpu_user=cpu.get("user_usec", 0) * 1000,
            cpu_kernel=cpu.get("system_usec", 0) * 1000,
            throttle_periods=cpu.get("nr_periods", 0),
            throttled_periods=cpu.get("nr_throttled", 0),
            throttled_time=cpu.get("throttled_usec", 0) * 1000,
            pids_current=control_file.read_number(f"{folder}/pids.current") or plain.pids_current,
            pids_limit=control_file.read_number(f"{folder}/pids.max"),
        )

    def freeze(self) -> None:
        """Freeze every process and wait for the kernel's word that all have stopped."""
        set_value(f"{self._folder}/cgroup.freeze", "1")
        if not control_file.wait_for(f"{self._folder}/cgroup.events", "frozen", 1, PATIENCE):
            self.thaw()
            raise CgroupError("cannot pause: a process did not stop in ten seconds")

    def thaw(self) -> None:
        """Let frozen processes go on."""
        set_value(f"{self._folder}/cgroup.freeze", "0")

    def kill(self) -> None:
        """Send SIGKILL to every process at once (cgroup.kill, Linux 5.14), or one by one."""
        try:
            control_file.write(f"{self._folder}/cgroup.kill", "1")
        except FileNotFoundError:
            super().kill()

    def pids(self) -> list[int]:
        """Return the processes in the group."""
        return processes_beneath(self._folder)

    def oom_event(self) -> int | None:
        """Watch `memory.events` by inotify; it also changes when the limit is merely met."""
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor: int = libc.inotify_init1(IN_CLOEXEC | IN_NONBLOCK)
        if descriptor < 0:
            return None
        path = f"{self._folder}/memory.events".encode()
        if libc.inotify_add_watch(descriptor, path, IN_MODIFY) < 0:
            os.close(descriptor)
            return None
        return descriptor

    def delete(self) -> None:
        """Remove the folder."""
        deadline = time.monotonic() + PATIENCE
        while self._folder and not remove_folder(self._folder, self.pids, deadline):
            pass

    def _need(self, controller: str, what: str) -> bool:
        self._enable(frozenset({controller}))
        if controller in _words(f"{self._folder}/cgroup.controllers"):
            return True
        if controller in _words(f"{self._home}/cgroup.controllers"):
            self.missing.append(f"{what}: the {controller} controller cannot be enabled here")
        else:
            self.missing.append(f"{what}: this host has no {controller} controller")
        return False

    def _enable(self, controllers: frozenset[str]) -> None:
        """Enable controllers from the home folder down to the one above ours, where possible."""
        wanted = controllers - _words(f"{self._folder}/cgroup.controllers")
        if not wanted:
            return
        folder = self._home
        for part in self.path.split("/")[1:]:
            control = f"{folder}/cgroup.subtree_control"
            lacking = (wanted & _words(f"{folder}/cgroup.controllers")) - _words(control)
            # One by one, for one that is refused must not keep the others away.
            for controller in sorted(lacking):
                try:
                    control_file.write(control, f"+{controller}")
                except OSError:
                    continue
            folder = f"{folder}/{part}"

    def _set_memory(self, memory: Memory) -> None:
        if memory.limit:
            usage = control_file.read_number(f"{self._folder}/memory.current") or 0
            if 0 < memory.limit < usage:
                # v2 would take it, and kill.
                raise CgroupError(
                    f"cannot set memory.max to {memory.limit}: the container uses {usage} now"
                )
            set_value(f"{self._folder}/memory.max", _or_max(memory.limit))
        if memory.swap:
            self._set_swap(memory.swap, memory.limit)
        if memory.reservation:
            set_value(f"{self._folder}/memory.low", _or_max(memory.reservation))

    def _set_swap(self, swap: int, limit: int | None) -> None:
        """The spec's swap is memory and swap together; v2's is swap alone."""
        path = f"{self._folder}/memory.swap.max"
        if limit is None:
            limit = control_file.read_number(f"{self._folder}/memory.max") or -1
        if swap < 0 or limit < 0:
            value = "max"
        elif swap < limit:
            raise CgroupError(f"memory and swap limit {swap} is less than the memory limit {limit}")
        else:
            value = str(swap - limit)
        if os.path.exists(path):
            set_value(path, value)
        else:
            self.missing.append("swap limit: the kernel does not account for swap")

    def _set_cpu(self, cpu: Cpu) -> None:
        if cpu.shares:
            set_value(f"{self._folder}/cpu.weight", str(weight_of_shares(cpu.shares)))
        if cpu.quota or cpu.period:
            path = f"{self._folder}/cpu.max"
            quota, _, period = (control_file.read(path) or "max 100000").strip().partition(" ")
            if cpu.quota:
                quota = _or_max(cpu.quota)
            set_value(path, f"{quota} {cpu.period or period}")

    def _set_unified(self, name: str, value: str) -> None:
        if not re.fullmatch(r"[a-z0-9_]+(\.[a-zA-Z0-9_]+)+", name) or name.startswith("cgroup."):
            raise CgroupError(f"unified setting {name[:80]!r} does not name a controller's file")
        if self._need(name.partition(".")[0], f"unified setting {name}"):
            set_value(f"{self._folder}/{name}", value)


def weight_of_shares(shares: int) -> int:
    """Convert v1's CPU shares (2 … 262144) to v2's weight (1 … 10000); 1024, v1's default, is 100.

    The quadratic conversion that runc and crun took up in 2025, since with the linear one before
    a container of 1024 shares got 39 against its neighbours' default of 100.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def _words(path: str) -> frozenset[str]:
    return frozenset((control_file.read(path) or "").split())


def _or_max(value: int) -> str:
    return str(value) if value > 0 else "max"
