"""A node without a kubelet: containerd's CRI plugin, pod networks and images, in a machine."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.cri.client import CriClient
from tests.debian import Machine, Suite
from tests.shim.archive import Image, oci_archive

HANDLER = "wherry"
WASM_ONLY = "wasm-only"
"""A handler of the node's owner."""
CNI = Path("/usr/lib/cni")

_PAUSE = "localhost/pause:none"

_CONFIG = f"""
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{_PAUSE}"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI}"
conf_dir = "CNI_CONFIG"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{WASM_ONLY}]
runtime_type = "io.containerd.wherry.v1"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{WASM_ONLY}.options]
ConfigPath = "OPTIONS"
"""

_NETWORK = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "pods0",
            "isGateway": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "10.87.0.0/24"}]],
                "dataDir": "/run/pod-addresses",
            },
        }
    ],
}


class ThisMachine(Suite):
    """The suite that is installed here, with whatever containerd it has."""

    def __init__(self) -> None:
        self.name = "host"
        self.root = Path("/")


class Node:
    """containerd in a machine, with the runtime handler and the images that the tests use."""

    def __init__(self, machine: Machine, images: Mapping[str, str | Image]) -> None:
        self.machine = machine
        self.logs = machine.folder / "pods"
        """Where pods log to: POD/CONTAINER.log."""
        self.logs.mkdir()
        cni = machine.folder / "cni"
        cni.mkdir()
        (cni / "10-pods.conflist").write_text(json.dumps(_NETWORK))
        options = machine.folder / "wasm-only.toml"
        options.write_text('Programs = "wasm"\n')
        self._stack = contextlib.ExitStack()
        try:
            self.containerd = self._stack.enter_context(
                machine.containerd(
                    _CONFIG.replace("CNI_CONFIG", str(cni)).replace("OPTIONS", str(options))
                )
            )
            self._install()
            self.cri = CriClient(self.containerd.address)
            self._import(images)
        except BaseException:
            self.close()
            raise

    def _install(self) -> None:
        """Have wherry itself put its handler into containerd's configuration."""
        self.containerd.stop()
        words = ("install", "containerd", "--config", str(self.containerd.config), "--yes")
        done = self.machine.run("wherry", *words)
        assert done.returncode == 0, done.stderr
        self.containerd.start()

    def _import(self, images: Mapping[str, str | Image]) -> None:
        # A sandbox needs no program of this image, only its entrypoint's name.
        pause = Image({}, ("/pause",), "linux", "amd64")
        archive = self.machine.folder / "images.tar"
        archive.write_bytes(oci_archive({_PAUSE: pause, **images}))
        words = ("images", "import", "--all-platforms", str(archive))
        done = self.containerd.ctr("-n", "k8s.io", *words)
        assert done.returncode == 0, done.stderr

    def close(self) -> None:
        """End containerd; all else ends with the machine."""
        self._stack.close()

    @property
    def proc(self) -> Path:
        """The machine's /proc, with its own numbers of processes."""
        return Path(f"/proc/{self.machine.init}/root/proc")

    def server_of(self, pod: str) -> int:
        """The shim's server of a pod: its process by the machine's number."""
        (pointer,) = self._shims.glob(f"k8s.io,{pod},*")
        return int(pointer.read_text().split()[0])

    def zygote_of(self, pod: str) -> int:
        """The process that the containers of a pod are forked from."""
        server = self.server_of(pod)
        (zygote,) = (
            pid
            for pid in self.family(server)[1:]
            if (self.proc / f"{pid}/ns/pid").readlink() == (self.proc / "1/ns/pid").readlink()
            and (self.proc / f"{pid}/root").readlink() == (self.proc / "1/root").readlink()
        )
        return zygote

    @property
    def _shims(self) -> Path:
        return self.proc.parent / "run/wherry/shim"

    def pod_remains(self, pod: str, processes: Iterable[int]) -> list[str]:
        """What is left of a pod: mounts, bundles, files of its shim, those of its `processes`."""
        found = [line for line in (self.proc / "1/mounts").read_text().splitlines() if pod in line]
        for folder in ("run/containerd", "run/wherry", "var/lib/containerd"):
            # Not rglob, which minds folders that go away while it looks.
            for place, folders, files in os.walk(self.proc.parent / folder):
                found += [f"{place}/{name}" for name in (*folders, *files) if pod in name]
        return found + [f"process {pid}" for pid in processes if (self.proc / str(pid)).exists()]

    def remains(self) -> list[str]:
        """What is left of all pods: namespaces, addresses, mounts, bundles, cgroups, servers."""
        lines = (self.proc / "1/mounts").read_text().splitlines()
        places = ("/run/containerd/", "/var/lib/containerd/", "/run/netns/", "/run/wherry/")
        found = [line for line in lines if line.split()[1].startswith(places)]
        for pattern in (
            "run/containerd/io.containerd.runtime.v2.task/k8s.io/*",
            "run/wherry/shim/*,*,*",
            "run/netns/*",
            "run/pod-addresses/pods/*.*.*.*",
        ):
            found += map(str, self.proc.parent.glob(pattern))
        for parent in Path("/sys/fs/cgroup").glob(f"*{self.machine.cgroup_parent}"):
            found += [str(path) for path in parent.glob("kubepods/burstable/*") if path.is_dir()]
        return found

    def family(self, pid: int) -> list[int]:
        """A process of the machine and all that descend from it."""
        children = (self.proc / f"{pid}/task/{pid}/children").read_text().split()
        return [pid, *(each for child in children for each in self.family(int(child)))]

    def kill(self, pid: int) -> None:
        """Send SIGKILL to a process of the machine."""
        assert self.machine.run("kill", "-KILL", str(pid)).returncode == 0
