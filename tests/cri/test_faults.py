"""What happens to pods when what holds them is killed."""

import pytest
from tests.cri import messages as cri
from tests.cri.node import Node
from tests.cri.pods import LINUX, Pod, eventually

pytestmark = [pytest.mark.root, pytest.mark.containerd]


def test_pods_outlive_containerd(node: Node) -> None:
    with Pod(node) as pod:
        alive = pod.run("tick", name="alive")
        linux = pod.run("-c", "/busybox sleep 1000", image=LINUX, name="linux")
        ended = pod.run("cat", "/no/such", name="ended")
        assert ended.wait().exit_code == 44
        ending = pod.run("cat", name="ending", stdin=True)
        pids = (alive.pid, linux.pid)
        victim = ending.pid
        node.containerd.kill()
        node.kill(victim)
        node.containerd.start()
        assert pod.cri.pod_status(pod.id).state == cri.READY
        assert (alive.pid, linux.pid) == pids
        assert alive.status.state == linux.status.state == cri.RUNNING
        assert ended.status.exit_code == 44
        assert ending.wait().exit_code == 137
        lines = len(alive.output().splitlines())
        eventually(lambda: len(alive.output().splitlines()) > lines)
        assert alive.exec("/toolbox.wasm", "pwd")[0] == 0
        new = pod.run("both", name="new")
        assert new.wait().exit_code == 0
        alive.stop()
        assert alive.status.exit_code == 143
    eventually(lambda: node.remains() == [])


def test_a_pod_whose_server_is_killed_is_reported_dead_and_removed(node: Node) -> None:
    with Pod(node) as pod, Pod(node) as other:
        wasm = pod.run("sleep", "1000", name="wasm")
        linux = pod.run("-c", "/busybox sleep 1000", image=LINUX, name="linux")
        neighbour = other.run("sleep", "1000")
        server = node.server_of(pod.id)
        family = [*node.family(server), linux.pid]
        node.kill(server)
        for container in (wasm, linux):
            # 255 where containerd's loss of the connection is quicker than the shim's own report.
            assert container.wait().exit_code in (137, 255)
        eventually(lambda: pod.cri.pod_status(pod.id).state == cri.NOT_READY)
        assert neighbour.status.state == cri.RUNNING
    eventually(lambda: not node.pod_remains(pod.id, family))
    eventually(lambda: node.remains() == [])


def test_a_container_whose_zygote_is_killed_lives_on(node: Node) -> None:
    with Pod(node) as pod:
        container = pod.run("tick")
        container.output(until="tick 1")
        node.kill(node.zygote_of(pod.id))
        lines = len(container.output().splitlines())
        eventually(lambda: len(container.output().splitlines()) > lines)
        assert pod.run("both", name="other").wait().exit_code == 0
        assert container.exec("/toolbox.wasm", "pwd")[0] == 0
    eventually(lambda: node.remains() == [])


def test_a_pod_that_dies_by_its_sandbox_is_made_anew(node: Node) -> None:
    with Pod(node) as pod:
        container = pod.run("sleep", "1000")
        node.kill(pod.pid)
        eventually(lambda: pod.cri.pod_status(pod.id).state == cri.NOT_READY)
        pod.cri.stop_pod(pod.id)
        assert container.status.state == cri.EXITED
    eventually(lambda: node.remains() == [])
