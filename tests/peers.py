"""The real daemons wherry is tested and measured against, each private to the caller.

Nothing here touches a daemon of the system: root, state, sockets and pid files live in a folder of
the caller's, and every process is ended by the pid it was started with.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("WHERRY_TEST_PEERS", "/var/cache/wherry-tests"))
"""Where peers that take a while to make are kept: other Debian suites, a kernel."""


class PeerMissing(Exception):
    """A program needed to run the peer is not on this machine."""


class PeerFailed(Exception):
    """The peer did not come up; the message carries the end of its log."""


def program(name: str) -> str:
    """The path of program `name`; PeerMissing when it is not on the PATH or in an sbin folder."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        raise PeerMissing(f"{name} is not installed")
    return found


class Daemon:
    """A process that says on a socket when it is ready, and that is ended with its children."""

    def __init__(self, argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None):
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=env,
                start_new_session=True,
            )  # fmt: skip

    def wait_until(self, ready: Sequence[str], seconds: float = 60) -> None:
        """Return when the command `ready` succeeds; PeerFailed when the daemon ends before."""
        pidfd = os.pidfd_open(self.process.pid)
        try:
            for _ in range(int(seconds * 10)):
                if subprocess.run(ready, capture_output=True).returncode == 0:
                    return
                if select.select([pidfd], [], [], 0.1)[0]:
                    break
        finally:
            os.close(pidfd)
        self.stop()
        raise PeerFailed(f"{ready[0]} did not come up: {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """End the daemon by SIGKILL and wait for it."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End the daemon and wait for it."""
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class ChildDaemon(Daemon):
    """A daemon that the program started here runs as its child and waits for."""

    def kill(self) -> None:
        """End the daemon by SIGKILL and wait for it."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End the daemon and wait for it."""
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()

    def _signal(self, number: int) -> None:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with contextlib.suppress(OSError):
            for pid in children.read_text().split() or [str(self.process.pid)]:
                os.kill(int(pid), number)


@dataclass(frozen=True)
class Containerd:
    """A private containerd; `ctr` runs commands against it."""

    address: str
    folder: Path
    daemon: Daemon

    def argv(self, *args: str) -> list[str]:
        return [program("ctr"), "--address", self.address, *args]

    def ctr(self, *args: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run `ctr ARGS` and return what it printed."""
        return subprocess.run(self.argv(*args), capture_output=True, text=True, **options)  # type: ignore[call-overload,no-any-return]


@dataclass(frozen=True)
class Dockerd:
    """A private dockerd; `docker` runs commands against it."""

    host: str
    folder: Path
    daemon: Daemon

    def argv(self, *args: str) -> list[str]:
        return [program("docker"), "-H", self.host, *args]

    def docker(self, *args: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run `docker ARGS` and return what it printed."""
        return subprocess.run(self.argv(*args), capture_output=True, text=True, **options)  # type: ignore[call-overload,no-any-return]


@contextlib.contextmanager
def containerd(*, path: str | None = None) -> Iterator[Containerd]:
    """A private containerd with the shims found on `path` (default: the caller's PATH)."""
    binary = program("containerd")
    program("ctr")
    folder = Path(tempfile.mkdtemp(prefix="ctrd-"))
    address = str(folder / "c.sock")
    config = folder / "config.toml"
    config.write_text(
        f"version = 2\nroot = {json.dumps(str(folder / 'root'))}\n"
        f"state = {json.dumps(str(folder / 'state'))}\n"
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f"[grpc]\naddress = {json.dumps(address)}\n"
        f"[ttrpc]\naddress = {json.dumps(address + '.ttrpc')}\n"
    )
    environment = {**os.environ, **({"PATH": path} if path else {})}
    daemon = Daemon([binary, "--config", str(config)], folder / "log", environment)
    try:
        daemon.wait_until([program("ctr"), "--address", address, "version"])
        yield Containerd(address, folder, daemon)
    finally:
        daemon.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def dockerd(*, arguments: Sequence[str] = (), path: str | None = None) -> Iterator[Dockerd]:
    """A private dockerd above a private containerd, without networks of its own."""
    binary = program("dockerd")
    program("docker")
    with containerd(path=path) as below:
        folder = Path(tempfile.mkdtemp(prefix="dockerd-"))
        host = f"unix://{folder}/d.sock"
        (folder / "daemon.json").write_text("{}")
        argv = [
            binary, "--config-file", str(folder / "daemon.json"),
            "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"),
            "--pidfile", str(folder / "pid"), "--host", host,
            "--containerd", below.address,
            "--bridge", "none", "--iptables=false", "--ip6tables=false", *arguments,
        ]  # fmt: skip
        environment = {**os.environ, **({"PATH": path} if path else {})}
        daemon = Daemon(argv, folder / "log", environment)
        try:
            daemon.wait_until([program("docker"), "-H", host, "version"])
            yield Dockerd(host, folder, daemon)
        finally:
            daemon.stop()
            shutil.rmtree(folder, ignore_errors=True)


def busybox_rootfs() -> bytes:
    """A tar of a root filesystem with a static busybox in it, for `docker import`."""
    busybox = program("busybox")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "bin").mkdir()
        shutil.copy2(busybox, root / "bin" / "busybox")
        for name in ("sh", "echo", "true", "sleep", "cat"):
            (root / "bin" / name).symlink_to("busybox")
        return subprocess.run(
            ["tar", "-C", folder, "-c", "."], capture_output=True, check=True
        ).stdout


def path_with_shim() -> str:
    """A PATH on which containerd finds wherry's shim: the scripts of this Python first."""
    return f"{sysconfig.get_path('scripts')}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def remove_cgroups(parent: str) -> None:
    """Remove a cgroup, with those below, from every hierarchy. Their processes have ended."""
    for top in {*Path("/sys/fs/cgroup").glob(f"*{parent}"), Path(f"/sys/fs/cgroup{parent}")}:
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
