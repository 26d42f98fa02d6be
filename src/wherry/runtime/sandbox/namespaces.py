"""Namespaces that a process joins; those a container makes come with its fork (see `launcher`)."""

import errno
import fcntl
import os
import socket
import struct

from wherry.oci import runtime as spec
from wherry.runtime.exits import LaunchError
from wherry.runtime.sandbox import midwife, sysctls
from wherry.runtime.sandbox import syscalls as sys

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1

_KINDS = {
    "mnt": sys.CLONE_NEWNS,
    "pid": sys.CLONE_NEWPID,
    "uts": sys.CLONE_NEWUTS,
    "ipc": sys.CLONE_NEWIPC,
    "net": sys.CLONE_NEWNET,
}
"""By their names in /proc/PID/ns."""

_JOINED = {
    "network": sys.CLONE_NEWNET,
    "ipc": sys.CLONE_NEWIPC,
    "uts": sys.CLONE_NEWUTS,
    "cgroup": sys.CLONE_NEWCGROUP,
    "time": sys.CLONE_NEWTIME,
}
"""By path. That of the processes is entered by being born in it (see `clone_into`)."""


def empty_network() -> int:
    """A network namespace with nothing in it, for all containers without a network.

    One shared by all costs a container nothing; a fresh one costs 1.5 ms. Raises OSError.
    """
    # In a user namespace there is no way back into the host's network: a child goes, we look.
    made, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            sys.unshare(sys.CLONE_NEWNET)
            os.write(made[1], b"1")
            os.close(done[1])
            os.read(done[0], 1)
        finally:
            os._exit(0)
    os.close(made[1])
    os.close(done[0])
    try:
        if not os.read(made[0], 1):
            raise OSError(errno.EPERM, "no network namespace can be made")
        return os.open(f"/proc/{child}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(made[0])
        os.close(done[1])
        os.waitpid(child, 0)


def wants_network(config: spec.Spec) -> bool:
    """Whether the container may be given a network once it was created, or changes its own."""
    return (config.annotations or {}).get(spec.NETWORK) != "none" or sysctls.of_network(config)


def join(config: spec.Spec, no_network: int | None) -> None:
    """Join the namespaces given by path, and `no_network` where no network is ever to be.

    Without `no_network` each container was made with a network namespace of its own.
    """
    linux = config.linux or spec.Linux()
    for namespace in linux.namespaces or ():
        kind = _JOINED.get(namespace.type)
        if kind is not None and namespace.path:
            fd = os.open(namespace.path, os.O_RDONLY | os.O_CLOEXEC)
            sys.setns(fd, kind)
            os.close(fd)
        elif namespace.type == "network" and no_network is not None and not wants_network(config):
            sys.setns(no_network, kind or 0)
        elif namespace.type == "network":
            _raise_loopback()
            sysctls.free_ports()


def _raise_loopback() -> None:
    """Put 127.0.0.1 into a fresh network namespace, as every container has it (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH22x", b"lo", _IFF_UP)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, request)


def refuse_user(config: spec.Spec) -> None:
    """Raises LaunchError for a container that is to have a user namespace of its own."""
    for namespace in config.linux.namespaces or () if config.linux else ():
        if namespace.type == "user":
            raise LaunchError("user namespaces of single containers are not supported for Wasm")


def set_names(config: spec.Spec) -> None:
    """Set the hostname and the NIS domain name, in a uts namespace of the container's own.

    Raises LaunchError where it has none, and OSError.
    """
    if not config.hostname and not config.domainname:
        return
    listed = config.linux.namespaces or () if config.linux else ()
    if all(namespace.type != "uts" for namespace in listed):
        raise LaunchError("a hostname needs a uts namespace: it would be the host's")
    if config.hostname:
        sys.sethostname(config.hostname)
    if config.domainname:
        sys.setdomainname(config.domainname)


def foreign(pid: int) -> int:
    """The kinds (CLONE_NEW…) of namespaces that a process does not share with this one.

    To join those that are shared may not be allowed, as those of the host are not in a user
    namespace. Raises OSError.
    """
    flags = 0
    for name, kind in _KINDS.items():
        if os.stat(f"/proc/{pid}/ns/{name}").st_ino != os.stat(f"/proc/self/ns/{name}").st_ino:
            flags |= kind
    return flags


def clone_beside(first: int, pidfd: int, flags: int) -> tuple[int, int]:
    """clone3 into the pid namespace of the process `first`, which `pidfd` is of. Raises OSError."""
    if not foreign(first) & sys.CLONE_NEWPID:
        return sys.clone3(flags)
    return _clone_into(pidfd, flags)


def clone_into(pids: str, flags: int) -> tuple[int, int]:
    """clone3 into the pid namespace at the path `pids`, if there is one. Raises OSError."""
    if not pids:
        return sys.clone3(flags)
    namespace = os.open(pids, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _clone_into(namespace, flags)
    finally:
        os.close(namespace)


def _clone_into(namespace: int, flags: int) -> tuple[int, int]:
    if midwife.is_needed():
        return midwife.clone(namespace, flags)
    home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    # Only children are born there: this process stays where it is.
    sys.setns(namespace, sys.CLONE_NEWPID)
    try:
        child = sys.clone3(flags)
    except OSError:
        sys.setns(home, sys.CLONE_NEWPID)
        raise
    else:
        if child[0]:
            sys.setns(home, sys.CLONE_NEWPID)
        return child
    finally:
        os.close(home)
