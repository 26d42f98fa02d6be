"""HTTP servers on WasmEdge's sockets, asked by curl and wrk."""

import contextlib
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import without
from tests.guests.toolchain import Guests
from tests.runtime.bundles import Bundle
from tests.sockets.containers import Container, running

from wherry.runtime import Launcher

pytestmark = [pytest.mark.root, pytest.mark.guests]
Module = Callable[..., Bundle]

SERVERS: dict[str, tuple[Callable[[Guests], Path], tuple[str, ...], str]] = {
    # how each of them is made, its arguments, and what it answers
    "Go, net/http": (lambda guests: guests.go("hello"), (), "hello from Go\n"),
    "Rust, wasmedge_wasi_socket": (lambda guests: guests.rust("hello"), (), "hello from Rust\n"),
    "Rust, hyper": (lambda guests: guests.rust("hyper-hello"), (), "hello from hyper\n"),
    "C, poll_oneoff": (lambda guests: guests.httpd(), (), "hello from C\n"),
}
CONCURRENT = ["Go, net/http", "Rust, hyper", "C, poll_oneoff"]
ECHOING = ["Go, net/http", "Rust, hyper"]


@pytest.fixture
def server(request: pytest.FixtureRequest, guests: Guests, module: Module) -> tuple[Bundle, str]:
    make, arguments, answer = SERVERS[request.param]
    return module(make(guests), *arguments), answer


@pytest.fixture(autouse=True)
def clients() -> None:
    for program in ("curl", "wrk"):
        if shutil.which(program) is None:
            without(f"{program} (apt install {program})")


async def listening(container: Container) -> None:
    assert (await container.line()).startswith("listening")


@pytest.mark.parametrize("server", SERVERS, indirect=True)
async def test_a_server_answers(launcher: Launcher, server: tuple[Bundle, str]) -> None:
    bundle, answer = server
    async with running(launcher, bundle) as container:
        await listening(container)
        url = "http://127.0.0.1:8080/"
        assert await container.ask("curl", "-sSf", url, url, url) == answer * 3


@pytest.mark.parametrize("server", SERVERS, indirect=True)
async def test_a_server_answers_many_at_once_without_an_error(
    launcher: Launcher, server: tuple[Bundle, str]
) -> None:
    async with running(launcher, server[0]) as container:
        await listening(container)
        said = await container.ask(
            "wrk", "-t1", "-c32", "-d1s", "--timeout=20s", "http://127.0.0.1:8080/"
        )
        asked = re.search(r"(\d+) requests in", said)
        assert asked and int(asked[1]) > 32
        assert "Socket errors" not in said and "Non-2xx" not in said, said


@pytest.mark.parametrize("server", ECHOING, indirect=True)
async def test_a_large_body_arrives_and_comes_back_whole(
    launcher: Launcher, server: tuple[Bundle, str], tmp_path: Path
) -> None:
    body, back = tmp_path / "body", tmp_path / "back"
    body.write_bytes(bytes(range(256)) * (1 << 14))
    async with running(launcher, server[0]) as container:
        await listening(container)
        url = "http://127.0.0.1:8080/echo"
        await container.ask("curl", "-sSf", "--data-binary", f"@{body}", "-o", str(back), url)
        assert back.read_bytes() == body.read_bytes()


async def test_go_knows_its_clients_and_writes_more_than_a_socket_holds(
    launcher: Launcher, guests: Guests, module: Module
) -> None:
    async with running(launcher, module(guests.go("hello"), "[::]:8080")) as container:
        await listening(container)
        for host, port in (("127.0.0.1", 9998), ("[::1]", 9999)):
            url = f"http://{host}:8080/who"
            said = await container.ask("curl", "-sSf", "--local-port", str(port), url)
            assert said == f"{host}:{port}\n"
        with container.dial(8080) as slow:  # reads nothing until the server has had to wait
            slow.sendall(b"GET /large?20000000 HTTP/1.0\r\n\r\n")
            assert (await container.ask("curl", "-sSf", "http://127.0.0.1:8080/")).endswith("Go\n")
            slow.shutdown(socket.SHUT_WR)
            size = sum(len(chunk) for chunk in iter(lambda: slow.recv(1 << 20), b""))
        assert size > 20_000_000


@pytest.mark.parametrize("server", CONCURRENT, indirect=True)
async def test_clients_that_say_nothing_or_half_of_it_do_not_keep_others_from_being_served(
    launcher: Launcher, server: tuple[Bundle, str]
) -> None:
    bundle, answer = server
    async with running(launcher, bundle) as container:
        await listening(container)
        silent = [container.dial(8080) for _ in range(100)]
        for peer in silent[::2]:
            peer.sendall(b"GET / HT")
        for peer in silent[::5]:
            peer.shutdown(socket.SHUT_WR)
        assert await container.ask("curl", "-sSf", "http://127.0.0.1:8080/") == answer
        silent[2].sendall(b"TP/1.0\r\n\r\n")
        assert silent[2].recv(4096).split()[1] == b"200"
        for peer in silent:
            peer.close()


@pytest.mark.parametrize("server", ["Go, net/http", "C, poll_oneoff"], indirect=True)
async def test_a_server_that_may_open_no_more_serves_again_once_it_may(
    launcher: Launcher, server: tuple[Bundle, str]
) -> None:
    bundle, answer = server
    limit = {"type": "RLIMIT_NOFILE", "soft": 60, "hard": 60}
    bundle.config["process"]["rlimits"] = [limit]
    async with running(launcher, bundle) as container:
        await listening(container)
        peers = [container.dial(8080) for _ in range(90)]
        served = 0
        for peer in peers:
            peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            peer.settimeout(60 if served <= 20 else 0.5)
            with contextlib.suppress(TimeoutError):
                served += len(peer.recv(4096)) > 0
                continue
            break
        assert 20 < served < 60  # those that wait are let in when others leave
        for peer in peers:
            peer.close()
        assert await container.ask("curl", "-sSf", "-m", "30", "http://127.0.0.1:8080/") == answer


async def test_a_client_that_vanishes_does_not_disturb_the_others(
    launcher: Launcher, guests: Guests, module: Module
) -> None:
    async with running(launcher, module(guests.go("hello"))) as container:
        await listening(container)
        for _ in range(20):
            gone = container.dial(8080)
            gone.sendall(b"GET /large?20000000 HTTP/1.0\r\n\r\n")
            linger = (1).to_bytes(4, "little") + bytes(4)
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            gone.close()  # by a reset
        assert await container.ask("curl", "-sSf", "http://127.0.0.1:8080/") == "hello from Go\n"
