"""Images for wasi/wasm as a kubelet gets them."""

from collections.abc import Iterator

import pytest
from tests.cri.node import HANDLER, Node
from tests.cri.pods import Pod
from tests.cri.registry import Registry
from tests.guests.toolchain import Guests
from tests.shim.archive import Image

pytestmark = [pytest.mark.root, pytest.mark.containerd]


@pytest.fixture
def registry(node: Node, guests: Guests) -> Iterator[Registry]:
    """A registry with an image for wasi/wasm."""
    program = {"toolbox.wasm": guests.toolbox().read_bytes(), "etc/words": b"from the image\n"}
    with Registry(node.machine, {"pulled": Image(program, ("toolbox.wasm",))}) as registry:
        yield registry


def test_it_is_pulled_unpacked_and_run(node: Node, registry: Registry) -> None:
    name = registry.name("pulled", "latest")
    assert node.cri.image(name) is None
    identity = node.cri.pull(name, HANDLER)
    found = node.cri.image(name)
    assert found is not None and (found.id, list(found.repo_tags)) == (identity, [name])
    with Pod(node) as pod:
        container = pod.run("cat", "/etc/words", image=name)
        assert container.wait().exit_code == 0
        assert container.output(until="\n") == "from the image\n"
    # Known by its id as well, which is what a kubelet asks for.
    with Pod(node) as pod:
        assert pod.run("both", image=identity).wait().exit_code == 0
