"""Containers that wherry's shim holds at this moment, under any engine but wherry's own."""

import os

from wherry.install.host import Host

_SERVERS = "/run/wherry/shim"
_TASKS = "io.containerd.runtime.v2.task"
_OURS = "wherry"
_NOTE = "wherry-task"
"""A link in the bundle of each task that the shim holds."""


def running_containers(host: Host) -> list[str]:
    """A name for each, as `NAMESPACE/ID`; empty when there are none, or they cannot be seen."""
    found = []
    try:
        names = sorted(os.listdir(host.at(_SERVERS)))
    except OSError:
        return []
    for name in names:
        # The shim names its servers NAMESPACE,POD,ADDRESS, with a comma for each slash.
        namespace, _, rest = name.partition(",")
        _, _, joined = rest.partition(",")
        if not joined or namespace == _OURS or not _is_alive(f"{host.at(_SERVERS)}/{name}"):
            continue
        beside = os.path.dirname(joined.replace(",", "/"))
        # containerd's state is beside its socket; dockerd gives its own one a folder below.
        for state in (beside, f"{beside}/daemon"):
            bundles = f"{state}/{_TASKS}/{namespace}"
            found += [f"{namespace}/{id}" for id in _tasks(host, bundles)]
    return sorted(set(found))


def _tasks(host: Host, bundles: str) -> list[str]:
    try:
        ids = sorted(os.listdir(host.at(bundles)))
    except OSError:
        return []
    return [id for id in ids if os.path.islink(host.at(f"{bundles}/{id}/{_NOTE}"))]


def _is_alive(pointer: str) -> bool:
    """Whether the server lives that a pointer `PID START ADDRESS` tells of."""
    try:
        with open(pointer) as file:
            pid, start = file.read(4096).split()[:2]
        with open(f"/proc/{int(pid)}/stat") as file:
            fields = file.read(4096).rpartition(") ")[2].split()
    except (OSError, ValueError):
        return False
    return fields[0] not in "ZX" and fields[19] == start
