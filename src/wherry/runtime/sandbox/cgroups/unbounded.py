"""A cgroup that is none: for a user who may make no cgroups on this host."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from wherry.runtime.sandbox.cgroups.cgroup import Cgroup
from wherry.runtime.sandbox.cgroups.statistics import CgroupStats, measure_processes

if TYPE_CHECKING:
    from wherry.oci.runtime import Resources

NO_ACCESS = "no cgroup here is writable by this user"


class UnboundedCgroup(Cgroup):
    """Knows the processes that were added to it, by pidfd, and bounds nothing."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._pidfds: dict[int, int] = {}

    @property
    def procs_files(self) -> list[str]:
        """No files: `add` the process."""
        return []

    def tell_of(self, pid: int) -> None:
        """Remember a process. One that has ended already is no error."""
        if pid not in self._pidfds:
            try:
                self._pidfds[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                return

    def update(self, resources: Resources) -> None:
        """Note in `missing` what is not bounded."""
        self.missing = [f"{limit}: {NO_ACCESS}" for limit in limits_asked(resources)]

    def stats(self) -> CgroupStats:
        """Measure by /proc."""
        return measure_processes(self.pids())

    def freeze(self) -> None:
        """Stop the processes with SIGSTOP, without waiting."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal_all(signal.SIGCONT)

    def kill(self) -> None:
        """Send SIGKILL to every process that was added."""
        self._signal_all(signal.SIGKILL)

    def pids(self) -> list[int]:
        """Return those of the processes added that live."""
        return self._signal_all(0)

    def oom_event(self) -> None:
        """There is no memory limit to meet."""
        return

    def delete(self) -> None:
        """Forget the processes."""
        while self._pidfds:
            os.close(self._pidfds.popitem()[1])

    def _signal_all(self, number: int) -> list[int]:
        reached = []
        for pid, descriptor in self._pidfds.items():
            try:
                signal.pidfd_send_signal(descriptor, number)
            except ProcessLookupError:
                continue
            reached.append(pid)
        return reached


def limits_asked(resources: Resources) -> list[str]:
    """Name the limits that `resources` sets, as a person calls them."""
    memory, cpu, pids = resources.memory, resources.cpu, resources.pids
    asked = []
    if memory and memory.limit and memory.limit > 0:
        asked.append("memory limit")
    if cpu and (cpu.shares or cpu.quota or cpu.period):
        asked.append("CPU limit")
    if cpu and (cpu.cpus or cpu.mems):
        asked.append("CPU set")
    if pids and pids.limit > 0:
        asked.append("pids limit")
    if resources.unified:
        asked.append("unified settings")
    return asked
