"""A node for each containerd at hand: this machine's and those of other Debian suites."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import peers
from tests.conftest import without
from tests.cri.node import CNI, Node, ThisMachine
from tests.cri.pods import Pod, eventually
from tests.debian import Suite, SuiteMissing
from tests.guests.toolchain import Guests
from tests.shim.archive import Image
from tests.shim.guests import HOG, TRAP

_SUITES = ("host", "trixie", "forky")


@pytest.fixture(scope="session", params=_SUITES)
def node(request: pytest.FixtureRequest, guests: Guests) -> Iterator[Node]:
    """A node, with images of a Wasm toolbox, of one that takes memory, and of busybox."""
    if not (CNI / "bridge").exists():
        without("the CNI plugins are not installed (containernetworking-plugins)")
    try:
        busybox = peers.program("busybox")
        suite = ThisMachine() if request.param == "host" else Suite(request.param)
        images: dict[str, str | Image] = {
            "localhost/toolbox:latest": Image(
                {"toolbox.wasm": guests.toolbox().read_bytes()}, ("/toolbox.wasm",)
            ),
            "localhost/environ:latest": guests.wat("environ").read_text(),
            "localhost/hog:latest": HOG,
            "localhost/trap:latest": TRAP,
            "localhost/busybox:latest": Image(
                {"busybox": Path(busybox).read_bytes()}, ("/busybox", "sh"), "linux", "amd64"
            ),
        }
        with suite.machine(binds=[CNI]) as machine:
            node = Node(machine, images)
            try:
                yield node
            finally:
                node.close()
    except (SuiteMissing, peers.PeerMissing) as error:
        without(str(error))


@pytest.fixture
def pod(node: Node) -> Iterator[Pod]:
    """A pod of one's own, that leaves nothing on the node."""
    with Pod(node) as pod:
        server = node.server_of(pod.id)
        yield pod
        processes = node.family(server) if (node.proc / str(server)).exists() else []
    eventually(lambda: not node.pod_remains(pod.id, processes))
