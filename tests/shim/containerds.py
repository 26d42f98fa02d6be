"""A private containerd that may be killed and started again, with wherry's shim on its PATH."""

import os
import subprocess
import sys
from pathlib import Path

from tests import peers
from tests.debian import Machine
from tests.shim.archive import oci_archive
from tests.shim.guests import ALL

SHIM = "io.containerd.wherry.v1"
_COMMAND = Path(__file__).parents[2] / "src" / "bin" / "containerd-shim-wherry-v1"


def install_shim(bin: Path, run: Path, root: Path) -> None:
    """Put the shim's command into `bin`, with folders of its own for sockets and data."""
    bin.mkdir()
    shim = bin / "containerd-shim-wherry-v1"
    places = f"export WHERRY_RUN={run} WHERRY_ROOT={root}\n"
    shim.write_text(_COMMAND.read_text().replace("set -f\n", f"set -f\n{places}", 1))
    slow = bin / "wherry-shim"
    path = [entry for entry in sys.path if entry.startswith("/")]
    slow.write_text(
        f"#!{sys.executable} -IS\nimport sys\nsys.path[:] = {path!r}\n"
        "from wherry.shim.main import main\nmain()\n"
    )
    for file in (shim, slow):
        file.chmod(0o755)


class Containerd:
    """containerd and ctr with everything they keep in `folder`: the host's, or a machine's."""

    def __init__(self, folder: Path, machine: Machine | None = None) -> None:
        self.folder = folder
        self._machine = machine
        self.run_folder = folder / "run"
        self.shim_folder = self.run_folder / "shim"
        self.address = str(folder / "c.sock")
        self.namespace = f"shim-test-{os.getpid()}"  # also the parent of its cgroups
        install_shim(folder / "bin", self.run_folder, folder / "data")
        self._config = folder / "config.toml"
        self._config.write_text(
            f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{self.address}"\n[ttrpc]\naddress = "{self.address}.ttrpc"\n'
        )
        self.daemon = self._start()

    def _start(self) -> peers.Daemon:
        path = f"{self.folder}/bin:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        argv = self._argv("containerd", "--config", str(self._config))
        daemon = peers.Daemon(argv, self.folder / "log", os.environ | {"PATH": path})
        daemon.wait_until(self.argv("version"))
        return daemon

    def kill(self) -> None:
        """End containerd with SIGKILL."""
        self.daemon.process.kill()
        self.daemon.process.wait()

    def start_again(self) -> None:
        """Start containerd on the same state."""
        self.daemon = self._start()

    def _argv(self, program: str, *args: str) -> list[str]:
        if self._machine is not None:
            return self._machine.argv(program, *args)
        return [peers.program(program), *args]

    def argv(self, *args: str) -> list[str]:
        """A command line of ctr."""
        where = ["--address", self.address, "--namespace", self.namespace]
        return self._argv("ctr", *where, *args)

    def mounts(self) -> list[str]:
        """The lines of /proc/mounts that containerd sees and that lie in its folder."""
        process = "self" if self._machine is None else self._machine.init
        lines = Path(f"/proc/{process}/mounts").read_text().splitlines()
        return [line for line in lines if str(self.folder) in line]

    def ctr(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run ctr to its end."""
        return subprocess.run(
            self.argv(*args), capture_output=True, text=True, input=stdin, timeout=60
        )

    def import_images(self) -> None:
        """Import an image for each guest: localhost/NAME:latest."""
        archive = oci_archive({f"localhost/{name}:latest": text for name, text in ALL.items()})
        file = self.folder / "images.tar"
        file.write_bytes(archive)
        done = self.ctr("images", "import", "--all-platforms", str(file))
        assert done.returncode == 0, done.stderr

    def run(self, guest: str, id: str, *flags: str) -> subprocess.CompletedProcess[str]:
        """`ctr run` of a guest."""
        image = f"localhost/{guest}:latest"
        return self.ctr("run", "--runtime", SHIM, "--platform", "wasi/wasm", *flags, image, id)

    def statuses(self) -> dict[str, str]:
        """What `ctr task ls` says, by container: RUNNING, STOPPED…"""
        lines = self.ctr("task", "ls").stdout.splitlines()[1:]
        return {line.split()[0]: line.split()[2] for line in lines}

    def server_pids(self) -> list[int]:
        """The shim servers that are shown."""
        pointers = self.shim_folder.glob("*,*,*")
        return [int(pointer.read_text().split()[0]) for pointer in pointers]

    def close(self) -> None:
        """End containerd and its shims."""
        for id in self.statuses():
            self.ctr("task", "delete", "--force", id)
        pids = self.server_pids()
        self.daemon.stop()
        for pid in pids:
            os.kill(pid, 15)
        peers.remove_cgroups(f"/{self.namespace}")
