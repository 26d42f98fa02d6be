"""What cgroups can bound here, told before a container is made: `info`, and warnings.

The shim makes the groups, and bounds what can be bounded. This looks, without making any, at the
same places: the root of each hierarchy, and the highest group above this process that its user may
write to (cgroups(7); Control Group v2, "Delegation").
"""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

_WANTED = ("memory", "cpu", "cpuset", "pids")


class Hierarchies(NamedTuple):
    """Mount points and this process's own groups in them; v2 is the controller ""."""

    mounts: Mapping[str, str]
    own: Mapping[str, str]

    @classmethod
    def parse(cls, mountinfo: str, cgroup: str) -> "Hierarchies":
        """Read the texts of /proc/PID/mountinfo and /proc/PID/cgroup."""
        mounts: dict[str, str] = {}
        for line in mountinfo.splitlines():
            fields, _, source = line.partition(" - ")
            kind, *_, options = [*source.split(" "), ""][:3]
            if kind == "cgroup2":
                mounts.setdefault("", fields.split(" ")[4])
            elif kind == "cgroup":
                for option in options.split(","):
                    mounts.setdefault(option, fields.split(" ")[4])
        own = {}
        for line in cgroup.splitlines():
            _, controllers, path = line.split(":", 2)
            own.update(dict.fromkeys(controllers.split(","), path))
        return cls(mounts, own)

    @property
    def is_unified(self) -> bool:
        """Whether v2 has the controllers; on a hybrid host it is mounted but has none."""
        return not {"memory", "pids", "cpu"}.isdisjoint(self._controllers(self.mounts.get("", "")))

    def bounded(self) -> frozenset[str]:
        """Those of memory, cpu, cpuset and pids that a container of this user can be bound in."""
        if self.is_unified:
            home = self._home("")
            return frozenset(_WANTED) & self._controllers(home)
        return frozenset(name for name in _WANTED if self._home(name))

    def _home(self, controller: str) -> str:
        """Where this user may make groups; empty if nowhere."""
        folder = self.mounts.get(controller, "")
        parts = [part for part in self.own.get(controller, "").split("/") if part]
        for part in ["", *parts] if folder else []:
            folder = f"{folder}/{part}".rstrip("/")
            if os.access(folder, os.W_OK) and os.access(f"{folder}/cgroup.procs", os.W_OK):
                return folder
        return ""

    def place(self, path: str) -> str:
        """Where the group of a Linux container is to be, `path` for root; empty if nowhere.

        runc and crun are told a path from the top of a hierarchy, and make it there in all.
        """
        if self.is_unified:
            home = self._home("")
            return home.removeprefix(self.mounts[""]) + path if home else ""
        tops = (self._home(name) == self.mounts.get(name) for name in _WANTED)
        return path if all(tops) else ""

    @staticmethod
    def _controllers(folder: str) -> frozenset[str]:
        try:
            return frozenset(Path(folder, "cgroup.controllers").read_text().split())
        except OSError:
            return frozenset()


@cache
def of_this_process() -> Hierarchies:
    """As they are seen at the first call; mounts of cgroups do not come and go."""
    proc = Path("/proc/self")
    return Hierarchies.parse((proc / "mountinfo").read_text(), (proc / "cgroup").read_text())


@cache
def bounded() -> frozenset[str]:
    """See `Hierarchies.bounded`."""
    return of_this_process().bounded()


def place(path: str) -> str:
    """See `Hierarchies.place`."""
    return of_this_process().place(path)


def version() -> str:
    """Of the hierarchy that has the controllers: "1" or "2"."""
    return "2" if of_this_process().is_unified else "1"


def bounds_swap() -> bool:
    """Whether the kernel accounts for swap."""
    root = Path("/sys/fs/cgroup")
    found = ("memory/memory.memsw.limit_in_bytes", "memory.swap.max", "init.scope/memory.swap.max")
    return "memory" in bounded() and any((root / name).exists() for name in found)
