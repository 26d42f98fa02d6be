"""A node without a kubelet: containerd's CRI plugin, pod networks and images, in a machine."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from tests.cri.client import CriClient
from tests.debian import Machine, Suite
from tests.shim.archive import Image, oci_archive

HANDLER = "wherry"
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
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{HANDLER}]
runtime_type = "io.containerd.wherry.v1"
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
        self._stack = contextlib.ExitStack()
        try:
            self.containerd = self._stack.enter_context(
                machine.containerd(_CONFIG.replace("CNI_CONFIG", str(cni)))
            )
            self.cri = CriClient(self.containerd.address)
            self._stack.callback(self.cri.close)
            self._import(images)
        except BaseException:
            self.close()
            raise

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

    def remains(self) -> list[str]:
        """What is left of pods: mounts, cgroups, shims' sockets, bundles, network namespaces."""
        proc = Path(f"/proc/{self.machine.init}")
        lines = (proc / "mounts").read_text().splitlines()
        places = ("/run/containerd/", "/var/lib/containerd/", "/run/netns/", "/run/wherry/")
        found = [line for line in lines if line.split()[1].startswith(places)]
        inside = proc / "root"
        for pattern in (
            "run/containerd/io.containerd.runtime.v2.task/k8s.io/*",
            "run/wherry/shim/*,*,*",
            "run/wherry/shim/*.sock",
            "run/netns/*",
            "run/pod-addresses/pods/*.*.*.*",
        ):
            found += map(str, inside.glob(pattern))
        for parent in Path("/sys/fs/cgroup").glob(f"*{self.machine.cgroup_parent}"):
            found += [str(path) for path in parent.rglob("*") if path.is_dir()]
        return found

    def processes(self, *words: str) -> dict[int, str]:
        """The machine's processes whose command line has all `words`, by the host's pids."""
        namespace = os.stat(f"/proc/{self.machine.init}/ns/pid").st_ino
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                    here = os.stat(entry / "ns" / "pid_for_children").st_ino == namespace
                    if here and all(word in line for word in words):
                        found[int(entry.name)] = line
        return found
