"""Wasm artifacts of the CNCF in pods: a config of their own kind, and modules for layers."""

import json

import pytest
import wasmtime
from tests.cri.node import Node
from tests.cri.pods import Pod
from tests.shim.archive import blobs_archive
from tests.shim.guests import ALL

pytestmark = [
    pytest.mark.root,
    pytest.mark.containerd,
    # containerd 1.6 refuses such images when they are imported.
    pytest.mark.parametrize("suite", ["trixie", "forky"], indirect=True, scope="session"),
]

_NAME = "localhost/artifact:latest"
_CNCF = "application/vnd.wasm.config.v0+json"
_OCI = "application/vnd.oci.image.config.v1+json"
_CONFIG = {
    "created": "2024-09-25T12:00:00Z",
    "architecture": "wasm",
    "os": "wasip1",
    "layerDigests": [],
}


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (_CNCF, _CONFIG),
        (_OCI, {**_CONFIG, "rootfs": {"type": "layers", "diff_ids": []}, "config": {}}),
    ],
)
def test_an_artifact_runs_in_a_pod(node: Node, kind: str, config: object) -> None:
    title = {"org.opencontainers.image.title": "hello.wasm"}
    layer = (wasmtime.wat2wasm(ALL["hello"]), "application/wasm", title)
    archive = node.machine.folder / "artifact.tar"
    archive.write_bytes(blobs_archive(_NAME, (json.dumps(config).encode(), kind, {}), [layer]))
    words = ("images", "import", "--no-unpack", "--all-platforms", str(archive))
    done = node.containerd.ctr("-n", "k8s.io", *words)
    assert done.returncode == 0, done.stderr
    with Pod(node) as pod:
        container = pod.run(image=_NAME, command=["/hello.wasm"])
        assert container.wait().exit_code == 0
        assert container.output(until="\n") == "hello\n"
