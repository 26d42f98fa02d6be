"""`wherry login` and `logout`, typed at a terminal and in scripts."""

from __future__ import annotations

import base64
import json
import os
import pty
import select
import signal
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import COMMAND, Shell
from tests.cli.engine import Engine
from tests.client.fake_daemon import Answer, Request, json_answer


@pytest.fixture(autouse=True)
def docker_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker's folder, with a file in it so that no keyring of this machine is looked for."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.delenv("DOCKER_AUTH_CONFIG", raising=False)
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text('{"auths": {"other": {}}}')
    return tmp_path / "docker"


class Registry(Engine):
    """An engine that knows one password."""

    token = ""

    def __call__(self, request: Request) -> Any:
        if f"{request.method} {request.path}" != "POST /auth":
            return super().__call__(request)
        if request.json.get("password") != "right":
            return json_answer({"message": "unauthorized: incorrect username or password"}, 401)
        return json_answer({"Status": "Login Succeeded", "IdentityToken": self.token})


@pytest.fixture
def engine() -> Registry:
    return Registry()


def stored(folder: Path, server: str) -> Any:
    return json.loads((folder / "config.json").read_text())["auths"].get(server)


def auth(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


class Terminal:
    """A command at a terminal of its own: what it shows, and what is typed."""

    def __init__(self, shell: Shell, *words: str) -> None:
        self.master, slave = pty.openpty()
        self.shown = b""
        self.process = subprocess.Popen(
            [*COMMAND, *words], stdin=slave, stdout=slave, stderr=slave, env=shell.environment,
            cwd=shell.folder, start_new_session=True,
        )  # fmt: skip
        os.close(slave)

    def expect(self, text: bytes) -> None:
        """Waits until this is shown."""
        while text not in self.shown:
            assert select.select([self.master], [], [], 60)[0], self.shown
            self.shown += os.read(self.master, 4096)

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.master)[3] & termios.ECHO)

    def end(self) -> int:
        """The exit code; all that was shown is in `shown`."""
        code = self.process.wait(60)
        while select.select([self.master], [], [], 0)[0]:
            try:
                self.shown += os.read(self.master, 4096)
            except OSError:
                break
        os.close(self.master)
        return code


def test_a_password_from_stdin(shell: Shell, docker_folder: Path) -> None:
    words = ("login", "-u", "me", "--password-stdin", "localhost:5000")
    done = shell(*words, input=b"right\n")
    assert (done.returncode, done.stdout) == (0, b"Login Succeeded\n")
    assert done.stderr.decode() == (
        f"wherry: warning: the password is kept unencrypted in {docker_folder}/config.json; "
        "a credential helper ('credsStore' there) keeps it better\n"
    )
    assert stored(docker_folder, "localhost:5000") == {"auth": auth("me", "right")}
    assert shell.daemon.requests[-1].json == {
        "username": "me", "password": "right", "serveraddress": "localhost:5000",
    }  # fmt: skip
    again = shell(*words, input=b"right")
    assert (again.returncode, again.stdout) == (0, b"Login Succeeded\n")


def test_a_wrong_password_is_not_kept(shell: Shell, docker_folder: Path) -> None:
    done = shell("login", "-u", "me", "--password-stdin", "localhost:5000", input=b"wrong")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"wherry: unauthorized: incorrect username or password\n"
    assert stored(docker_folder, "localhost:5000") is None


def test_a_password_on_the_command_line_is_warned_of(shell: Shell) -> None:
    done = shell("login", "-u", "me", "-p", "right", "https://localhost:5000/v2/")
    assert done.returncode == 0
    assert b"use --password-stdin" in done.stderr.splitlines()[0]
    assert shell.daemon.requests[-1].json["serveraddress"] == "localhost:5000"


def test_a_token_takes_the_passwords_place(
    shell: Shell, engine: Registry, docker_folder: Path
) -> None:
    engine.token = "given"
    done = shell("login", "-u", "me", "-p", "-", "r.example.org", input=b"right\r\n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert stored(docker_folder, "r.example.org") == {
        "auth": auth("me", ""), "identitytoken": "given",
    }  # fmt: skip


def test_without_a_name_it_is_docker_io(shell: Shell, docker_folder: Path) -> None:
    for words in ([], ["docker.io"], ["https://index.docker.io/v1/"]):
        assert shell("login", "-u", "me", "-p", "right", *words).returncode == 0
    assert stored(docker_folder, "https://index.docker.io/v1/")
    done = shell("logout")
    assert done.stdout == b"Removing login credentials for https://index.docker.io/v1/\n"
    assert stored(docker_folder, "https://index.docker.io/v1/") is None


def test_user_and_password_are_asked_for_and_the_password_is_not_shown(
    shell: Shell, docker_folder: Path
) -> None:
    terminal = Terminal(shell, "login", "localhost:5000")
    terminal.expect(b"Username: ")
    terminal.type(b"me\n")
    terminal.expect(b"Password: ")
    assert not terminal.echoes
    terminal.type(b"right\n")
    terminal.expect(b"Login Succeeded")
    assert terminal.end() == 0
    assert b"right" not in terminal.shown
    assert stored(docker_folder, "localhost:5000") == {"auth": auth("me", "right")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_login_that_is_ended_leaves_a_terminal_that_echoes(
    shell: Shell, number: signal.Signals
) -> None:
    terminal = Terminal(shell, "login", "-u", "me", "localhost:5000")
    terminal.expect(b"Password: ")
    assert not terminal.echoes
    terminal.process.send_signal(number)
    assert terminal.process.wait(60) == 128 + number
    assert terminal.echoes
    terminal.end()


def test_a_stored_login_is_used_again_and_asked_anew_when_it_fails(
    shell: Shell, docker_folder: Path
) -> None:
    config = {"auths": {"localhost:5000": {"auth": auth("me", "right")}}}
    (docker_folder / "config.json").write_text(json.dumps(config))
    done = shell("login", "localhost:5000")
    assert (done.returncode, done.stdout) == (0, b"Login Succeeded\n")
    assert b"stored login of me; 'wherry logout localhost:5000' forgets it" in done.stderr
    config["auths"]["localhost:5000"]["auth"] = auth("me", "old")
    (docker_folder / "config.json").write_text(json.dumps(config))
    terminal = Terminal(shell, "login", "localhost:5000")
    terminal.expect(b"Username (me): ")
    terminal.type(b"\n")
    terminal.expect(b"Password: ")
    terminal.type(b"right\n")
    terminal.expect(b"Login Succeeded")
    assert terminal.end() == 0
    assert b"the stored login does not work any more: unauthorized" in terminal.shown


@pytest.mark.parametrize(
    ("words", "input", "said"),
    [
        (["-u", "me"], b"", "stdin is no terminal to ask at; use --username and --password-stdin"),
        (["--password-stdin"], b"x", "--password-stdin needs --username"),
        (["-u", "me", "-p", "x", "--password-stdin"], b"x", "exclude each other"),
        (["-u", "me", "--password-stdin"], b" \n", "stdin holds no password"),
        (["-u", "", "-p", "x"], b"", "--username is empty"),
        (["-u", "me", "-p", ""], b"", "--password is empty"),
        (["https://"], b"", "is no registry"),
    ],
)
def test_what_is_missing_is_told(shell: Shell, words: list[str], input: bytes, said: str) -> None:
    done = shell("login", *words, input=input)
    assert done.returncode != 0 and done.stdout == b""
    assert said in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1
    assert shell.daemon.paths() == []


def test_logging_out_twice_is_told(shell: Shell, docker_folder: Path) -> None:
    (docker_folder / "config.json").write_text('{"auths": {"https://r": {"auth": "YTpi"}}}')
    assert shell("logout", "r").stderr == b""
    done = shell("logout", "r")
    assert (done.returncode, done.stderr) == (0, b"wherry: there was no login for r\n")


def test_a_login_goes_along_with_a_pull_and_only_to_its_registry(
    shell: Shell, engine: Registry, docker_folder: Path
) -> None:
    config = {"auths": {"localhost:5000": {"auth": auth("me", "right")}}}
    (docker_folder / "config.json").write_text(json.dumps(config))
    engine.documents["POST /images/create"] = Answer(200, b'{"status":"Status: done"}\n')
    assert shell("pull", "-q", "localhost:5000/web").returncode == 0
    header = shell.daemon.requests[-1].headers["x-registry-auth"]
    assert json.loads(base64.urlsafe_b64decode(header))["password"] == "right"
    assert shell("pull", "-q", "other.example.org/web").returncode == 0
    assert "x-registry-auth" not in shell.daemon.requests[-1].headers


@pytest.mark.parametrize("words", [["pull", "-q", "web"], ["build", "-q", "context"]])
def test_a_file_that_cannot_be_read_is_warned_of_and_done_without(
    shell: Shell, engine: Registry, docker_folder: Path, words: list[str]
) -> None:
    (docker_folder / "config.json").write_text("{")
    (shell.folder / "context").mkdir()
    (shell.folder / "context/Dockerfile").write_text("FROM scratch\n")
    engine.documents["POST /images/create"] = Answer(200, b'{"status":"Status: done"}\n')
    engine.documents["POST /build"] = Answer(200, b'{"aux":{"ID":"sha256:abc"}}\n')
    done = shell(*words)
    assert done.returncode == 0
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("wherry: warning: ") and "going on without" in line
    refused = shell("login", "-u", "me", "--password-stdin", "r", input=b"right")
    assert refused.returncode == 1 and b"correct it, or remove it" in refused.stderr
    assert (docker_folder / "config.json").read_text() == "{"
