"""Kernel parameters that a container's bundle sets (config-linux.md, "Sysctl").

Only those that belong to a namespace, and only where the container has one of its own: any other
would change the host. The rules are runc's.
"""

import contextlib
import os

from wherry.oci import runtime as spec
from wherry.runtime.exits import LaunchError

_OF_IPC = frozenset(
    {"msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"}
)
"""Of `kernel`."""


def of_network(config: spec.Spec) -> bool:
    """Whether the bundle sets any of the network's."""
    return any(_path(name).startswith("net/") for name in _wanted(config))


def check(config: spec.Spec) -> None:
    """Refuse those that would change the host. Raises LaunchError.

    Called while this process is in the host's network, or in a new one.
    """
    for name in _wanted(config):
        _check(name, config)


def free_ports() -> None:
    """Let anyone in the network that this process is in serve port 80: it is the container's own.

    As Docker does. What the bundle sets, later, counts for more.
    """
    # Where /proc/sys may not be written, as in many a container, ports below 1024 stay root's.
    with contextlib.suppress(OSError):
        _write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")


def apply(config: spec.Spec, proc: str = "/proc/sys") -> None:
    """Set what was checked, for the namespaces that this process is in now. Raises LaunchError.

    Called while the host's /proc is in sight, which shows each process its own.
    """
    for name, value in _wanted(config).items():
        try:
            _write(f"{proc}/{_path(name)}", value)
        except OSError as error:
            raise LaunchError(
                f"sysctl {name} cannot be set to {value[:40]!r}: {error.strerror}"
            ) from None


def _write(path: str, value: str) -> None:
    # Opened only if it is there: nothing is ever made here.
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _wanted(config: spec.Spec) -> dict[str, str]:
    return (config.linux.sysctl if config.linux else None) or {}


def _path(name: str) -> str:
    """A sysctl's path in /proc/sys. As in sysctl(8), the first separator tells which one it is:
    net.ipv4.conf.eth0/1.forwarding and net/ipv4/conf/eth0.1/forwarding are the same.
    """
    dot, slash = name.find("."), name.find("/")
    if slash < 0 or 0 <= dot < slash:
        return name.translate(str.maketrans("./", "/."))
    return name


def _check(name: str, config: spec.Spec) -> None:
    path = _path(name)
    parts = path.split("/")
    if not path.isprintable() or any(part in ("", ".", "..") for part in parts):
        raise LaunchError(f"sysctl {name[:80]!r} is no name of a kernel parameter")
    namespaces = {n.type: n.path for n in (config.linux.namespaces if config.linux else ()) or ()}
    if path.startswith("fs/mqueue/") or (parts[0] == "kernel" and path[7:] in _OF_IPC):
        if "ipc" not in namespaces:
            raise LaunchError(f"sysctl {name} needs an ipc namespace of the container's own")
    elif parts[0] == "net":
        if "network" not in namespaces or _is_hosts(namespaces["network"]):
            raise LaunchError(f"sysctl {name} needs a network namespace of the container's own")
    elif path == "kernel/domainname":
        if "uts" not in namespaces:
            raise LaunchError(f"sysctl {name} needs a uts namespace of the container's own")
    elif path == "kernel/hostname":
        raise LaunchError(f"sysctl {name} is what the bundle's hostname is for")
    else:
        raise LaunchError(f"sysctl {name} belongs to no namespace: it would change the host")


def _is_hosts(network: str) -> bool:
    """Whether the path of a network namespace, "" for a new one, leads to the host's."""
    if not network:
        return False
    try:
        return os.stat(network).st_ino == os.stat("/proc/self/ns/net").st_ino
    except OSError as error:
        raise LaunchError(f"the network {network} cannot be joined: {error.strerror}") from None
