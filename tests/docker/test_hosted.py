"""Components of wasi:http and WASI 0.3 under Docker, by the `wasmtime` command of the machine."""

from collections.abc import Iterator

import pytest
from tests.docker.engine import Docker, until
from tests.guests.toolchain import Guests

pytestmark = [pytest.mark.root, pytest.mark.guests]

_IMAGE = """
FROM scratch
COPY http.wasm async.wasm /
ENTRYPOINT ["http.wasm"]
"""


@pytest.fixture(scope="module")
def server(docker: Docker, guests: Guests) -> Iterator[str]:
    """A network in which the container `shop` serves, published as 8090."""
    docker.machine.run("ln", "-sf", str(guests.wasmtime()), "/usr/local/bin/wasmtime", check=True)
    docker.build(_IMAGE, "http", ["http", "async"])
    docker.ok("network", "create", "mall")
    flags = ["--network", "mall", "-p", "8090:8080", "-e", "COLOUR=red"]
    docker.start("shop", image="http", flags=flags)
    until(lambda: "Serving HTTP" in docker("logs", "shop").stderr)
    yield "mall"
    docker.remove("shop")
    docker.ok("network", "rm", "mall")


def fetch(docker: Docker, path: str) -> str:
    return docker.machine.run(
        "busybox", "wget", "-q", "-O", "-", f"http://127.0.0.1:8090{path}"
    ).stdout


def test_a_published_port_is_served(docker: Docker, server: str) -> None:
    assert fetch(docker, "/") == "hello\n"
    assert fetch(docker, "/env/COLOUR") == "red"


def test_another_container_is_called_by_its_name(docker: Docker, server: str) -> None:
    flags = ["--network", server, "-e", "COLOUR=blue", "-e", "PORT=80"]
    docker.start("stall", image="http", flags=flags)
    until(lambda: "Serving HTTP" in docker("logs", "stall").stderr)
    assert fetch(docker, "/http/stall:80/env/COLOUR") == "blue"
    docker.ok("stop", "stall")
    assert docker.ok("inspect", "-f", "{{.State.ExitCode}}", "stall") == "143"
    docker.remove("stall")


def test_a_further_process_of_wasi_03(docker: Docker, server: str) -> None:
    done = docker("exec", "shop", "/async.wasm", "word")
    assert (done.returncode, done.stdout) == (2, "word\n")
