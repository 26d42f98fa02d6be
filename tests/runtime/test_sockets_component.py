"""Sockets of WASI 0.2: TCP, UDP and names, of IPv4 and IPv6, for components."""

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.guests.toolchain import Guests
from tests.runtime.bundles import Bundle, Outcome, run
from tests.runtime.neighbour import neighbour

from wherry.oci.runtime import EGRESS, ENFORCER, NETWORK
from wherry.runtime import Launcher, LaunchError, Process

pytestmark = [pytest.mark.root, pytest.mark.guests]
Make = Callable[..., Bundle]


@pytest.fixture(scope="module")
def network() -> Iterator[str]:
    with neighbour() as path:
        yield path


@pytest.fixture
def component(bundle: Make, guests: Guests, network: str) -> Make:
    """Makes containers of the component beside the neighbour, whom they ask for names."""
    program = (guests.sockets_component() / "app.wasm").read_bytes()

    def make(*args: str) -> Bundle:
        container = bundle("/main.wasm", *args)
        container.put("main.wasm", program)
        container.put("etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        container.put("etc/hosts", "127.0.0.1 pier\n::1 pier\n127.0.0.1 four\n::1 six\n")
        for namespace in container.config["linux"]["namespaces"]:
            if namespace["type"] == "network":
                namespace["path"] = network
        return container

    return make


def said(outcome: Outcome) -> list[str]:
    assert outcome.status == 0, outcome
    return outcome.stdout.decode().splitlines()


@pytest.mark.parametrize("name", ["pier", "pier.test", "PIER.test."])
async def test_names_come_from_the_containers_own_files(
    launcher: Launcher, component: Make, name: str
) -> None:
    assert said(await run(launcher, component("names", name))) == ["127.0.0.1 ::1"]


async def test_a_name_that_is_not_there_is_an_error(launcher: Launcher, component: Make) -> None:
    outcome = await run(launcher, component("names", "nowhere.test"))
    assert outcome.status == 1
    assert b"gaierror" in outcome.stdout


@pytest.mark.parametrize(("name", "peer"), [("four", "127.0.0.1"), ("six", "::1")])
async def test_a_server_is_reached_by_tcp(
    launcher: Launcher, component: Make, name: str, peer: str
) -> None:
    assert said(await run(launcher, component("get", name, "8000"))) == [f"{peer} said hello"]


@pytest.mark.parametrize("name", ["four", "six"])
async def test_a_server_is_reached_by_udp(launcher: Launcher, component: Make, name: str) -> None:
    assert said(await run(launcher, component("ask", name, "8000"))) == ["hello"]


async def test_nobody_listening_is_a_refusal(launcher: Launcher, component: Make) -> None:
    outcome = await run(launcher, component("get", "four", "8001"))
    assert (outcome.status, b"ConnectionRefused" in outcome.stdout) == (1, True)


CLIENTS = {
    "serve": "s = socket.create_connection((a, 9000)); s.sendall(b'x'); print(s.recv(99).decode())",
    "echo": "s = socket.socket(f, socket.SOCK_DGRAM); s.sendto(b'x', (a, 9000));"
    " print(s.recv(99).decode())",
}


@pytest.mark.parametrize(
    ("command", "family", "address", "answer"),
    [
        ("serve", "4", "127.0.0.1", "127.0.0.1 said x"),
        ("serve", "6", "::1", "::1 said x"),
        ("echo", "4", "127.0.0.1", "x"),
        ("echo", "6", "::1", "x"),
    ],
)
async def test_a_component_serves(
    launcher: Launcher, component: Make, command: str, family: str, address: str, answer: str
) -> None:
    answers: list[str] = []
    number = {"4": int(socket.AF_INET), "6": int(socket.AF_INET6)}[family]

    async def ask(process: Process) -> None:
        script = f"import socket\na, f = {address!r}, {number}\n"
        # Until it listens the kernel refuses, which is all there is to wait for.
        script += "while True:\n try:\n  " + CLIENTS[command].replace("; ", "\n  ")
        script += "\n  break\n except ConnectionRefusedError:\n  pass"
        argv = ["nsenter", f"--net=/proc/{process.pid}/ns/net", "python3", "-c", script]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
        answers.append(done.stdout.strip())
        os.kill(process.pid, signal.SIGKILL)

    await run(launcher, component(command, family, "9000"), while_running=ask)
    assert answers == [answer]


async def test_what_nobody_enforces_is_not_run(launcher: Launcher, component: Make) -> None:
    container = component("get", "four", "8000")
    container.config["annotations"] = {EGRESS: "db:3306"}
    with pytest.raises(LaunchError, match=EGRESS) as caught:
        await run(launcher, container)
    assert caught.value.exit_code == 125
    assert "\n" not in str(caught.value)


async def test_what_the_network_enforces_is_run(launcher: Launcher, component: Make) -> None:
    container = component("get", "four", "8000")
    container.config["annotations"] = {EGRESS: "four:8000", ENFORCER: "network"}
    assert said(await run(launcher, container)) == ["127.0.0.1 said hello"]


async def test_where_there_is_no_network_nothing_is_to_be_enforced(
    launcher: Launcher, component: Make
) -> None:
    container = component("names", "four")
    container.config["annotations"] = {EGRESS: "", NETWORK: "none"}
    for namespace in container.config["linux"]["namespaces"]:
        namespace.pop("path", None)
    assert said(await run(launcher, container)) == ["127.0.0.1"]


async def test_a_rule_that_is_none_is_told(
    launcher: Launcher, bundle: Make, tmp_path: Path
) -> None:
    container = bundle()
    container.put("main.wasm", '(module (func (export "_start")))')
    container.config["annotations"] = {EGRESS: "db:http"}
    with pytest.raises(LaunchError, match=r"io\.wherry\.egress.*'db:http'.*a port is") as caught:
        await run(launcher, container)
    assert caught.value.exit_code == 125
