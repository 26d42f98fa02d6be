"""The DaemonSet's container on a real node: after it containerd runs pods by the handler."""

import os
import signal
import subprocess
import sys
import sysconfig

import pytest
from tests.cri.node import CNI, Node
from tests.cri.pods import LINUX, Pod
from tests.debian import PROJECT, Suite
from tests.shim.archive import Image

from wherry.install.kubernetes import manifests

pytestmark = [pytest.mark.root, pytest.mark.containerd]

_WHERRY = "/opt/wherry/1"
_CONFIG = "/etc/containerd/config.toml"
_CURL = "#!/bin/sh\nprintf 200\n"
_SYSTEMCTL = '#!/bin/sh\necho "$@" >>/run/systemctl\n'
"""An API server that always agrees, and a systemd that only takes notes."""

_BARE = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH of a service: wherry is on it only where the DaemonSet has put it there."""

_CONTAINER = """
set -e
mkdir -p /daemonset
mount -t tmpfs daemonset /daemonset
cd /daemonset
for name in /*; do
    case $name in /daemonset | /opt | /host) continue ;; esac
    if [ -L "$name" ]; then cp -P "$name" .; fi
    if [ -L "$name" ] || [ ! -d "$name" ]; then continue; fi
    mkdir ".$name"
    mount --rbind "$name" ".$name"
done
mkdir opt host
mount --rbind / host
umount -l host/daemonset
exec chroot . "$@"
"""
"""A container's view as the DaemonSet asks for: the node at /host, an /opt of the image's own."""

_IMAGE = f"""
set -e
"$1" -m venv --without-pip --copies {_WHERRY}
cp "$2"/containerd-shim-wherry-v1 {_WHERRY}/bin
for name in wherry wherry-shim wherry-runtime; do
    sed "1s|.*|#!{_WHERRY}/bin/python3|" "$2/$name" >{_WHERRY}/bin/$name
    chmod 755 {_WHERRY}/bin/$name
done
printf '%s\\n' "$3" "$4" >"$(echo {_WHERRY}/lib/python3*/site-packages)/here.pth"
exec sh "$5" "$6"
"""
"""What the Dockerfile makes, out of the Python that runs the tests; then the entrypoint."""


class SetUpNode(Node):
    """A node whose runtime handler comes from the DaemonSet."""

    def _install(self) -> None:
        self.containerd.stop()
        folder = self.machine.folder
        files = {
            "node.sh": manifests(image="wherry-node", example="hello")["node.sh"],
            "bin/curl": _CURL,
            "systemctl": _SYSTEMCTL,
        }
        (folder / "bin").mkdir()
        for name, content in files.items():
            (folder / name).write_text(content)
            (folder / name).chmod(0o755)
        script = (
            f"mkdir -p /etc/containerd /usr/local/bin; cp {self.containerd.config} {_CONFIG}; "
            f"cp {folder}/systemctl /usr/local/bin"
        )
        assert self.machine.run("sh", "-c", script).returncode == 0
        self._set_up()
        service = ("env", f"PATH={_BARE}", "containerd", "--config", _CONFIG)
        self.containerd.daemon = self.machine.daemon(*service, name="containerd")
        self.containerd.daemon.wait_until(self.containerd.argv("version"))

    def _set_up(self) -> None:
        """Run the DaemonSet's container until it says it is ready; end it as a kubelet does."""
        folder = self.machine.folder
        image = ("sh", "-c", _IMAGE, "sh", sys.executable, sysconfig.get_path("scripts"))
        python = (sysconfig.get_path("purelib"), str(PROJECT / "src"))
        entrypoint = (*image, *python, str(folder / "node.sh"), "set-up")
        words = ("unshare", "--mount", "sh", "-c", _CONTAINER, "sh", *entrypoint)
        variables = {"WHERRY": _WHERRY, "NODE_NAME": "node-1", "NAMESPACE": "wherry"}
        environment = self.machine.environment({**variables, "PATH": f"{folder}/bin:{_BARE}"})
        process = subprocess.Popen(
            self.machine.argv(*words), env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        said = ""
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if line.startswith("ready: "):
                break
        os.killpg(process.pid, signal.SIGTERM)
        process.stdout.close()
        process.wait(60)
        assert "ready: " in said, said


def test_after_it_pods_run_from_what_it_put_on_the_node(
    suite: Suite, images: dict[str, str | Image]
) -> None:
    with suite.machine(binds=[CNI]) as machine:
        node = SetUpNode(machine, images)
        try:
            assert "restart containerd" in (node.proc.parent / "run/systemctl").read_text()
            with Pod(node) as pod:
                program = (node.proc / f"{node.server_of(pod.id)}/exe").readlink()
                assert str(program).endswith(f"{_WHERRY}/bin/python3")
                assert pod.run("both").wait().exit_code == 0
                linux = pod.run("-c", "exit 3", image=LINUX, name="linux")
                assert linux.wait().exit_code == 3
            status = node.cri.status()
            assert status.status is not None
            assert all(condition.status for condition in status.status.conditions)
        finally:
            node.close()
