"""What a pod with one Wasm container takes: everything that serves it, run by containerd's CRI."""

from __future__ import annotations

import contextlib

from bench.figures import Sample
from bench.memory import pss
from bench.stage import Missing, Stage
from tests import peers
from tests.cri.node import CNI, Node, ThisMachine
from tests.cri.pods import Pod
from tests.debian import SuiteMissing

IMAGE = "localhost/wait:latest"


def memory(stage: Stage, count: int) -> Sample:
    """PSS of each of `count` pods that wait, in MB: of their shims' servers, zygotes, sandbox
    containers, containers, and their share of the nursery. Raises Missing.
    """
    if not (CNI / "bridge").exists():
        raise Missing("the CNI plugins are not installed")
    try:
        with contextlib.ExitStack() as stack:
            machine = stack.enter_context(ThisMachine().machine(binds=[CNI]))
            node = Node(machine, {IMAGE: stage.guests.wat("wait").read_text()})
            stack.callback(node.close)
            pods = [stack.enter_context(Pod(node)) for _ in range(count)]
            for pod in pods:
                pod.run(image=IMAGE).output(until="ready")
            return Sample.of("MB", _shares(node, pods))
    except (SuiteMissing, peers.PeerMissing) as error:
        raise Missing(f"pods: {error}") from None


def _shares(node: Node, pods: list[Pod]) -> list[float]:
    servers = [node.server_of(pod.id) for pod in pods]
    # Numbers of the machine's are not this process's: it reads the machine's own /proc.
    (nursery,) = {
        int((node.proc / f"{pid}/stat").read_text().rpartition(") ")[2].split()[1])
        for pid in servers
    }
    common = pss(nursery, node.proc) / len(pods)
    return [common + sum(pss(pid, node.proc) for pid in node.family(server)) for server in servers]
