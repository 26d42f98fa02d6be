"""The PORTS column and `port`, as Docker folds and sorts them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cli.conftest import Shell
from tests.cli.engine import Engine

from wherry.cli.natural import natural
from wherry.cli.ports import ports_text


def port(inside: int, outside: int = 0, address: str = "", kind: str = "tcp") -> dict[str, Any]:
    entry: dict[str, Any] = {"PrivatePort": inside, "Type": kind}
    return entry | ({"IP": address, "PublicPort": outside} if address else {})


@pytest.mark.parametrize(
    ("ports", "text"),
    [
        ([], ""),
        ([port(80)], "80/tcp"),
        ([port(80), port(53, kind="udp")], "53/udp, 80/tcp"),
        ([port(82), port(80), port(81), port(90)], "80-82/tcp, 90/tcp"),
        ([port(80), port(81, kind="udp"), port(82)], "80/tcp, 82/tcp, 81/udp"),
        ([port(80, 8080, "0.0.0.0"), port(80, 8080, "::")],
         "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"),
        ([port(n, n, a) for a in ("::", "0.0.0.0") for n in (80, 81)],
         "0.0.0.0:80-81->80-81/tcp, [::]:80-81->80-81/tcp"),
        ([port(80, 80, "127.0.0.1"), port(443), port(80, 8080, "0.0.0.0")],
         "127.0.0.1:80->80/tcp, 443/tcp, 0.0.0.0:8080->80/tcp"),
    ],
)  # fmt: skip
def test_neighbours_are_folded(ports: list[dict[str, Any]], text: str) -> None:
    assert ports_text(ports) == text


def test_numbers_in_names_are_numbers() -> None:
    names = ["web10", "web2", "web", "a", "9", "10", "web2b"]
    assert sorted(names, key=natural) == ["9", "10", "a", "web", "web2", "web2b", "web10"]


@pytest.fixture
def web(engine: Engine) -> None:
    ports = {
        "8000/tcp": [{"HostIp": "0.0.0.0", "HostPort": "32768"},
                     {"HostIp": "::", "HostPort": "32768"}],
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}],
        "53/udp": [{"HostIp": "0.0.0.0", "HostPort": "53"}],
        "443/tcp": None,
    }  # fmt: skip
    engine.documents = {"GET /containers/web/json": {"NetworkSettings": {"Ports": ports}}}


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ([], ["53/udp -> 0.0.0.0:53", "80/tcp -> 127.0.0.1:8080", "8000/tcp -> 0.0.0.0:32768",
              "8000/tcp -> [::]:32768"]),
        (["80"], ["127.0.0.1:8080"]),
        (["8000/tcp"], ["0.0.0.0:32768", "[::]:32768"]),
        (["53/udp"], ["0.0.0.0:53"]),
    ],
)  # fmt: skip
def test_published_ports_are_shown(
    shell: Shell, web: None, words: list[str], lines: list[str]
) -> None:
    assert shell("port", "web", *words).stdout.decode().splitlines() == lines


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("53", "port 53 of web is not published; published are 53/udp, 80/tcp, 8000/tcp"),
        ("443", "port 443 of web is not published; published are 53/udp, 80/tcp, 8000/tcp"),
        ("http", "'http' is no port: write 80 or 53/udp"),
        ("65536", "'65536' is no port: write 80 or 53/udp"),
    ],
)
def test_a_port_that_is_not_published_is_told(
    shell: Shell, web: None, word: str, message: str
) -> None:
    done = shell("port", "web", word)
    assert (done.returncode, done.stderr.decode()) == (1, f"wherry: {message}\n")


def test_a_container_without_a_network_has_no_ports(shell: Shell, engine: Engine) -> None:
    engine.documents = {"GET /containers/web/json": {"NetworkSettings": {}}}
    done = shell("port", "web")
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"port 80 of web is not published; none is" in shell("port", "web", "80").stderr
