"""A shim in this process with scripts for containers; a private containerd above a real one."""

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from tests.conftest import suite
from tests.shim.containerds import Containerd
from tests.shim.fake_launcher import FakeLauncher
from tests.shim.installed import Command, gone

from wherry.runtime import Launcher
from wherry.shim.client import TaskClient
from wherry.shim.messages import TASK_SERVICES, TaskEvent
from wherry.shim.server import readers
from wherry.shim.server.linux import LinuxContainers
from wherry.shim.server.service import TaskService
from wherry.shim.server.tasks import Tasks
from wherry.shim.ttrpc.server import Server


@dataclass
class FakeShim:
    """A shim over a fake launcher: its client, the events it published, what it reported."""

    folder: Path
    launcher: FakeLauncher
    client: TaskClient = field(init=False)
    events: list[TaskEvent] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)

    def bundle(self, script: str, config: str = "{}") -> str:
        """A bundle that runs a shell script."""
        path = self.folder / f"bundle-{len(list(self.folder.iterdir()))}"
        path.mkdir()
        (path / "script").write_text(script)
        (path / "config.json").write_text(config)
        return str(path)

    def fifo(self, name: str) -> str:
        path = str(self.folder / name)
        os.mkfifo(path)
        return path

    def log(self, name: str) -> tuple[Path, str, str]:
        """A log's path, and the addresses of stdout and stderr that go there."""
        path = self.folder / name
        stdout, stderr = (f"wherry-log://{path}?stream={name}" for name in ("stdout", "stderr"))
        return path, stdout, stderr

    def told(self) -> list[str]:
        """The events so far, by kind."""
        return [type(event).__name__ for event in self.events]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody will read: who waits for readers of this process's shim gives up at once."""
    monkeypatch.setattr(readers, "_PATIENCE", 0.0)


@pytest.fixture
async def shim(tmp_path: Path) -> AsyncIterator[FakeShim]:
    shim = FakeShim(tmp_path, FakeLauncher())
    linux = LinuxContainers(str(tmp_path / "linux"), lambda pid: False)
    launcher = cast(Launcher, shim.launcher)
    tasks = Tasks(launcher, linux, shim.events.append, shim.reports.append)
    methods = TaskService(tasks, lambda now: None).methods()
    server = Server(dict.fromkeys(TASK_SERVICES, methods), shim.reports.append)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    await server.listen(listener)
    shim.client = await TaskClient.connect(f"unix://{tmp_path}/socket")
    yield shim
    for id, process in shim.launcher.made.items():
        if not process.closed:
            tasks.kill(id, "", 9, True) if tasks.find(id).init.status != 3 else None
            await tasks.find(id).init.wait()
            await tasks.delete(id, "")
    shim.client.close()
    server.close()


@pytest.fixture(scope="module", params=["host", "trixie", "forky"])
def containerd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Containerd]:
    """A private containerd with our shim, and an image of each guest: 1.6 or so, 1.7, 2.1."""
    with contextlib.ExitStack() as stack:
        machine, folder = None, tmp_path_factory.mktemp("c")
        if request.param != "host":
            machine = stack.enter_context(suite(request.param).machine(own_processes=False))
            folder = machine.folder / "c"
            folder.mkdir()
        daemon = Containerd(folder, machine)
        stack.callback(daemon.close)
        daemon.import_images()
        yield daemon


@pytest.fixture
async def command(tmp_path: Path) -> AsyncIterator[Command]:
    """The shim's command; the servers it started are ended."""
    command = Command(tmp_path)
    yield command
    for server in command.servers:
        await gone(server)
    command.end_nursery()
