"""Holds the network namespace that an ordinary user's bridges are in, and its way out.

Run as a program of its own that imports nothing of wherry's, because it outlives the helper that
started it and should be small:

    python -I -S keeper.py RECORD LOCK [NAMESPACE]

It makes the namespace, or goes on with the one that the descriptor NAMESPACE is of; starts `pasta`
or `slirp4netns`, whichever is found, in the namespace it came from; writes RECORD: its pid, when
it started, and the program that is the way out, or "-". Then its output ends; if there is any, it
is one line that says what went wrong.

It ends when told to, or when no container is connected and nobody holds LOCK any more; the
namespace, all bridges and the way out go with it.
"""

import ctypes
import fcntl
import os
import select
import shutil
import signal
import socket
import struct
import sys
import time
from contextlib import suppress

TAP = "wayout"
"""The interface by which packets leave the namespace."""

_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_CLONE_NEWNET = 0x40000000
_PR_SET_NAME, _PR_SET_PDEATHSIG = 15, 1
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_NETLINK_ROUTE = 0
_RTMGRP_IPV4_ROUTE, _RTMGRP_IPV6_ROUTE = 0x40, 0x400
_PERIOD = 60_000
"""Milliseconds between looks at whether anybody still needs the namespace."""
_PATIENCE = 10.0
"""Seconds that a way out may take to be there."""
_RESTARTS = 5
"""How often a way out that ended is started again."""


def main() -> None:
    """Serve as said above; arguments are the paths of the record and the lock."""
    record, lock, *given = sys.argv[1:4]
    if os.fork():  # nobody's child, so that nobody has to wait for it
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _call("prctl", _PR_SET_NAME, b"wherry-home", 0, 0, 0)
    way_out = WayOut()
    if given:
        _call("setns", int(given[0]), _CLONE_NEWNET)
        os.close(int(given[0]))
    else:
        _call("unshare", _CLONE_NEWNET)
    _raise_loopback()
    # pasta drops most of its own, and may open nothing of a process that has more than it.
    _drop_capabilities()
    way_out.start()
    _write(record, f"{os.getpid()} {_own_start()} {way_out.name or '-'}\n")
    # Whoever started this process reads until the end.
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    os.close(null)
    while True:
        passed = way_out.wait(_PERIOD)
        if passed and not _connected() and (held := _take(lock)) is not None:
            with suppress(OSError):
                os.unlink(record)
            os.close(held)
            return


class WayOut:
    """The program that lets packets out, if one is installed.

    It runs in the namespace that this process was in when it made the object.
    """

    def __init__(self) -> None:
        self._host = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._starter, child_end = socket.socketpair()
        self._restarts = _RESTARTS
        self._pid = 0
        self._pidfd = -1
        self.name = ""
        """What it is called; empty if there is none."""
        # There is no way back into the host's network: who starts programs there stays there.
        keeper = os.getpid()
        if os.fork():
            child_end.close()
            return
        self._starter.close()
        try:
            _start_programs(child_end, keeper)
        finally:
            os._exit(0)

    def start(self) -> None:
        """Start what is installed, the better first, and wait until it lets packets out."""
        namespace = f"/proc/{os.getpid()}/ns/net"
        for name, command in _programs(namespace):
            if shutil.which(name) and self._run(command):
                self.name = name
                return

    def wait(self, milliseconds: int) -> bool:
        """Wait so long, or until the program ended; then it is started again, and False."""
        watched = select.poll()
        if self._pidfd >= 0:
            watched.register(self._pidfd, select.POLLIN)
        if not watched.poll(milliseconds):
            return True
        os.close(self._pidfd)
        self._pidfd = -1
        if self._restarts:
            self._restarts -= 1
            self.start()
        return False

    def _run(self, command: list[str]) -> bool:
        with _route_socket() as routes:
            self._starter.send("\0".join(command).encode())
            answer = self._starter.recv(32)
            if not answer or answer == b"0":
                return False
            try:
                self._pidfd = os.pidfd_open(int(answer))
            except OSError:
                return False
            watched = select.poll()
            watched.register(routes, select.POLLIN)
            watched.register(self._pidfd, select.POLLIN)
            until = time.monotonic() + _PATIENCE
            while not _has_default_route():
                left = until - time.monotonic()
                ready = [descriptor for descriptor, _ in watched.poll(max(0, left) * 1000)]
                if self._pidfd in ready or left <= 0:
                    with suppress(OSError):
                        signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
                    os.close(self._pidfd)
                    self._pidfd = -1
                    return False
                with suppress(BlockingIOError):
                    routes.recv(1 << 16)
        return True


def _programs(namespace: str) -> list[tuple[str, list[str]]]:
    """Command lines of what may be the way out of `namespace`; nobody gets in by it.

    Nor does it lead to what listens on the host's loopback.
    """
    none = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
    pasta = ["pasta", "--foreground", "--quiet", "--config-net", "--no-map-gw", *none]
    slirp = ["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback"]
    return [
        ("pasta", [*pasta, "--ns-ifname", TAP, "--netns-only", "--netns", namespace]),
        ("slirp4netns", [*slirp, "--netns-type=path", namespace, TAP]),
    ]


def _start_programs(requests: socket.socket, keeper: int) -> None:
    """Start each command that is asked for, and answer its pid; ends with the keeper."""
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _call("prctl", _PR_SET_NAME, b"wherry-way-out", 0, 0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    while os.getppid() == keeper and (request := requests.recv(4096)):
        command = request.decode().split("\0")
        child = os.fork()
        if not child:
            try:
                requests.close()
                for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGHUP):
                    signal.signal(number, signal.SIG_DFL)
                _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                os.execvp(command[0], command)  # noqa: S606
            finally:
                os._exit(127)
        requests.send(str(child).encode())


def _route_socket() -> socket.socket:
    """Tells when routes change, in the namespace that this process is in."""
    routes = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_ROUTE
    )
    routes.bind((0, _RTMGRP_IPV4_ROUTE | _RTMGRP_IPV6_ROUTE))
    return routes


def _has_default_route() -> bool:
    with open("/proc/self/net/route") as table:
        return any(line.split()[1:2] == ["00000000"] for line in table)


def _connected() -> bool:
    """Whether any container is: then there is an interface beside loopback, tap and bridges."""
    with open("/proc/self/net/dev") as table:
        names = [line.partition(":")[0].strip() for line in table if ":" in line]
    return any(name.startswith("wv") for name in names)


def _take(path: str) -> int | None:
    """The lock at `path`, or None if anybody holds it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:  # its folder has gone: nobody will come
        return os.open(os.devnull, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP))


def _drop_capabilities() -> None:
    header, none = struct.pack("Ii", _LINUX_CAPABILITY_VERSION_3, 0), bytes(24)
    _call("capset", header, none)


def _own_start() -> str:
    """As `wherry.pids.process_start` has it."""
    with open("/proc/self/stat", "rb") as stat:
        return stat.read().rpartition(b") ")[2].split()[19].decode()


def _write(path: str, text: str) -> None:
    fresh = f"{path}.new"
    with open(fresh, "w") as file:
        file.write(text)
    os.rename(fresh, path)


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        print(error, flush=True)
        sys.exit(1)
