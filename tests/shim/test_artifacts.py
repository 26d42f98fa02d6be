"""Wasm OCI artifacts under a real containerd: manifests whose layers are modules.

`ctr` refuses the config that the CNCF gave artifacts, so here they have an image's, as runwasi's
have; those of the CNCF run through CRI (tests/cri).
"""

import json
from collections.abc import Mapping

import pytest
import wasmtime
from tests.shim.archive import blobs_archive
from tests.shim.containerds import SHIM, Containerd
from tests.shim.guests import ALL

pytestmark = [
    pytest.mark.root,
    pytest.mark.containerd,
    # containerd 1.6 refuses such images when they are imported.
    pytest.mark.parametrize("containerd", ["trixie", "forky"], indirect=True, scope="module"),
]
WASM = "application/wasm"


def artifact(
    name: str, modules: Mapping[str, str], kind: str = WASM, *, titled: bool = True
) -> bytes:
    """An archive of an artifact with `modules` as text, by title."""
    layers = [
        (wasmtime.wat2wasm(text), kind, {"org.opencontainers.image.title": title} if titled else {})
        for title, text in modules.items()
    ]
    config = {
        "architecture": "wasm",
        "os": "wasip1",
        "rootfs": {"type": "layers", "diff_ids": []},
        "config": {},
    }
    return blobs_archive(
        name, (json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json", {}), layers
    )


def run(containerd: Containerd, archive: bytes, name: str, *args: str) -> tuple[int, str, str]:
    file = containerd.folder / f"{name}.tar"
    file.write_bytes(archive)
    imported = containerd.ctr("images", "import", "--all-platforms", str(file))
    assert imported.returncode == 0, imported.stderr
    image = f"localhost/{name}:latest"
    done = containerd.ctr(
        "run", "--rm", "--runtime", SHIM, "--platform", "wasip1/wasm", image, f"{name}-1", *args
    )
    return done.returncode, done.stdout, done.stderr


def test_an_artifact_runs(containerd: Containerd) -> None:
    archive = artifact("localhost/art:latest", {"hello.wasm": ALL["hello"]})
    code, out, err = run(containerd, archive, "art", "/hello.wasm")
    assert (code, out) == (0, "hello\n"), err


def test_a_module_without_a_title_is_called_as_the_person_likes(containerd: Containerd) -> None:
    archive = artifact("localhost/plain:latest", {"x": ALL["hello"]}, titled=False)
    code, out, err = run(containerd, archive, "plain", "app.wasm")
    assert (code, out) == (0, "hello\n"), err


def test_of_several_modules_the_one_that_is_named_runs(containerd: Containerd) -> None:
    modules = {"first.wasm": ALL["both"], "second.wasm": ALL["hello"]}
    archive = artifact("localhost/two:latest", modules)
    code, out, err = run(containerd, archive, "two", "/second.wasm")
    assert (code, out) == (0, "hello\n"), err


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.wasm.content.layer.v1+wasm",
        "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
    ],
)
def test_the_older_media_types_of_modules_are_known(containerd: Containerd, kind: str) -> None:
    name = f"old{len(kind)}"
    archive = artifact(f"localhost/{name}:latest", {"hello.wasm": ALL["hello"]}, kind)
    code, out, err = run(containerd, archive, name, "/hello.wasm")
    assert (code, out) == (0, "hello\n"), err


def test_what_is_in_no_layer_is_not_found(containerd: Containerd) -> None:
    image = "localhost/hello:latest"
    done = containerd.ctr(
        "run", "--rm", "--runtime", SHIM, "--platform", "wasi/wasm", image, "none", "/nothing.wasm"
    )
    assert done.returncode != 0
    assert "/nothing.wasm" in done.stderr
