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
def suite(request: pytest.FixtureRequest) -> Suite:
    """A Debian with its containerd."""
    if not (CNI / "bridge").exists():
        without("the CNI plugins are not installed (containernetworking-plugins)")
    try:
        return ThisMachine() if request.param == "host" else Suite(request.param)
    except SuiteMissing as error:
        without(str(error))


@pytest.fixture(scope="session")
def images(guests: Guests) -> dict[str, str | Image]:
    """A toolbox and what else the tests run as Wasm, and busybox."""
    try:
        busybox = Path(peers.program("busybox"))
    except peers.PeerMissing as error:
        without(str(error))
    return {
        "localhost/toolbox:latest": Image(
            {"toolbox.wasm": guests.toolbox().read_bytes()}, ("/toolbox.wasm",)
        ),
        "localhost/sockets:latest": Image(
            {"sockets.wasm": guests.sockets().read_bytes()}, ("/sockets.wasm",)
        ),
        "localhost/preopened:latest": Image(
            {"preopened.wasm": guests.c("preopened").read_bytes(), "notes.txt": b"some notes\n"},
            ("/preopened.wasm",),
            exposed=["9090/tcp", "8080/tcp", "53/udp"],
        ),
        "localhost/client:latest": Image(
            {"client.wasm": guests.go("client").read_bytes()}, ("/client.wasm", "get")
        ),
        "localhost/environ:latest": guests.wat("environ").read_text(),
        "localhost/hog:latest": HOG,
        "localhost/trap:latest": TRAP,
        "localhost/busybox:latest": Image(
            {"busybox": busybox.read_bytes()}, ("/busybox", "sh"), "linux", "amd64"
        ),
    }


@pytest.fixture(scope="session")
def node(suite: Suite, images: dict[str, str | Image]) -> Iterator[Node]:
    """A node that all tests of a suite share."""
    with suite.machine(binds=[CNI]) as machine:
        node = Node(machine, images)
        try:
            yield node
        finally:
            node.close()


@pytest.fixture
def pod(node: Node) -> Iterator[Pod]:
    """A pod of one's own, that leaves nothing on the node."""
    with Pod(node) as pod:
        server = node.server_of(pod.id)
        yield pod
        processes = node.family(server) if (node.proc / str(server)).exists() else []
    eventually(lambda: not node.pod_remains(pod.id, processes))
