"""cgroup v1: a folder in the hierarchy of each controller (the kernel's cgroup-v1 documents)."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, TypeVar

from wherry.runtime.sandbox.cgroups import control_file
from wherry.runtime.sandbox.cgroups.cgroup import (
    PATIENCE,
    Cgroup,
    make_folder,
    processes_beneath,
    remove_folder,
)
from wherry.runtime.sandbox.cgroups.control_file import CgroupError, set_pair, set_value
from wherry.runtime.sandbox.cgroups.statistics import CgroupStats, measure_processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.oci.runtime import Cpu, Memory, Resources
    from wherry.runtime.sandbox.cgroups.hierarchies import Hierarchies

Limit = TypeVar("Limit")

ALWAYS = ("memory", "pids", "cpuacct")
"""Made for every container, since they are what `stats` reads; the others when first needed."""

NO_LIMIT = 1 << 62
"""Bytes; v1 says "no limit" by a number near 2**63, rounded down to pages."""


class LegacyCgroup(Cgroup):
    """The folders of one container in the v1 hierarchies."""

    def __init__(self, path: str, found: Hierarchies) -> None:
        super().__init__(path)
        self._found = found
        self._folders: dict[str, str] = {}

    def _make(self) -> bool:
        for controller in ALWAYS:
            self._make_folder(controller)
        return bool(self._folders)

    def _find(self) -> bool:
        for controller in self._found.legacy:
            for home in self._found.homes(controller):
                if os.path.isdir(home + self.path):
                    self._folders[controller] = home + self.path
                    break
        return bool(self._folders)

    @property
    def procs_files(self) -> list[str]:
        """The `tasks` file of each hierarchy; controllers mounted together have one."""
        return [f"{folder}/tasks" for folder in self._distinct()]

    def update(self, resources: Resources) -> None:
        """Set the limits that are named, making the folders of controllers not needed so far."""
        if resources.memory:
            self._need("memory", "memory limit", self._set_memory, resources.memory)
        if resources.pids:
            limit = str(resources.pids.limit) if resources.pids.limit > 0 else "max"
            self._need("pids", "pids limit", self._set_pids, limit)
        cpu = resources.cpu
        if cpu and (cpu.shares or cpu.quota or cpu.period):
            self._need("cpu", "CPU limit", self._set_cpu, cpu)
        if cpu and (cpu.cpus or cpu.mems):
            self._need("cpuset", "CPU set", self._set_cpuset, cpu)
        if resources.unified:
            self.missing.append("unified settings: this host has cgroup v1")

    def stats(self) -> CgroupStats:
        """Measure, by /proc where a controller is missing."""
        plain = CgroupStats()
        if not {"memory", "cpuacct"} <= self._folders.keys():
            plain = measure_processes(self.pids())
        return self._cpu_stats(self._memory_stats(plain))._replace(
            pids_current=self._number("pids", "pids.current") or plain.pids_current,
            pids_limit=self._number("pids", "pids.max"),
        )

    def freeze(self) -> None:
        """Freeze every process, in a freezer group made at the first call."""
        self._make_folder("freezer")
        if "freezer" not in self._folders:
            raise CgroupError("cannot pause: this host has no freezer controller")
        state = f"{self._folders['freezer']}/freezer.state"
        set_value(state, "FROZEN")
        deadline = time.monotonic() + PATIENCE
        # v1 notifies nobody when the last process has stopped; reading is what moves the state on.
        while (control_file.read(state) or "FROZEN").strip() != "FROZEN":
            if time.monotonic() > deadline:
                set_value(state, "THAWED")
                raise CgroupError("cannot pause: a process did not stop in ten seconds")
            os.sched_yield()

    def thaw(self) -> None:
        """Let frozen processes go on."""
        if "freezer" in self._folders:
            set_value(f"{self._folders['freezer']}/freezer.state", "THAWED")

    def kill(self) -> None:
        """Send SIGKILL to every process; a v1 freezer holds it back, so thaw as well."""
        super().kill()
        if os.path.exists(self._folders.get("freezer", "")):
            self.thaw()

    def pids(self) -> list[int]:
        """Return the processes; all folders have the same."""
        for folder in self._folders.values():
            return processes_beneath(folder)
        return []

    def oom_event(self) -> int | None:
        """Register an eventfd with the memory controller (memory.txt, section 10)."""
        folder = self._folders.get("memory")
        if folder is None:
            return None
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            control = os.open(f"{folder}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            try:
                control_file.write(f"{folder}/cgroup.event_control", f"{event} {control}")
            finally:
                os.close(control)
        except OSError:
            os.close(event)
            return None
        return event

    def delete(self) -> None:
        """Remove every folder."""
        deadline = time.monotonic() + PATIENCE
        for controller, folder in list(self._folders.items()):
            while not remove_folder(folder, self.pids, deadline):
                pass
            del self._folders[controller]

    def _distinct(self) -> list[str]:
        by_inode = {}
        for folder in self._folders.values():
            try:
                status = os.stat(folder)
            except FileNotFoundError:
                continue
            by_inode[status.st_dev, status.st_ino] = folder
        return list(by_inode.values())

    def _number(self, controller: str, name: str) -> int | None:
        folder = self._folders.get(controller)
        return control_file.read_number(f"{folder}/{name}") if folder else None

    def _make_folder(self, controller: str) -> None:
        """Make the folder of a controller, where this user may, and move our processes there."""
        if controller in self._folders:
            return
        pids = self.pids()
        for home in self._found.homes(controller):
            folder = home + self.path
            try:
                make_folder(folder)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                    continue
                raise CgroupError(f"cannot make cgroup {folder}: {error.strerror}") from None
            self._folders[controller] = folder
            if controller == "cpuset":
                _inherit_cpuset(home, self.path)
            for pid in pids:
                try:
                    control_file.write(f"{folder}/cgroup.procs", str(pid))
                except ProcessLookupError:
                    continue
            return

    def _need(
        self, controller: str, what: str, apply: Callable[[str, Limit], None], limit: Limit
    ) -> None:
        self._make_folder(controller)
        folder = self._folders.get(controller)
        if folder is not None:
            apply(folder, limit)
        elif controller in self._found.legacy:
            self.missing.append(f"{what}: the {controller} cgroup is not writable by this user")
        else:
            self.missing.append(f"{what}: this host has no {controller} controller")

    def _set_memory(self, folder: str, memory: Memory) -> None:
        both = f"{folder}/memory.memsw.limit_in_bytes"
        if memory.limit and memory.swap and os.path.exists(both):
            set_pair(
                (f"{folder}/memory.limit_in_bytes", str(memory.limit)), (both, str(memory.swap))
            )
        elif memory.limit:
            set_value(f"{folder}/memory.limit_in_bytes", str(memory.limit))
            if memory.swap:
                self.missing.append("swap limit: the kernel does not account for swap")
        if memory.reservation:
            set_value(f"{folder}/memory.soft_limit_in_bytes", str(memory.reservation))

    def _set_pids(self, folder: str, limit: str) -> None:
        set_value(f"{folder}/pids.max", limit)

    def _set_cpu(self, folder: str, cpu: Cpu) -> None:
        if cpu.shares:
            set_value(f"{folder}/cpu.shares", str(cpu.shares))
        period = f"{folder}/cpu.cfs_period_us", str(cpu.period)
        quota = f"{folder}/cpu.cfs_quota_us", str(cpu.quota)
        if cpu.period and cpu.quota:
            set_pair(period, quota)
        elif cpu.period:
            set_value(*period)
        elif cpu.quota:
            set_value(*quota)

    def _set_cpuset(self, folder: str, cpu: Cpu) -> None:
        if cpu.cpus:
            set_value(f"{folder}/cpuset.cpus", cpu.cpus)
        if cpu.mems:
            set_value(f"{folder}/cpuset.mems", cpu.mems)

    def _memory_stats(self, stats: CgroupStats) -> CgroupStats:
        folder = self._folders.get("memory")
        if folder is None:
            return stats
        usage = self._number("memory", "memory.usage_in_bytes") or 0
        limit = self._number("memory", "memory.limit_in_bytes") or NO_LIMIT
        with_swap = self._number("memory", "memory.memsw.usage_in_bytes") or 0
        return stats._replace(
            memory_usage=usage,
            memory_limit=limit if limit < NO_LIMIT else None,
            memory_peak=self._number("memory", "memory.max_usage_in_bytes") or 0,
            memory_inactive_file=control_file.read_table(f"{folder}/memory.stat").get(
                "total_inactive_file", 0
            ),
            memory_failcnt=self._number("memory", "memory.failcnt") or 0,
            oom_kills=control_file.read_table(f"{folder}/memory.oom_control").get("oom_kill", 0),
            swap_usage=max(0, with_swap - usage),
        )

    def _cpu_stats(self, stats: CgroupStats) -> CgroupStats:
        if "cpuacct" in self._folders:
            stats = stats._replace(
                cpu_total=self._number("cpuacct", "cpuacct.usage") or 0,
                cpu_user=self._number("cpuacct", "cpuacct.usage_user") or 0,
                cpu_kernel=self._number("cpuacct", "cpuacct.usage_sys") or 0,
            )
        if "cpu" in self._folders:
            table = control_file.read_table(f"{self._folders['cpu']}/cpu.stat")
            stats = stats._replace(
                throttle_periods=table.get("nr_periods", 0),
                throttled_periods=table.get("nr_throttled", 0),
                throttled_time=table.get("throttled_time", 0),
            )
        return stats


def _inherit_cpuset(home: str, path: str) -> None:
    """Fill the CPUs and nodes of new groups from above: an empty cpuset takes no process."""
    folder = home
    for part in path.split("/")[1:]:
        parent, folder = folder, f"{folder}/{part}"
        for name in ("cpuset.cpus", "cpuset.mems"):
            if not (control_file.read(f"{folder}/{name}") or "").strip():
                above = (control_file.read(f"{parent}/{name}") or "").strip()
                set_value(f"{folder}/{name}", above)
