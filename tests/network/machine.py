"""A pretended machine with a network of its own, and a world outside to reach.

Two network namespaces joined by a veth pair. `Machine` is where an engine under test runs: its
interface `uplink` has addresses and a default route, its /dev/net/tun may be used by everybody, as
on people's machines. `Machine.outside` is the world: it answers at `OUTSIDE` and `FAR`, and has no
route back to anything but the machine itself, so that who is reached from a container shows that
its packets were masqueraded. Nothing gets from here into the network of the host.

    with Machine() as machine, machine.outside.answering(FAR, 80):
        machine.ok("curl", f"http://{FAR}")                # as root
        machine.ok("curl", f"http://{FAR}", user=NOBODY)   # as an ordinary user
        wherry.within = machine.within                     # a whole engine (`Wherry`)
        assert machine.call(told, FAR, 80) == INSIDE       # a function, in a fork that is there

All processes started in it end with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from tests import debian, peers
from tests.accessible import accessible
from tests.engine_under_test import end

NOBODY = 65534
"""An ordinary user."""
INSIDE = "198.51.100.2"
"""The machine's address on its uplink, and INSIDE6 the one of IPv6."""
INSIDE6 = "2001:db8:1::2"
OUTSIDE = "198.51.100.1"
"""The world's address on the same link: the machine's gateway."""
OUTSIDE6 = "2001:db8:1::1"
FAR = "203.0.113.7"
"""An address of the world's that is reached by the default route only."""
FAR6 = "2001:db8:ff::7"
MTU = 1450
"""Of the uplink: not what interfaces have by themselves."""

_T = TypeVar("_T")
_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000
_PR_SET_DUMPABLE = 4

_SETUP = f"""
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=0755 tun "$1"
mknod -m 0666 "$1/tun" c 10 200
mount --bind "$1/tun" /dev/net/tun
ip link set lo up
ip link add uplink mtu {MTU} type veth peer name world mtu {MTU} netns "$2"
ip address add {INSIDE}/24 dev uplink
ip address add {INSIDE6}/64 dev uplink nodad
ip link set uplink up
ip route add default via {OUTSIDE}
ip -6 route add default via {OUTSIDE6}
echo up
exec cat
"""
"""Run in the machine's namespaces: FOLDER PID, a process of the world's."""

_SETUP_OUTSIDE = f"""
set -e
ip link set lo up
ip address add {FAR}/32 dev lo
ip address add {FAR6}/128 dev lo nodad
echo up
read line
ip address add {OUTSIDE}/24 dev world
ip address add {OUTSIDE6}/64 dev world nodad
ip link set world up
echo up
exec cat
"""


class Net:
    """The network namespace of a process."""

    pid: int
    """The process, as the caller knows it."""

    def namespace(self) -> int:
        """A descriptor of the network namespace."""
        return os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket for the calling process to use, whose network is the one here."""
        return self.do(socket.socket, family, kind)

    @contextlib.contextmanager
    def answering(self, address: str, port: int) -> Iterator[None]:
        """Who connects to this TCP port is told the address it was seen with, one after another."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen()

            def answer() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        connection, peer = listener.accept()
                        with connection, contextlib.suppress(OSError):
                            connection.sendall(peer[0].encode())

            thread = threading.Thread(target=answer)
            thread.start()
            try:
                yield
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join()

    def do(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """What `function` returns in a thread that is there; what it raises is raised."""
        with ThreadPoolExecutor(1) as thread:
            thread.submit(self._visit).result()
            return thread.submit(function, *arguments).result()

    def _visit(self) -> None:
        with open(f"/proc/{self.pid}/ns/net") as namespace:
            _call("setns", namespace.fileno(), _CLONE_NEWNET)


class Box(Net):
    """A network namespace of its own with nothing but loopback, as a container's process has it.

    It belongs to the user namespace that the calling process, which must be of one thread, is in.
    """

    def __init__(self) -> None:
        ready, tell = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                _call("unshare", _CLONE_NEWNET)
                _raise_loopback()
                os.write(tell, b"!")
                signal.pause()
            finally:
                os._exit(1)
        os.close(tell)
        assert os.read(ready, 1), "no box can be made"
        os.close(ready)

    def end(self) -> None:
        """End its process, and so the namespace if nobody else holds it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH22x", b"lo", 1))


class _Namespaces(Net):
    """Namespaces held by a process, in which others can be run."""

    def __init__(
        self, script: str, *arguments: str, mounts: bool, mark: str, base: Sequence[str] = ()
    ) -> None:
        self._mark = mark
        self._kinds = ["--net", *["--mount"] * mounts]
        unshare = [*base, peers.program("unshare"), *self._kinds, "--fork", "--kill-child"]
        self._holder = subprocess.Popen(
            [*unshare, "sh", "-c", script, "sh", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment(),
        )
        self._expect_up()
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        self.pid = int(children.read_text())
        """A process in it, as the host knows it."""

    def run(
        self,
        *command: str | Path,
        user: int | None = None,
        env: Mapping[str, str] | None = None,
        **options: object,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command here, as root or as `user`, and return what it printed."""
        options = {"capture_output": True, "text": True, "timeout": 60, **options}
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            self.argv(*command, user=user), env=self._environment(env), **options
        )

    def ok(self, *command: str | Path, **options: Any) -> str:
        """Run a command that must succeed; returns its stdout."""
        done = self.run(*command, **options)
        assert done.returncode == 0, (
            f"{command}: exit {done.returncode}: {done.stderr}{done.stdout}"
        )
        return done.stdout

    @contextlib.contextmanager
    def background(
        self,
        *command: str | Path,
        user: int | None = None,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Iterator[subprocess.Popen[str]]:
        """A command that runs here until the end of the block."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True, **options}
        with subprocess.Popen(
            self.argv(*command, user=user), env=self._environment(env), **options
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def argv(self, *command: str | Path, user: int | None = None) -> list[str]:
        """A command line of the host's that runs `command` here, in the same folder."""
        as_user = []
        if user is not None:
            who = [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
            as_user = ["setpriv", *who, "--inh-caps=-all", "--"]
        return [*self.within, *as_user, *map(str, command)]

    @property
    def within(self) -> tuple[str, ...]:
        """What comes before a command line to have it run here: for `Wherry.within`."""
        enter = f"nsenter --target={self.pid} {' '.join(self._kinds)}"
        script = f'{self._mark} exec {enter} --wdns="$PWD" -- "$@"'
        return ("sh", "-c", script, "sh")

    def call(self, function: Callable[..., _T], *arguments: Any, user: int | None = None) -> _T:
        """What `function` returns in a fork that is here; what it raises is raised."""
        told, tell = os.pipe()
        child = os.fork()
        if not child:
            os.close(told)
            try:
                with open(tell, "wb") as pipe:
                    pickle.dump(self._attempt(function, arguments, user), pipe)
            finally:
                os._exit(0)
        os.close(tell)
        with open(told, "rb") as pipe:
            answer = pipe.read()
        _, status = os.waitpid(child, 0)
        assert answer, f"{function} ended its process: {os.waitstatus_to_exitcode(status)}"
        result, error = pickle.loads(answer)
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def enter(self, *, user: int | None = None) -> None:
        """Have the calling process, of one thread, live here from now on, as `user`."""
        kinds = [("net", _CLONE_NEWNET), *[("mnt", _CLONE_NEWNS)] * ("--mount" in self._kinds)]
        for kind, flag in kinds:
            with open(f"/proc/{self.pid}/ns/{kind}") as namespace:
                _call("setns", namespace.fileno(), flag)
        if user is not None:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            # A process that changed its user hides its /proc files from itself otherwise.
            _call("prctl", _PR_SET_DUMPABLE, 1)

    def _attempt(
        self, function: Callable[..., _T], arguments: Sequence[Any], user: int | None
    ) -> tuple[_T | None, BaseException | None]:
        try:
            name, _, value = self._mark.partition("=")
            os.environ[name] = value
            self.enter(user=user)
            return function(*arguments), None
        except BaseException as error:
            error.add_note(f"in the machine: {type(error).__name__}: {error}")
            return None, error

    def _environment(self, environment: Mapping[str, str] | None = None) -> dict[str, str]:
        name, _, value = self._mark.partition("=")
        base = dict(os.environ) if environment is None else dict(environment)
        base.setdefault("PATH", os.defpath)
        return {**base, "PATH": f"{base['PATH']}:/usr/sbin:/sbin", name: value}

    def _expect_up(self) -> None:
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"up\n":
            self._close()
            raise AssertionError("a test machine's network does not come up")

    def _close(self) -> None:
        assert self._holder.stdin is not None and self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait()


def told(address: str, port: int, patience: float = 10) -> str:
    """What is told at an address (see `answering`) to who connects. Raises OSError."""
    # No more of the standard library than is loaded: an ordinary user may not read its files.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as connection:
        connection.settimeout(patience)
        connection.connect((address, port))
        return connection.recv(100).decode()


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


class Machine(_Namespaces):
    """The machine; use it as a context manager. The caller must be root."""

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="machine-"))
        mark = f"WHERRY_TEST_MACHINE={folder.name}"
        self.outside = _Namespaces(_SETUP_OUTSIDE, mounts=False, mark=mark)
        """The world."""
        self._folder = folder
        self._closing = contextlib.ExitStack()
        # So that an ordinary user has wherry and its Python, too.
        holder = self._closing.enter_context(accessible(Path(sys.base_prefix), debian.PROJECT))
        base = ("nsenter", f"--mount=/proc/{holder}/ns/mnt", "--") if holder else ()
        outside = str(self.outside.pid)
        super().__init__(_SETUP, str(folder), outside, mounts=True, mark=mark, base=base)
        world = self.outside._holder
        assert world.stdin is not None
        world.stdin.write(b"\n")
        world.stdin.flush()
        self.outside._expect_up()

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pid in self.processes():
            end(pid, signal.SIGKILL)
        self._close()
        self.outside._close()
        self._closing.close()
        self._folder.rmdir()

    def processes(self) -> list[int]:
        """All that were started in the machine, or live in its network, and have not ended."""
        mark = self._mark.encode()
        here = {os.stat(f"/proc/{space.pid}/ns/net").st_ino for space in (self, self.outside)}
        holders = {os.getpid()}
        for space in (self, self.outside):
            holders |= {space.pid, space._holder.pid}
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) not in holders:
                with contextlib.suppress(OSError):
                    inside = os.stat(entry / "ns" / "net").st_ino in here
                    if inside or mark in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found
