"""Images as Docker's own builder makes them."""

import os

import pytest
from tests.docker.engine import WASM, Docker

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
