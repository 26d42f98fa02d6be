"""Modules with sockets under Docker: those of WASI 0.1 as standardised, and WasmEdge's.

Components with sockets of WASI 0.2 are in test_network, a server on WasmEdge's in
test_http_example.
"""

from collections.abc import Iterator

import pytest
from tests.docker.engine import RUNTIME, Docker, until

pytestmark = [pytest.mark.root, pytest.mark.guests]

_SERVER = """
FROM scratch
COPY preopened.wasm notes.txt /
EXPOSE 9090 80/tcp 53/udp
ENTRYPOINT ["preopened.wasm"]
"""
_CLIENT = """
FROM scratch
COPY client.wasm /
ENTRYPOINT ["client.wasm", "get"]
"""
_PROJECT = f"""
x-wasm: &wasm
  platform: wasi/wasm
  runtime: {RUNTIME}
services:
  web:
    <<: *wasm
    image: preopened
    ports: ["127.0.0.1:8095:80"]
  files:
    image: busybox
    command: [/bin/busybox, httpd, -f, -h, /etc]
  client:
    <<: *wasm
    image: client
    command: ["http://web/from-client"]
    profiles: [later]
"""


@pytest.fixture(scope="module", autouse=True)
def images(docker: Docker) -> None:
    """The images `preopened` and `client`."""
    docker.build(_SERVER, "preopened", ["preopened"])
    docker.build(_CLIENT, "client", ["client"])


@pytest.fixture(scope="module")
def harbour(docker: Docker, images: None) -> Iterator[str]:
    """A network with `pier`, a Linux container that answers 404 on port 80."""
    docker.ok("network", "create", "harbour")
    linux = ["--name", "pier", "--network", "harbour", "busybox"]
    docker.ok("run", "-d", *linux, "/bin/busybox", "httpd", "-f", "-h", "/etc")
    yield "harbour"
    docker.remove("pier")
    docker.ok("network", "rm", "harbour")


def fetch(docker: Docker, url: str) -> str:
    """What busybox's wget fetches in the machine."""
    done = docker.machine.run("busybox", "wget", "-q", "-O", "-", url)
    assert done.returncode == 0, f"{url}: {done.stderr}"
    return done.stdout


def published(docker: Docker, name: str, port: str) -> str:
    """Where a container's port is published."""
    return docker.ok("port", name, port).splitlines()[0]


def test_exposed_and_published_ports_are_open_when_the_module_begins(docker: Docker) -> None:
    ports = ["-p", "127.0.0.1::80", "-p", "127.0.0.1::7000", "-p", "127.0.0.1::9090"]
    docker.start("web", image="preopened", flags=ports)
    until(lambda: docker.ok("logs", "web") == "listening on 80/tcp:7000/tcp:9090/tcp")
    for port in ("80", "7000", "9090"):
        answer = fetch(docker, f"http://{published(docker, 'web', port)}/x")
        assert answer == f"{port}/tcp GET /x HTTP/1.1\n"
    assert (
        fetch(docker, f"http://{published(docker, 'web', '80')}/file/notes.txt") == "some notes\n"
    )
    docker.remove("web")


def test_the_hosts_network_is_served_as_well(docker: Docker) -> None:
    flags = ["--network", "host", "--annotation", "io.wherry.ports=8097/tcp"]
    docker.start("web", image="preopened", flags=flags)
    until(lambda: docker.ok("logs", "web") == "listening on 8097/tcp")
    assert fetch(docker, "http://127.0.0.1:8097/") == "8097/tcp GET / HTTP/1.1\n"
    taken = docker.run(image="preopened", flags=flags)
    assert taken.returncode == 125
    assert "port 8097 is in use" in taken.stderr
    docker.remove("web")


def test_a_client_reaches_a_linux_container_by_name(docker: Docker, harbour: str) -> None:
    until(lambda: "404" in docker.run("http://pier/", image="client", flags=of(harbour)).stdout)


def test_rules_of_egress_hold_for_wasmedges_sockets(docker: Docker, harbour: str) -> None:
    until(lambda: "404" in docker.run("http://pier/", image="client", flags=of(harbour)).stdout)
    rule = ["--annotation", "io.wherry.egress=pier:80"]
    allowed = docker.run("http://pier/", image="client", flags=[*of(harbour), *rule])
    assert "404" in allowed.stdout, allowed.stderr
    denied = docker.run("http://pier:81/", image="client", flags=[*of(harbour), *rule])
    assert denied.returncode == 1
    assert ":81 (pier) denied" in denied.stderr
    assert "refused" in denied.stderr


def test_rules_that_nobody_enforces_keep_a_container_from_running(
    docker: Docker, harbour: str
) -> None:
    flags = [*of(harbour), "--annotation", "io.wherry.egress=pier:80"]
    component = docker.run("get", "pier", "80", image="sockets", flags=flags)
    assert component.returncode == 125
    assert "io.wherry.egress cannot be enforced here for the sockets of a component" in (
        component.stderr
    )


def test_a_linux_program_under_rules_that_nobody_enforces_is_not_run(docker: Docker) -> None:
    flags = [f"--runtime={RUNTIME}", "--annotation", "io.wherry.egress="]
    linux = docker("run", "--rm", *flags, "busybox", "/bin/busybox", "true")
    assert linux.returncode == 125
    assert "io.wherry.egress cannot be enforced here for the sockets of a Linux program" in (
        linux.stderr
    )


def of(network: str) -> list[str]:
    return ["--network", network]


def test_services_of_a_compose_file_find_each_other(docker: Docker) -> None:
    folder = docker.folder()
    (folder / "compose.yaml").write_text(_PROJECT)

    def compose(*args: str) -> str:
        file = str(folder / "compose.yaml")
        return docker.ok("compose", "--ansi", "never", "-p", "quay", "-f", file, *args)

    compose("up", "-d", "--quiet-pull")
    until(lambda: "listening on 80/tcp:9090/tcp" in compose("logs", "web"))
    assert fetch(docker, "http://127.0.0.1:8095/") == "80/tcp GET / HTTP/1.1\n"
    answer = compose("run", "--rm", "client", "http://web/from-client")
    assert "80/tcp GET /from-client HTTP/1.1" in answer
    assert "404" in compose("run", "--rm", "client", "http://files/nothing")
    compose("down", "-t", "1")
