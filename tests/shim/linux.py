"""Linux containers for tests of the shim: bundles with a busybox, and a shim that runs them."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests import peers
from tests.conftest import without
from tests.shim.containerds import install_shim

from wherry.oci.runtime import Mount
from wherry.shim.client import EventsServer, Exit, TaskClient, TaskError, start_shim
from wherry.shim.client.log import LogReader
from wherry.shim.messages import TaskEvent

APPLETS = ("sh", "cat", "echo", "id", "sleep", "stty", "tail", "tty", "true", "uname", "hostname")
PATIENCE = 60.0
"""Seconds after which a test fails rather than hangs."""

_CAPABILITIES = ["CAP_KILL", "CAP_CHOWN", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE"]


def busybox_files(root: Path) -> None:
    """Put a static busybox and some of its names into a folder."""
    for folder in ("bin", "dev", "proc"):
        (root / folder).mkdir(parents=True)
    shutil.copy2(peers.program("busybox"), root / "bin" / "busybox")
    for name in APPLETS:
        (root / "bin" / name).symlink_to("busybox")


@dataclass
class LinuxBundle:
    """A bundle whose root filesystem is an overlay above a busybox."""

    path: Path
    layer: Path
    config: dict[str, Any]
    namespace: str

    @property
    def cgroups(self) -> list[Path]:
        """Where its cgroups are, while they are."""
        group = self.config["linux"]["cgroupsPath"]
        top = Path("/sys/fs/cgroup")
        places = [Path(f"{home}{group}") for home in (top, *top.iterdir())]
        return [path for path in places if path.is_dir()]

    @property
    def rootfs(self) -> tuple[Mount, ...]:
        options = [f"lowerdir={self.layer}", f"upperdir={self.path}/upper"]
        return (
            Mount(
                destination="",
                type="overlay",
                source="overlay",
                options=[*options, f"workdir={self.path}/work"],
            ),
        )

    def is_mounted(self) -> bool:
        return f" {self.path}/rootfs " in Path("/proc/self/mounts").read_text()

    def write(self) -> None:
        (self.path / "config.json").write_text(json.dumps(self.config))


def make_bundle(path: Path, layer: Path, *args: str) -> LinuxBundle:
    """A bundle that runs `args`, with most of what containerd would give it."""
    for name in ("rootfs", "upper", "work"):
        (path / name).mkdir(parents=True)
    sets = ("bounding", "effective", "permitted")
    config: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {
            "args": list(args),
            "cwd": "/",
            "env": ["PATH=/bin", "NAME=value"],
            "user": {"uid": 0, "gid": 0},
            "capabilities": dict.fromkeys(sets, _CAPABILITIES),
        },
        "hostname": "guest",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            },
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")],
            "cgroupsPath": f"/wherry-test-{os.getpid()}/{path.name}",
        },
    }
    return LinuxBundle(path, layer, config, "linux")


@dataclass
class LinuxShim:
    """A server of the real command, its client, and what it told."""

    folder: Path
    client: TaskClient
    events: EventsServer
    runtime: str
    seen: list[TaskEvent] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    @property
    def state(self) -> Path:
        """Where runtimes keep the state of its containers."""
        return self.folder / "run" / "linux" / "linux"

    def bundle(self, id: str, *args: str) -> LinuxBundle:
        layer = self.folder / "layer"
        if not layer.exists():
            busybox_files(layer)
        bundle = make_bundle(self.folder / id, layer, *args)
        bundle.config["annotations"] = {"io.wherry.runtime.linux": self.runtime}
        return bundle

    def fifo(self, name: str) -> str:
        path = str(self.folder / name)
        os.mkfifo(path)
        return path

    def log(self, name: str) -> tuple[Path, str, str]:
        """A log, and the addresses of stdout and stderr for it."""
        path = self.folder / f"{name}.log"
        stdout, stderr = (f"wherry-log://{path}?stream={one}" for one in ("stdout", "stderr"))
        return path, stdout, stderr

    async def create(
        self, bundle: LinuxBundle, *, stdin: str = "", terminal: bool = False
    ) -> "Output":
        """Create a container that logs; what it will have written."""
        bundle.config["process"]["terminal"] = terminal
        bundle.write()
        id = bundle.path.name
        self.made.append(id)
        path, stdout, stderr = self.log(id)
        await self.client.create(
            id=id,
            bundle=str(bundle.path),
            rootfs=bundle.rootfs,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            terminal=terminal,
        )
        return Output(path)

    async def started(self, id: str, script: str) -> tuple[LinuxBundle, "Output"]:
        """A container that runs a script."""
        bundle = self.bundle(id, "sh", "-c", script)
        output = await self.create(bundle)
        await self.client.start(id)
        return bundle, output

    async def run(self, bundle: LinuxBundle) -> tuple[Exit, bytes]:
        """Run a container to its end: how it ended, and what it wrote."""
        output = await self.create(bundle)
        id = bundle.path.name
        await self.client.start(id)
        await self.client.wait(id)
        exit = await self.client.delete(id)
        return exit, output.so_far()

    async def next_event(self, kind: type[TaskEvent]) -> TaskEvent:
        """The next event of a kind; those before it are kept in `seen`."""
        async with asyncio.timeout(PATIENCE):
            async for _, event, _, _ in self.events:
                self.seen.append(event)
                if isinstance(event, kind):
                    return event
        raise AssertionError


class Output:
    """What a container writes."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def so_far(self) -> bytes:
        return b"".join(record.data for record in LogReader(self._log).records())

    async def until(self, wanted: bytes) -> bytes:
        """What was written when `wanted` is in it."""
        found = b""
        async with asyncio.timeout(PATIENCE):
            async for record in LogReader(self._log).follow():
                found += record.data
                if wanted in found:
                    return found
        raise AssertionError(f"{wanted!r} is not in {found!r}")


@contextlib.asynccontextmanager
async def linux_shim(folder: Path, runtime: str = "runc") -> AsyncIterator[LinuxShim]:
    """A shim in a folder, whose bundles ask for a runtime; its containers end with it."""
    install_shim(folder / "bin", folder / "run", folder / "data")
    async with EventsServer(folder / "events") as events:
        address = await start_shim(
            runtime=str(folder / "bin" / "containerd-shim-wherry-v1"),
            namespace="linux",
            id="first",
            bundle=folder,
            events_address=str(events.path),
        )
        shim = LinuxShim(folder, await TaskClient.connect(address), events, runtime)
        yield shim
        if not shim.client.closed.is_set():
            for id in shim.made:
                with contextlib.suppress(TaskError):
                    await shim.client.kill(id, signal.SIGKILL)
                    await shim.client.wait(id)
                with contextlib.suppress(TaskError):
                    await shim.client.delete(id)
            await shim.client.shutdown(now=True)
            await shim.client.closed.wait()


async def ended(pid: int) -> None:
    """Until a process has ended, if only as a zombie."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(pidfd, gone.set)
    async with asyncio.timeout(PATIENCE):
        await gone.wait()
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)


_CRUN = """#!/bin/sh
exec unshare -m sh -c 'umount /sys/fs/cgroup/unified 2>/dev/null; exec {crun} "$@"' crun "$@"
"""
"""crun wants nothing of a host that has both versions of cgroups: it sees but one of them."""


@contextlib.asynccontextmanager
async def installed_linux_shim(
    folder: Path, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LinuxShim]:
    """The same with what is installed here; `without` if that is too little."""
    try:
        crun = peers.program("crun")
        peers.program("runc")
        peers.program("busybox")
    except peers.PeerMissing as error:
        without(str(error))
    (folder / "path").mkdir()
    wrapper = folder / "path" / "crun"
    wrapper.write_text(_CRUN.format(crun=crun))
    wrapper.chmod(0o755)
    path = f"{folder}/path:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    monkeypatch.setenv("PATH", path)
    async with linux_shim(folder, runtime) as shim:
        yield shim


async def added(
    shim: LinuxShim, id: str, exec_id: str, *args: str, terminal: bool = False, stdin: str = ""
) -> Output:
    """A further process of a container, started; what it writes."""
    path, stdout, stderr = shim.log(exec_id)
    spec = {"args": list(args), "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    await shim.client.exec(
        id,
        exec_id,
        json.dumps(spec).encode(),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        terminal=terminal,
    )
    await shim.client.start(id, exec_id)
    return Output(path)
