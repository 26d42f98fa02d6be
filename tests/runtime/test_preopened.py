"""Modules of WASI 0.1 that find their listening sockets open."""

import os
import signal
import subprocess
from collections.abc import Callable

import pytest
from tests.guests.toolchain import Guests
from tests.runtime.bundles import Bundle, Outcome, run
from tests.runtime.neighbour import PORT, neighbour

from wherry.oci.runtime import NETWORK, PORTS
from wherry.runtime import Launcher, LaunchError, Process

pytestmark = [pytest.mark.root, pytest.mark.guests]
Make = Callable[..., Bundle]


def ask(process: Process, url: str) -> str:
    """What curl gets, in the container's network, once somebody listens there."""
    argv = ["nsenter", f"--net=/proc/{process.pid}/ns/net", "curl", "-sS", "--max-time", "30", url]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


async def served(launcher: Launcher, container: Bundle, *urls: str) -> tuple[list[str], Outcome]:
    """What a container answers, and how it ended when it was killed for that."""
    answers: list[str] = []

    async def visit(process: Process) -> None:
        try:
            answers.extend(ask(process, url) for url in urls)
        finally:
            os.kill(process.pid, signal.SIGKILL)

    outcome = await run(launcher, container, while_running=visit)
    return answers, outcome


@pytest.fixture
def server(bundle: Make, guests: Guests) -> Make:
    """Makes containers of the C guest, with an annotation of ports."""

    def make(ports: str | None = None, **annotations: str) -> Bundle:
        container = bundle()
        container.put("main.wasm", guests.c("preopened").read_bytes())
        container.put("notes.txt", "of the root\n")
        container.put("data/more.txt", "of the working directory\n")
        container.config["annotations"] = annotations | ({} if ports is None else {PORTS: ports})
        return container

    return make


async def test_each_port_is_a_socket_and_directories_come_after(
    launcher: Launcher, server: Make
) -> None:
    container = server("9090/tcp,80/tcp,53/udp")
    urls = ["http://127.0.0.1:9090/x", "http://[::1]:80/y", "http://127.0.0.1:80/file/notes.txt"]
    answers, outcome = await served(launcher, container, *urls)
    assert answers == ["9090/tcp GET /x HTTP/1.1\n", "80/tcp GET /y HTTP/1.1\n", "of the root\n"]
    assert outcome.stdout == b"listening on 80/tcp:9090/tcp\n"


async def test_a_working_directory_is_one_as_always(launcher: Launcher, server: Make) -> None:
    container = server("8080")
    container.config["process"]["cwd"] = "/data"
    urls = [f"http://127.0.0.1:8080/file/{name}" for name in ("notes.txt", "more.txt", "none")]
    answers, _ = await served(launcher, container, *urls)
    assert answers[:2] == ["of the root\n", "of the working directory\n"]
    assert "No such file" in answers[2]


async def test_port_names_one_where_nobody_else_knows(launcher: Launcher, server: Make) -> None:
    container = server()
    container.config["process"]["env"] += ["PORT=8081", "LISTEN_FDS=7", "LISTEN_PID=1"]
    answers, outcome = await served(launcher, container, "http://127.0.0.1:8081/")
    assert answers == ["8081/tcp GET / HTTP/1.1\n"]
    assert outcome.stdout == b"listening on 8081/tcp\n"


async def test_a_user_who_is_not_root_serves_port_80(launcher: Launcher, server: Make) -> None:
    container = server("80")
    container.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    answers, _ = await served(launcher, container, "http://127.0.0.1/")
    assert answers == ["80/tcp GET / HTTP/1.1\n"]


async def test_without_a_port_nothing_is_open(launcher: Launcher, server: Make) -> None:
    outcome = await run(launcher, server())
    assert (outcome.status, outcome.stdout) == (1, b"nothing to listen on\n")


async def test_without_a_network_nothing_is_open(launcher: Launcher, server: Make) -> None:
    outcome = await run(launcher, server("8080", **{NETWORK: "none"}))
    assert (outcome.status, outcome.stdout) == (1, b"nothing to listen on\n")


async def test_a_port_that_is_none_is_told(launcher: Launcher, server: Make) -> None:
    with pytest.raises(LaunchError, match="'http' is no port") as caught:
        await run(launcher, server("http"))
    assert caught.value.exit_code == 125


async def test_a_port_that_is_in_use_is_told(launcher: Launcher, server: Make) -> None:
    container = server(str(PORT))
    with neighbour() as network:
        for namespace in container.config["linux"]["namespaces"]:
            if namespace["type"] == "network":
                namespace["path"] = network
        with pytest.raises(LaunchError, match=f"port {PORT} is in use already"):
            await run(launcher, container)
