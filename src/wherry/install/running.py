"""Containers that wherry holds at this moment, under any engine but wherry's own."""

import glob
import os

from wherry.install.host import Host
from wherry.pids import process_start

_SERVERS = "/run/wherry/shim"
_TASKS = "io.containerd.runtime.v2.task"
_OURS = "wherry"
_NOTE = "wherry-task"
"""A link in the bundle of each task that the shim holds."""

_ROOTS = (("", "/run/wherry-runtime"), ("moby/", "/run/docker/runtime-*/moby"))
"""Where the OCI runtime command keeps its containers: its own place, and where Docker wants it."""


def held_by_command(host: Host) -> list[str]:
    """The names of those that the OCI runtime command made: a folder each, with the process."""
    found = []
    for prefix, root in _ROOTS:
        for process in glob.glob(f"{host.at(root)}/*/process"):
            folder = os.path.dirname(process)
            if os.path.exists(f"{folder}/container.json") and _is_alive(process):
                found.append(f"{prefix}{os.path.basename(folder)}")
    return found


def held_by_shim(host: Host) -> list[str]:
    """The names of those that the shim holds, as `NAMESPACE/ID`.

    Empty when there are none, or they cannot be seen.
    """
    found: list[str] = []
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
    return found


def _tasks(host: Host, bundles: str) -> list[str]:
    try:
        ids = sorted(os.listdir(host.at(bundles)))
    except OSError:
        return []
    return [id for id in ids if os.path.islink(host.at(f"{bundles}/{id}/{_NOTE}"))]


def _is_alive(pointer: str) -> bool:
    """Whether the process lives that a file tells of: `PID START`, and more."""
    try:
        with open(pointer) as file:
            pid, start = file.read(4096).split()[:2]
        return process_start(int(pid)) == start
    except (OSError, ValueError):
        return False
