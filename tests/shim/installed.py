"""The shim's command, installed for one test, and the servers it starts."""

import os
import select
import signal
import socket
import struct
import subprocess
from pathlib import Path

from tests.shim.containerds import install_shim

from wherry.shim.client import TaskClient, TaskError, start_shim


class Command:
    """The shim's command, installed in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.servers: set[str] = set()
        install_shim(folder / "bin", self.run, folder / "data")
        self.program = str(folder / "bin" / "containerd-shim-wherry-v1")

    def bundle(self, name: str, config: str = "{}") -> Path:
        path = self.folder / name
        path.mkdir()
        (path / "config.json").write_text(config)
        return path

    async def start(self, bundle: Path, namespace: str = "ns", address: str = "/c.sock") -> str:
        server = await start_shim(
            runtime=self.program,
            namespace=namespace,
            id=bundle.name,
            bundle=bundle,
            events_address="/nowhere",
            address=address,
        )
        self.servers.add(server)
        return server

    def call(self, *arguments: str, cwd: Path | None = None, stdin: bytes = b"") -> bytes:
        done = subprocess.run(
            [self.program, *arguments], cwd=cwd or self.folder, input=stdin, capture_output=True
        )
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout

    def files(self) -> list[str]:
        """What servers have in their folder, but for the lock and the nursery."""
        names = (path.name for path in (self.run / "shim").iterdir())
        return sorted(name for name in names if name != "lock" and not name.startswith("nursery"))

    def nursery(self) -> int:
        """The pid of the nursery, 0 if there is none."""
        for place in (self.run / "shim").glob("nursery-*[!g]"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
                try:
                    probe.connect(str(place))
                except ConnectionRefusedError:
                    return 0
                credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                return int(struct.unpack("3i", credentials)[0])
        return 0

    def end_nursery(self) -> None:
        """Kill the nursery, if there is one, and wait for its end."""
        pid = self.nursery()
        if pid:
            pidfd = os.pidfd_open(pid)
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            select.select([pidfd], [], [])
            os.close(pidfd)


async def gone(server: str) -> None:
    """Until nobody serves an address any more."""
    try:
        client = await TaskClient.connect(server)
        await client.shutdown(now=True)
        await client.closed.wait()
    except TaskError:
        return


async def pid_of(server: str) -> int:
    client = await TaskClient.connect(server)
    pid = await client.shim_pid("")
    client.close()
    return pid
