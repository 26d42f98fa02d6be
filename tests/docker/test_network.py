"""A component with sockets of WASI 0.2, in the network that Docker gives its container."""

from collections.abc import Iterator

import pytest
from tests.docker.engine import Docker, until

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def web(docker: Docker) -> Iterator[str]:
    """A network in which the container `web` serves port 8000, published as 8080."""
    docker.ok("network", "create", "fleet")
    flags = ["--network", "fleet", "-p", "8080:8000", "-p", "127.0.0.1::8000"]
    docker.start("web", image="sockets", flags=flags)
    until(lambda: docker.ok("logs", "web") == "listening")
    yield "fleet"
    docker.remove("web")
    docker.ok("network", "rm", "fleet")


def answer(docker: Docker, url: str, *around: str) -> str:
    """What busybox's wget fetches, in the machine or, with `around`, in a container."""
    wget = ["busybox", "wget", "-q", "-O", "-", url]
    done = docker(*around, "/bin/busybox", *wget[1:]) if around else docker.machine.run(*wget)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_published_port_is_served_by_the_guest(docker: Docker, web: str) -> None:
    assert answer(docker, "http://127.0.0.1:8080/hello") == "GET /hello HTTP/1.1\n"
    ports = docker.ok("port", "web").splitlines()
    other = next(line.split()[-1] for line in ports if "127.0.0.1" in line)
    assert answer(docker, f"http://{other}/again") == "GET /again HTTP/1.1\n"


def test_a_linux_container_finds_a_guest_by_name(docker: Docker, web: str) -> None:
    around = ["run", "--rm", "--network", web, "busybox"]
    assert answer(docker, "http://web:8000/x", *around) == "GET /x HTTP/1.1\n"


def test_a_guest_finds_a_guest_by_name(docker: Docker, web: str) -> None:
    done = docker.run("get", "web", "8000", image="sockets", flags=["--network", web])
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "GET / HTTP/1.0")


def test_a_guest_finds_a_linux_container_by_its_alias(docker: Docker, web: str) -> None:
    flags = ["--name", "linux", "--network", web, "--network-alias", "files"]
    docker.ok("run", "-d", *flags, "busybox", "/bin/busybox", "httpd", "-f", "-h", "/etc")

    def fetch() -> str:
        return docker.run("get", "files", "80", image="sockets", flags=["--network", web]).stdout

    until(lambda: "HTTP/1.1 404" in fetch())  # once it listens; there is no index.html
    docker.remove("linux")


def test_names_of_extra_hosts_are_found(docker: Docker, web: str) -> None:
    address = docker.ok(
        "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "web"
    )
    flags = ["--network", web, "--add-host", f"pier:{address}"]
    assert docker.run("get", "pier", "8000", image="sockets", flags=flags).returncode == 0


def test_what_has_no_name_or_is_not_reached_is_told_to_the_guest(docker: Docker, web: str) -> None:
    unnamed = docker.run("get", "nowhere", "8000", image="sockets", flags=["--network", web])
    assert (unnamed.returncode, "resolve" in unnamed.stdout) == (1, True)
    refused = docker.run("get", "web", "8001", image="sockets", flags=["--network", web])
    assert (refused.returncode, "finish-connect" in refused.stdout) == (1, True)


def test_a_guest_may_make_a_socket_for_datagrams(docker: Docker) -> None:
    assert docker.run("udp", image="sockets").returncode == 0


def test_without_a_network_nothing_is_reached(docker: Docker, web: str) -> None:
    address = docker.ok(
        "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "web"
    )
    done = docker.run("get", address, "8000", image="sockets", flags=["--network", "none"])
    assert done.returncode == 1


def test_the_network_of_another_container_is_shared(docker: Docker, web: str) -> None:
    flags = ["--network", "container:web"]
    assert docker.run("get", "127.0.0.1", "8000", image="sockets", flags=flags).returncode == 0


def test_the_default_bridge_reaches_an_address(docker: Docker) -> None:
    docker.start("plain", image="sockets")
    address = docker.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "plain")
    until(lambda: docker.ok("logs", "plain") == "listening")
    assert docker.run("get", address, "8000", image="sockets").returncode == 0
    docker.remove("plain")
