"""Starting the daemon: one for all who come at once, and its last words when it fails."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from wherry.client import Address, Client, DaemonUnreachable

DAEMON = """#!{python}
import os, socket, sys
assert sys.argv[1:] == ["-P", "-m", "wherry.api.daemon"], sys.argv
assert os.environ["LISTEN_FDS"] == "1"
with open("{folder}/started", "a") as file:
    file.write("x")
if "{mode}" == "fail":
    sys.exit("wherryd: the disk is on fire")
listener = socket.socket(fileno=3)
for _ in range({serves}):
    sock, _ = listener.accept()
    sock.recv(1000)
    sock.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\ntrue")
"""


def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, serves: int = 1) -> Address:
    """A program in the daemon's place, and the address where a client starts it."""
    program = tmp_path / "python"
    text = DAEMON.format(python=sys.executable, folder=tmp_path, mode=mode, serves=serves)
    program.write_text(text)
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return Address(path=str(tmp_path / "run" / "wherry.sock"), autostart=True)


def reap() -> None:
    os.waitpid(-1, 0)


def test_the_first_request_starts_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = install(tmp_path, monkeypatch, "serve")
    assert Client(address).get("/version") is True
    assert (tmp_path / "started").read_text() == "x"
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "run" / "wherry.sock").stat().st_mode) == 0o600
    reap()


def test_clients_that_come_together_get_one_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = install(tmp_path, monkeypatch, "serve", serves=3)
    clients = [Client(address) for _ in range(3)]
    pending = [client.start("GET", "/version") for client in clients]
    assert [one.response().json() for one in pending] == [True] * 3
    assert (tmp_path / "started").read_text() == "x"
    reap()


def test_a_socket_without_a_daemon_behind_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    address = install(tmp_path, monkeypatch, "serve")
    (tmp_path / "run").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(address.path)
    assert Client(address).get("/version") is True
    reap()


def test_a_daemon_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = install(tmp_path, monkeypatch, "fail")
    with pytest.raises(DaemonUnreachable, match="the disk is on fire"):
        Client(address).post("/containers/create")
    reap()


def test_a_folder_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = install(tmp_path, monkeypatch, "serve")
    (tmp_path / "run").mkdir()
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    with pytest.raises(DaemonUnreachable, match="belongs to somebody else"):
        Client(address).get("/version")
    assert not (tmp_path / "started").exists()
