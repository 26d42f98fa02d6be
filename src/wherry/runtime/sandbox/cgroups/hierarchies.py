"""Where this host has its cgroups mounted, and where in them a container's path belongs."""

import functools
import os
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from wherry.runtime.sandbox.cgroups import control_file
from wherry.runtime.sandbox.cgroups.control_file import CgroupError

MAX_PATH = 4096


class Hierarchies(NamedTuple):
    """The cgroup mounts a process sees, and its own place in each.

    `unified` is the mount point of v2; `legacy` has the mount point of each v1 controller; `own`
    has this process's path by controller, with v2's under "" (cgroups(7)).
    """

    unified: str | None
    legacy: Mapping[str, str]
    own: Mapping[str, str]

    @classmethod
    def parse(cls, mountinfo: str, cgroup: str) -> "Hierarchies":
        """Read the texts of /proc/PID/mountinfo and /proc/PID/cgroup."""
        unified: str | None = None
        legacy: dict[str, str] = {}
        roots: dict[str, str] = {}
        for line in mountinfo.splitlines():
            mount, _, source = line.partition(" - ")
            fields, kind = mount.split(" "), source.split(" ")
            if len(fields) < 5 or len(kind) < 3:
                continue
            root, point = _unescape(fields[3]), _unescape(fields[4])
            if kind[0] == "cgroup2" and unified is None:
                unified, roots[""] = point, root
            elif kind[0] == "cgroup":
                for option in kind[2].split(","):
                    if option not in legacy:
                        legacy[option], roots[option] = point, root
        own = {}
        for line in cgroup.splitlines():
            _, controllers, path = line.split(":", 2)
            for controller in controllers.split(","):
                own[controller] = _beneath(roots.get(controller, "/"), path)
        return cls(unified, {name: legacy[name] for name in own if name in legacy}, own)

    @property
    def is_unified(self) -> bool:
        """Whether v2 has the controllers; on a hybrid host it is mounted but has none."""
        if self.unified is None:
            return False
        available = control_file.read(f"{self.unified}/cgroup.controllers") or ""
        return not {"memory", "pids", "cpu"}.isdisjoint(available.split())

    def homes(self, controller: str = "") -> Iterator[str]:
        """Yield the folders a container's path may start from, the best first.

        They are the root of the hierarchy, then the highest group above us that is delegated to
        this user (systemd's "Delegation" of user@UID.service, say).
        """
        mount = self.legacy.get(controller) if controller else self.unified
        if mount is None:
            return
        yield mount
        folder = mount
        for part in self.own.get(controller, "/").split("/"):
            if part:
                folder = f"{folder}/{part}"
                if os.access(folder, os.W_OK) and os.access(f"{folder}/cgroup.procs", os.W_OK):
                    yield folder
                    return


@functools.cache
def of_this_process() -> Hierarchies:
    """Return the hierarchies seen at the first call; mounts of cgroups do not come and go."""
    with open("/proc/self/mountinfo") as mountinfo, open("/proc/self/cgroup") as cgroup:
        return Hierarchies.parse(mountinfo.read(), cgroup.read())


def plain_path(cgroups_path: str) -> str:
    """Turn an OCI cgroupsPath into a path "/a/b" beneath the root of a hierarchy.

    Besides paths it takes the form `slice:prefix:name` that systemd's cgroup driver uses, and
    nests slices by their dashes as systemd does: "a-b.slice:cri:x" is
    "/a.slice/a-b.slice/cri-x.scope".
    Raises CgroupError.
    """
    path = cgroups_path
    if path.count(":") == 2 and "/" not in path:
        slice_name, prefix, name = path.split(":")
        unit = name if name.endswith(".slice") else f"{prefix}-{name}.scope".lstrip("-")
        path = f"{_slice_path(slice_name or 'system.slice')}/{unit}"
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or "\0" in path or len(path) > MAX_PATH:
        raise CgroupError(f"cgroupsPath {cgroups_path[:80]!r} does not name a cgroup")
    return "/" + "/".join(parts)


def _slice_path(slice_name: str) -> str:
    names = slice_name.removesuffix(".slice").split("-")
    if names == ["", ""]:
        return ""
    return "".join(f"/{'-'.join(names[:end])}.slice" for end in range(1, len(names) + 1))


def _beneath(root: str, path: str) -> str:
    """Return `path` as seen from a mount whose root is `root`."""
    if root == "/":
        return path
    return path[len(root) :] if f"{path}/".startswith(f"{root}/") else "/"


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
