"""Holds the network namespace that an ordinary user's bridges are in, and its way out.

Run as a program of its own that imports nothing of wherry's, because it outlives the helper that
started it and should be small:

    python -I -S keeper.py RECORD LOCK [NAMESPACE]

It makes the namespace, or goes on with the one that the descriptor NAMESPACE is of; starts `pasta`
or `slirp4netns`, whichever is found, in the namespace it came from; and writes RECORD: its pid and
when it started, then name, pid and start of the way out, or "- 0 -". Then its output ends; if there
is any, it is one line that says what went wrong.

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
from collections.abc import Callable
from contextlib import suppress

TAP = "wayout"
"""The interface by which packets leave the namespace."""
OUTER = "wv"
"""How the names of interfaces begin that lead to containers."""

_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_CLONE_NEWNET = 0x40000000
_PR_SET_NAME, _PR_SET_PDEATHSIG = 15, 1
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_NETLINK_ROUTE = 0
_RTMGRP_LINK, _RTMGRP_IPV4_ROUTE, _RTMGRP_IPV6_ROUTE = 0x1, 0x40, 0x400
_ACCEPT_DAD = "/proc/sys/net/ipv6/conf/default/accept_dad"
_PERIOD = 60_000
"""Milliseconds between looks at whether anybody still needs the namespace."""
_PATIENCE = 10.0
"""Seconds that a way out may take to be there."""
_MOMENT = 0.5
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    way_out = WayOut(record)
    # A signal that comes just before a wait would else be noticed when that ends.
    heard, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakeup)
    if given:
        _call("setns", int(given[0]), _CLONE_NEWNET)
        os.close(int(given[0]))
    else:
        _call("unshare", _CLONE_NEWNET)
        # Nobody else is on the link of the way out: its addresses are good at once.
        with suppress(OSError), open(_ACCEPT_DAD, "w") as accept:
            accept.write("0")
    _raise_loopback()
    # pasta drops most of its own, and may open nothing of a process that has more than it.
    _drop_capabilities()
    try:
        if not (given and way_out.adopt()):
            way_out.start()
        # Whoever started this process reads until the end.
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1):
            os.dup2(null, descriptor)
        os.close(null)
        while not way_out.wait(_PERIOD, heard) or _connected() or (held := _take(lock)) is None:
            pass
        with suppress(OSError):
            os.unlink(record)
        os.close(held)
    finally:
        way_out.end()


class WayOut:
    """The program that lets packets out, if one is installed.

    It runs in the namespace that this process was in when it made the object. Whoever it is, it is
    in the record.
    """

    def __init__(self, record: str) -> None:
        self._record = record
        self._starter, child_end = socket.socketpair()
        self._families = _default_routes()
        self._restarts = _RESTARTS
        self._pidfd = -1
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

    def adopt(self) -> bool:
        """Take over the program of a keeper that was killed, if it lives on."""
        try:
            with open(self._record) as record:
                _, _, name, pid, start = record.read().split()
            pidfd = os.pidfd_open(int(pid))
        except (OSError, ValueError):
            return False
        if _start_of(int(pid)) != start:
            os.close(pidfd)
            return False
        self._pidfd = pidfd
        self._write(name, int(pid))
        return True

    def start(self) -> None:
        """Start what is installed, the better first, and wait until it lets packets out."""
        namespace = f"/proc/{os.getpid()}/ns/net"
        for name, command in _programs(namespace):
            if shutil.which(name) and (pid := self._run(command)):
                self._write(name, pid)
                return
        self._write("-", 0)

    def wait(self, milliseconds: int, heard: int) -> bool:
        """Wait so long, or until the program ended; then it is started again, and False.

        `heard` becomes readable with a signal, whose handler then runs.
        """
        watched = select.poll()
        watched.register(heard, select.POLLIN)
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

    def end(self) -> None:
        """End the program."""
        if self._pidfd >= 0:
            with suppress(OSError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.close(self._pidfd)
            self._pidfd = -1

    def _write(self, name: str, pid: int) -> None:
        """Say in the record who keeps and who is the way out."""
        words = [os.getpid(), _start_of(os.getpid()), name, pid, _start_of(pid) or "-"]
        fresh = f"{self._record}.new"
        with open(fresh, "w") as file:
            print(*words, file=file)
        os.rename(fresh, self._record)

    def _run(self, command: list[str]) -> int:
        """Start a program; its pid if it lets packets out, else 0."""
        with _change_socket() as changes:
            # That of one that was killed goes a moment later.
            if not _until(lambda: not _has_tap(), changes):
                return 0
            self._starter.send("\0".join(command).encode())
            try:
                pid = int(self._starter.recv(32))
                self._pidfd = os.pidfd_open(pid)
            except (OSError, ValueError):
                return 0
            if _until(_default_routes, changes, self._pidfd):
                if command[0] == "pasta":
                    # The other family's comes next, or not at all.
                    every = self._families
                    _until(lambda: _default_routes() >= every, changes, self._pidfd, _MOMENT)
                return pid
        self.end()
        return 0


def _until(
    condition: Callable[[], object],
    changes: socket.socket,
    pidfd: int = -1,
    patience: float = _PATIENCE,
) -> bool:
    """Wait for a condition to be true; False if it takes too long, or a process ends before."""
    watched = select.poll()
    watched.register(changes, select.POLLIN)
    if pidfd >= 0:
        watched.register(pidfd, select.POLLIN)
    end = time.monotonic() + patience
    while not condition():
        left = end - time.monotonic()
        ready = [descriptor for descriptor, _ in watched.poll(max(0, left) * 1000)]
        if pidfd in ready or left <= 0:
            return False
        with suppress(BlockingIOError):
            changes.recv(1 << 16)
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


def _change_socket() -> socket.socket:
    """Tells when interfaces and routes change, in the namespace that this process is in."""
    changes = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_ROUTE
    )
    changes.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_ROUTE | _RTMGRP_IPV6_ROUTE))
    return changes


def _has_tap() -> bool:
    return TAP in _interfaces()


def _default_routes() -> set[int]:
    """The versions of IP that have a default route, in the namespace that this process is in."""
    found = set()
    with open("/proc/self/net/route") as table:
        if any(line.split()[1:2] == ["00000000"] for line in table):
            found.add(4)
    with suppress(OSError), open("/proc/self/net/ipv6_route") as table:
        words = (line.split() for line in table)
        if any(each[0] == "0" * 32 and each[1] == "00" and each[-1] != "lo" for each in words):
            found.add(6)
    return found


def _connected() -> bool:
    """Whether any container is: then there is an interface beside loopback, tap and bridges."""
    return any(name.startswith(OUTER) for name in _interfaces())


def _interfaces() -> list[str]:
    with open("/proc/self/net/dev") as table:
        return [line.partition(":")[0].strip() for line in table if ":" in line]


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


def _start_of(pid: int) -> str:
    """When a process started, as `wherry.pids.process_start` has it."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b") ")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()


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
