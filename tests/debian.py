"""Other Debian suites, for the Docker and containerd that they have.

A `Suite` is a root file system made once by debootstrap and never changed. `Suite.machine` boots a
pretended machine from it: private mount, process and network namespaces, an overlay that is thrown
away over the suite, and inside, at the same paths as outside, the project and its Python, so that
wherry's commands are on the PATH of whatever runs there. Everything in a machine ends with it, and
it ends with the test process, however that ends.

    with Suite("trixie").machine() as machine, machine.dockerd() as docker:
        docker.docker("run", "--rm", …)
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests import peers

PROJECT = Path(__file__).resolve().parent.parent

_PACKAGES = (
    # The peers.
    "containerd", "runc", "crun", "docker.io", "docker-cli", "docker-buildx", "docker-compose",
    "iptables", "procps", "busybox-static", "tini",
    # What the project's Python may be linked with.
    "libffi8", "libssl3t64", "libexpat1", "libbz2-1.0", "liblzma5", "libsqlite3-0",
)  # fmt: skip
_TREE = "2"
"""Goes up when suites that were made before are not good enough any more."""

_SETUP = """
set -e
suite=$1 root=$2
shift 2
mount --make-rprivate /
mount -t tmpfs -o mode=0755 machine "$root"
mkdir "$root/upper" "$root/work" "$root/root"
mount -t overlay -o "lowerdir=$suite,upperdir=$root/upper,workdir=$root/work" machine "$root/root"
root=$root/root
for path; do
    if [ -d "$path" ]; then
        mkdir -p "$root$path"
    else
        mkdir -p "$root${path%/*}"
        [ -e "$root$path" ] || : >"$root$path"
    fi
    mount --rbind "$path" "$root$path"
done
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=0755 run "$root/run"
mount -t tmpfs -o mode=0755 lib "$root/var/lib"
: >"$root/etc/resolv.conf"
ip link set lo up
cd "$root"
pivot_root . .
umount -l .
echo booted
exec tini -s -- cat
"""
"""Run by sh in the new namespaces: SUITE FOLDER PATH…, the paths to be seen inside.

/run and /var/lib are file systems of their own because no overlay can be mounted above an overlay.
`cat` ends when the test process has closed its end of the pipe or died.
"""


class SuiteMissing(Exception):
    """The suite cannot be made on this machine; the message says why."""


class Suite:
    """A suite of Debian with container engines in it, made when it is first asked for.

    It lies in $WHERRY_TEST_PEERS or /var/cache/wherry-tests; with further packages it is another
    one. Raises SuiteMissing.
    """

    def __init__(self, name: str, *packages: str) -> None:
        self.name = name
        self.root = peers.CACHE / "-".join((name, _TREE, *packages))
        if os.geteuid() != 0:
            raise SuiteMissing("needs root")
        if self.root.exists():
            return
        if not packages:
            self._make(self._bootstrap)
            return
        base = Suite(name).root
        self._make(lambda fresh: self._extend(base, fresh, packages))

    def _make(self, fill: Callable[[Path], subprocess.CompletedProcess[str]]) -> None:
        self.root.parent.mkdir(parents=True, exist_ok=True)
        with (self.root.parent / f"{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.root.exists():  # another process was faster
                return
            fresh = self.root.with_name(f"{self.root.name}.new")
            shutil.rmtree(fresh, ignore_errors=True)
            done = fill(fresh)
            if done.returncode != 0:
                said = (done.stdout + done.stderr).strip().splitlines()[-3:]
                shutil.rmtree(fresh, ignore_errors=True)
                raise SuiteMissing(f"Debian {self.name} cannot be made: {' / '.join(said)}")
            fresh.rename(self.root)

    def _bootstrap(self, fresh: Path) -> subprocess.CompletedProcess[str]:
        try:
            program = peers.program("debootstrap")
        except peers.PeerMissing as error:
            raise SuiteMissing(str(error)) from None
        # No mirror: debootstrap's own default. A suite newer than debootstrap is made as sid.
        include = f"--include={','.join(_PACKAGES)}"
        return subprocess.run(
            [program, "--variant=minbase", include, self.name, str(fresh), "", "sid"],
            capture_output=True,
            text=True,
        )

    def _extend(
        self, base: Path, fresh: Path, packages: Sequence[str]
    ) -> subprocess.CompletedProcess[str]:
        # By apt, because debootstrap does not find an order for what has many dependencies.
        subprocess.run(["cp", "-a", base, fresh], check=True)
        shutil.copy("/etc/resolv.conf", fresh / "etc" / "resolv.conf")
        # A mirror may lag behind the date until which its lists are said to be valid.
        script = (
            "apt-get -q -o Acquire::Check-Valid-Until=false update && "
            'apt-get -qy --no-install-recommends install "$@"'
        )
        return subprocess.run(
            ["chroot", fresh, "sh", "-c", script, "sh", *packages],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
        )

    @contextlib.contextmanager
    def machine(
        self, *, binds: Sequence[Path] = (), own_processes: bool = True
    ) -> Iterator[Machine]:
        """Boot a machine that sees `binds` of the host, too. Raises SuiteMissing.

        Without `own_processes` its processes are in the host's namespace: who needs to know them by
        number has to end them all.
        """
        folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        folder.chmod(0o755)
        machine = None
        try:
            machine = Machine(self, folder, binds, own_processes=own_processes)
            yield machine
        finally:
            if machine is not None:
                machine.close()
            shutil.rmtree(folder, ignore_errors=True)


class Machine:
    """A running machine of a suite. Make one with `Suite.machine`."""

    def __init__(
        self, suite: Suite, folder: Path, binds: Sequence[Path], *, own_processes: bool
    ) -> None:
        self.suite = suite
        self.folder = folder
        """A folder of the host's, seen at the same path inside: for sockets, files and logs."""
        self.cgroup_parent = f"/wherry-tests-{folder.name}"
        """Containers belong under this cgroup, which `close` removes."""
        (folder / "root").mkdir()
        paths = [folder, PROJECT, *binds, *_python()]
        self._namespaces = ["--mount", "--net", "--uts", "--ipc", *["--pid"] * own_processes]
        flags = [*self._namespaces, "--fork", "--kill-child"]
        words = [str(word) for word in (suite.root, folder / "root", *paths)]
        self._log = folder / "boot.log"
        with self._log.open("wb") as log:
            self._holder = subprocess.Popen(
                [peers.program("unshare"), *flags, "sh", "-c", _SETUP, "sh", *words],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
            )  # fmt: skip
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"booted\n":
            self.close()
            raise SuiteMissing(f"{suite.name} does not boot: {self._log.read_text()[-500:]}")
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        self.init = int(children.read_text())
        """Its process 1, as the host knows it."""

    @property
    def path(self) -> str:
        """PATH inside: wherry's commands first."""
        return f"{sysconfig.get_path('scripts')}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    def environment(self, environment: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables of a process inside, with `environment` on top."""
        return {"PATH": self.path, "HOME": "/root", "LANG": "C.UTF-8", **(environment or {})}

    def argv(self, *command: str) -> list[str]:
        """A command line of the host's that runs `command` inside, with the caller's variables.

        A signal to it does not reach the command, which is its child.
        """
        where = [f"--target={self.init}", *self._namespaces, "--root"]
        return [peers.program("nsenter"), *where, f"--wdns={self.folder}", "--", *command]

    def run(
        self, *command: str, env: Mapping[str, str] | None = None, **options: object
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside and return what it printed."""
        options = {"capture_output": True, "text": True, "timeout": 120, **options}
        return subprocess.run(self.argv(*command), env=self.environment(env), **options)  # type: ignore[call-overload,no-any-return]

    def daemon(
        self, *command: str, name: str, env: Mapping[str, str] | None = None
    ) -> peers.Daemon:
        """Start a daemon inside that logs to `name`.log in the machine's folder."""
        log = self.folder / f"{name}.log"
        return peers.ChildDaemon(self.argv(*command), log, self.environment(env))

    @contextlib.contextmanager
    def containerd(self, config: str = "") -> Iterator[MachineContainerd]:
        """A containerd inside; `config` is added to its configuration (version 2)."""
        containerd = MachineContainerd(self, config)
        try:
            yield containerd
        finally:
            containerd.stop()

    @contextlib.contextmanager
    def dockerd(self, settings: Mapping[str, object] | None = None) -> Iterator[MachineDockerd]:
        """A dockerd inside, with the containerd image store, above a containerd of its own.

        `settings` are added to its daemon.json.
        """
        with self.containerd() as containerd:
            docker = MachineDockerd(self, containerd, settings or {})
            try:
                yield docker
            finally:
                docker.stop()

    def close(self) -> None:
        """End all that runs inside and forget all that was written."""
        assert self._holder.stdin is not None and self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait()
        peers.remove_cgroups(self.cgroup_parent)


class _MachineDaemon(ABC):
    """A daemon in a machine, which may be killed and started again."""

    daemon: peers.Daemon

    def __init__(self, machine: Machine, *command: str) -> None:
        self.machine = machine
        self._command = command
        self.start()

    @abstractmethod
    def argv(self, *args: str) -> list[str]:
        """A command line of its client."""

    def start(self) -> None:
        """Start it, again on the same state, and wait until it answers."""
        self.daemon = self.machine.daemon(*self._command, name=self._command[0])
        self.daemon.wait_until(self.argv("version"))

    def kill(self) -> None:
        """End it by SIGKILL; the shims live on."""
        self.daemon.kill()

    def stop(self) -> None:
        """End it; the shims live on."""
        self.daemon.stop()


class MachineContainerd(_MachineDaemon):
    """A containerd in a machine."""

    def __init__(self, machine: Machine, config: str) -> None:
        self.address = f"{machine.folder}/containerd.sock"
        self.config = machine.folder / "containerd.toml"
        """Its configuration, in force from the next start."""
        self.config.write_text(
            f"version = 2\n[grpc]\naddress = {json.dumps(self.address)}\n"
            f"[ttrpc]\naddress = {json.dumps(self.address + '.ttrpc')}\n{config}\n"
        )
        super().__init__(machine, "containerd", "--config", str(self.config))

    def argv(self, *args: str) -> list[str]:
        """A command line of ctr."""
        return self.machine.argv("ctr", "--address", self.address, *args)

    def ctr(self, *args: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run `ctr ARGS` and return what it printed."""
        return self.machine.run("ctr", "--address", self.address, *args, **options)  # type: ignore[arg-type]


class MachineDockerd(_MachineDaemon):
    """A dockerd in a machine."""

    def __init__(
        self, machine: Machine, containerd: MachineContainerd, settings: Mapping[str, object]
    ) -> None:
        self.containerd = containerd
        self.host = f"unix://{machine.folder}/docker.sock"
        config = machine.folder / "daemon.json"
        all_settings = {
            "hosts": [self.host],
            "containerd": containerd.address,
            "features": {"containerd-snapshotter": True},
            "cgroup-parent": machine.cgroup_parent,
            **settings,
        }
        config.write_text(json.dumps(all_settings))
        super().__init__(machine, "dockerd", "--config-file", str(config))

    def argv(self, *args: str) -> list[str]:
        """A command line of the suite's docker, its compose and buildx included."""
        return self.machine.argv("docker", "-H", self.host, *args)

    def docker(self, *args: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run `docker ARGS` and return what it printed."""
        return self.machine.run("docker", "-H", self.host, *args, **options)  # type: ignore[arg-type]


def _python() -> list[Path]:
    """What this Python consists of: its environment and the installation below that."""
    base = Path(sysconfig.get_config_var("installed_base"))
    parts = [Path(sys.prefix)]
    if base == Path("/usr"):  # the system's: only its own files, or they would hide the suite's
        parts += [Path(sys.executable).resolve(), Path(sysconfig.get_path("stdlib"))]
    else:
        parts.append(base)
    return [path for path in parts if not path.is_relative_to(PROJECT)]
