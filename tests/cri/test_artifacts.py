"""Wasm artifacts of the CNCF in pods: a config of their own kind, and modules for layers."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime
from tests.cri.node import Node
from tests.cri.pods import Pod
from tests.shim.archive import blobs_archive
from tests.shim.guests import ALL

from wherry.images import ImageStore
from wherry.images.artifact_writer import save_artifact, write_artifact
from wherry.images.image import read_manifest
from wherry.oci import parse_reference

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


def by_hand(folder: Path, kind: str, config: object) -> bytes:
    title = {"org.opencontainers.image.title": "hello.wasm"}
    layer = (wasmtime.wat2wasm(ALL["hello"]), "application/wasm", title)
    return blobs_archive(_NAME, (json.dumps(config).encode(), kind, {}), [layer])


def by_wherry(folder: Path, *_: object) -> bytes:
    """As `build --output type=wasm-artifact,dest=…` writes it."""
    store, archive = ImageStore(folder / "store"), io.BytesIO()
    with store.hold():
        module = io.BytesIO(wasmtime.wat2wasm(ALL["hello"]))
        target = write_artifact(store.blobs, module, "hello.wasm")
        manifest = read_manifest(store.blobs, target)
        save_artifact(store.blobs, target, manifest, parse_reference(_NAME), archive)
    return archive.getvalue()


@pytest.mark.parametrize(
    ("make", "kind", "config"),
    [
        (by_wherry, "", None),
        (by_hand, _CNCF, _CONFIG),
        (by_hand, _OCI, {**_CONFIG, "rootfs": {"type": "layers", "diff_ids": []}, "config": {}}),
    ],
)
def test_an_artifact_runs_in_a_pod(
    node: Node, tmp_path: Path, make: Callable[..., bytes], kind: str, config: object
) -> None:
    archive = node.machine.folder / "artifact.tar"
    archive.write_bytes(make(tmp_path, kind, config))
    words = ("images", "import", "--no-unpack", "--all-platforms", str(archive))
    done = node.containerd.ctr("-n", "k8s.io", *words)
    assert done.returncode == 0, done.stderr
    with Pod(node) as pod:
        container = pod.run(image=_NAME, command=["/hello.wasm"])
        assert container.wait().exit_code == 0
        assert container.output(until="\n") == "hello\n"
