"""examples/http-go under Docker: the same image, the same words."""

import shutil
from collections.abc import Iterator

import pytest
from tests.docker.engine import WASM, Docker, until
from tests.guests.toolchain import EXAMPLES, PROJECT, Guests

pytestmark = [pytest.mark.root, pytest.mark.guests]


@pytest.fixture(scope="module")
def shops(docker: Docker, guests: Guests) -> Iterator[None]:
    """Two servers of the example in one network, `web` published as 8081."""
    context = docker.folder()
    shutil.copy(EXAMPLES / "http-go" / "Dockerfile", context)
    shutil.copy(guests.go(EXAMPLES / "http-go"), context / "server.wasm")
    platform = ("--platform", "wasi/wasm")
    docker.ok("buildx", "build", *platform, "-t", "http-go", "--load", str(context))
    docker.ok("network", "create", "streets")
    for name, flags in (("web", ["-p", "8081:8080"]), ("shop", [])):
        words = ["run", "-d", "--name", name, *WASM, "--network", "streets", *flags, "http-go"]
        docker.ok(*words)
    until(lambda: all("listening" in docker("logs", name).stderr for name in ("web", "shop")))
    yield
    docker.remove("web", "shop")
    docker.ok("network", "rm", "streets")


def test_the_example_serves_its_published_port(docker: Docker, shops: None) -> None:
    done = docker.machine.run("busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8081/")
    assert done.stdout.startswith("hello ") and done.stdout.endswith(", from Go in WebAssembly\n")


def test_the_example_finds_another_by_name(docker: Docker, shops: None) -> None:
    url = "http://127.0.0.1:8081/from/shop"
    done = docker.machine.run("busybox", "wget", "-q", "-O", "-", url)
    assert done.stdout.startswith("shop says: hello "), done.stderr


def test_egress_by_name_holds_for_a_guest_that_asks_the_resolver_itself(
    docker: Docker, shops: None
) -> None:
    flags = ["--network", "streets", "-p", "8082:8080", "--annotation", "io.wherry.egress=web:8080"]
    docker.ok("run", "-d", "--name", "guarded", *WASM, *flags, "http-go")
    try:
        until(lambda: "listening" in docker("logs", "guarded").stderr)
        for name, code in (("web", 200), ("shop", 502)):
            url = f"http://127.0.0.1:8082/from/{name}"
            done = docker.machine.run("busybox", "wget", "-S", "-O", "-", url)
            assert f"HTTP/1.1 {code}" in done.stderr, done
        assert "egress to shop denied" in docker("logs", "guarded").stderr
    finally:
        docker.remove("guarded")


def test_the_compose_file_of_the_docs_makes_two_that_know_each_other(
    docker: Docker, shops: None
) -> None:
    document = (PROJECT / "docs" / "networking.md").read_text()
    folder = docker.folder()
    (folder / "compose.yaml").write_text(document.partition("```yaml\n")[2].partition("```")[0])
    compose = ("compose", "--project-directory", str(folder))
    docker.ok(*compose, "up", "-d")
    try:
        until(lambda: docker(*compose, "logs").stdout.count("listening") == 2)
        done = docker.machine.run(
            "busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/from/shop"
        )
        assert done.stdout.startswith("shop says: hello "), done.stderr
    finally:
        docker.ok(*compose, "down", "-t", "1")
