"""Images as Docker's own builder makes them."""

import json
import os
from pathlib import Path

import pytest
import wasmtime
from tests.docker.engine import RUNTIME, WASM, Docker
from tests.images.samples import saved, simple_image
from tests.images.test_attachments import hang
from tests.shim.archive import blobs_archive
from tests.shim.guests import ALL

from wherry.images import ImageStore

pytestmark = pytest.mark.root

_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
_LAYERS = """
FROM scratch AS base
COPY notes.txt /etc/app/one.txt
FROM base
WORKDIR /opt/app
COPY toolbox.wasm bin/tool.wasm
COPY --chown=1000:1000 notes.txt conf/two.txt
USER 1000:1000
VOLUME /var/data
ENTRYPOINT ["bin/tool.wasm", "cat"]
CMD ["conf/two.txt"]
"""
_BOTH = """
FROM scratch AS for-wasi
COPY toolbox.wasm /app
FROM busybox AS for-linux
RUN ["/bin/busybox", "ln", "/bin/busybox", "/app"]
FROM for-${TARGETOS}
ENTRYPOINT ["/app"]
CMD ["both"]
"""


@pytest.fixture(scope="module")
def layers(docker: Docker) -> str:
    """An image with Wasm beside data files in several layers."""
    docker.build(_LAYERS, "layers", ["toolbox"])
    return "layers"


def test_data_files_of_several_layers_lie_beside_the_wasm(docker: Docker, layers: str) -> None:
    assert docker.run(image=layers).stdout == "some notes\n"
    assert docker.run("/etc/app/one.txt", image=layers).stdout == "some notes\n"


@pytest.mark.parametrize(
    "entrypoint", ["bin/tool.wasm", "./bin/tool.wasm", "/opt/app/bin/tool.wasm"]
)
def test_an_entrypoint_may_be_relative(docker: Docker, layers: str, entrypoint: str) -> None:
    done = docker.run("stat", "/var/data", image=layers, flags=["--entrypoint", entrypoint])
    assert done.stdout.startswith("directory")


def test_an_image_survives_save_and_load(docker: Docker, layers: str) -> None:
    archive = str(docker.folder() / "image.tar")
    docker.ok("save", layers, "-o", archive)
    docker.ok("rmi", "-f", layers)
    docker.ok("load", "-i", archive)
    assert docker.run(image=layers).stdout == "some notes\n"


def test_of_an_image_for_both_platforms_the_one_asked_for_runs(docker: Docker) -> None:
    docker.build(_BOTH, "both", ["toolbox"], platforms=f"linux/{_ARCHITECTURE},wasi/wasm")
    assert docker.run(image="both").stdout == "to stdout\n"
    linux = docker("run", "--rm", WASM[0], "--platform", f"linux/{_ARCHITECTURE}", "both")
    assert "applet not found" in linux.stderr  # busybox, called by a name that it does not know


def test_of_an_archive_with_signatures_the_image_is_loaded(docker: Docker, tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    hang(store, simple_image(store, "carried"), b"a signature, say")
    archive = docker.folder() / "signed.tar"
    archive.write_bytes(saved(store, "carried"))
    before = docker.ok("images", "-aq").split()
    docker.ok("load", "-i", str(archive))
    (new,) = set(docker.ok("images", "-aq").split()) - {*before}
    assert docker.ok("images", "-q", "carried").strip() == new
    docker.ok("rmi", "carried")
    docker.ok("image", "prune", "-f")


@pytest.mark.parametrize(
    ("name", "kind", "config"),
    [
        ("cncf", "application/vnd.wasm.config.v0+json", {"layerDigests": []}),
        (
            "oci",
            "application/vnd.oci.image.config.v1+json",
            {"rootfs": {"type": "layers", "diff_ids": []}, "config": {}},
        ),
    ],
)
def test_a_wasm_artifact_is_loaded_and_run(
    docker: Docker, name: str, kind: str, config: dict[str, object]
) -> None:
    document = {"architecture": "wasm", "os": "wasip1", **config}
    title = {"org.opencontainers.image.title": "hello.wasm"}
    layer = (wasmtime.wat2wasm(ALL["hello"]), "application/wasm", title)
    archive = docker.folder() / "artifact.tar"
    whole = f"docker.io/library/artifact-{name}:latest"
    archive.write_bytes(blobs_archive(whole, (json.dumps(document).encode(), kind, {}), [layer]))
    docker.ok("load", "-i", str(archive))
    # Its own platform: Docker takes no other for it.
    flags = ("--rm", f"--runtime={RUNTIME}", "--platform=wasip1/wasm")
    done = docker("run", *flags, f"artifact-{name}", "/hello.wasm")
    if docker.machine.suite.name == "trixie":
        # Docker 26 does not tell containerd, nor it the shim, what image a container is made of.
        assert done.returncode == 127 and "/hello.wasm" in done.stderr
    else:
        assert done.stdout == "hello\n", done.stderr
