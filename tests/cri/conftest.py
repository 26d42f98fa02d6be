"""A node for each containerd at hand: this machine's and those of other Debian suites."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import peers
from tests.conftest import without
from tests.cri.node import CNI, Node, ThisMachine
from tests.debian import Suite, SuiteMissing
from tests.guests.toolchain import Guests
from tests.shim.archive import Image
from tests.shim.guests import HOG

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
            "localhost/hog:latest": HOG,
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
