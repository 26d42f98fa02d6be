"""Logins in Docker's `config.json`: found as Docker finds them, kept as Docker keeps them."""

from __future__ import annotations

import base64
import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.client.helper_program import helper

from wherry.client.credential_helper import HelperFailed
from wherry.client.credentials import DEFAULT_SERVER, Credentials, Login, encoded
from wherry.client.docker_config import DockerConfig, InvalidConfig


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker's folder; no program is on the PATH but what a test puts into `bin`."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_AUTH_CONFIG", raising=False)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def write(folder: Path, document: Any) -> None:
    (folder / "config.json").write_text(json.dumps(document))


def read(folder: Path) -> Any:
    return json.loads((folder / "config.json").read_text())


def auth(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def found(domain: str) -> dict[str, Any]:
    return Credentials().find(domain).document()


def test_without_a_file_there_is_no_login(folder: Path) -> None:
    login = Credentials().find("localhost:5000")
    assert not login
    assert not Credentials().erase("localhost:5000")
    assert list(folder.iterdir()) == [folder / "bin"]


def test_what_docker_stored_is_found(folder: Path) -> None:
    write(folder, {"auths": {
        DEFAULT_SERVER: {"auth": auth("hub", "s:e:c")},
        "localhost:5000": {"auth": auth("me", "pässwort")},
        "https://old.example.org/v1/": {"auth": auth("old", "x\0")},
        "token.example.org": {"auth": auth("t", ""), "identitytoken": "abc"},
        "plain.example.org": {"username": "p", "password": "q", "registrytoken": "r"},
    }})  # fmt: skip
    hub = {"username": "hub", "password": "s:e:c", "serveraddress": DEFAULT_SERVER}
    assert found("docker.io") == found("index.docker.io") == hub
    assert found("localhost:5000")["password"] == "pässwort"
    assert found("old.example.org")["username"] == "old"
    assert found("old.example.org")["password"] == "x"
    assert found("token.example.org")["identitytoken"] == "abc"
    assert found("plain.example.org")["registrytoken"] == "r"
    assert not Credentials().find("localhost:5001")


def test_a_login_is_kept_beside_everything_else(folder: Path) -> None:
    before = {
        "psFormat": "table {{.ID}} <&> ü", "auths": {"a": {"auth": auth("a", "b"), "email": "@"}},
        "plugins": {"x": {"n": 1.5}}, "credHelpers": {},
    }  # fmt: skip
    write(folder, before)
    os.chmod(folder / "config.json", 0o644)
    told = Credentials().store(Login("localhost:5000", "me", "secret"))
    assert told == str(folder / "config.json")
    after = read(folder)
    assert list(after) == list(before)
    assert after["auths"].pop("localhost:5000") == {"auth": auth("me", "secret")}
    assert after == before
    assert stat.S_IMODE((folder / "config.json").stat().st_mode) == 0o600
    assert Credentials().store(Login("a", "n", identity_token="t")) == ""
    expected = {"email": "@", "auth": auth("n", ""), "identitytoken": "t"}
    assert read(folder)["auths"]["a"] == expected
    assert sorted(p.name for p in folder.iterdir()) == ["bin", "config.json"]


def test_the_first_login_makes_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_CONFIG")
    monkeypatch.setenv("HOME", str(folder / "home"))
    (folder / "home").mkdir()
    Credentials().store(Login("localhost:5000", "me", "secret"))
    path = folder / "home/.docker/config.json"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_symbolic_link_stays_one(folder: Path) -> None:
    target = folder / "dotfiles" / "docker.json"
    target.parent.mkdir()
    (folder / "config.json").symlink_to("dotfiles/docker.json")
    Credentials().store(Login("one", "me", "secret"))
    assert (folder / "config.json").is_symlink()
    assert list(json.loads(target.read_text())["auths"]) == ["one"]
    Credentials().erase("one")
    assert json.loads(target.read_text())["auths"] == {}
    assert [p.name for p in target.parent.iterdir()] == ["docker.json"]


def test_a_killed_writer_leaves_the_old_file_and_is_cleared_away(folder: Path) -> None:
    write(folder, {"auths": {"a": {"auth": auth("a", "b")}}})
    (folder / "config.json.wherry-part").write_text("{half")
    assert found("a")["password"] == "b"
    Credentials().store(Login("c", "c", "d"))
    assert set(read(folder)["auths"]) == {"a", "c"}
    assert not (folder / "config.json.wherry-part").exists()


def test_a_full_disk_leaves_the_old_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, {"auths": {"a": {"auth": auth("a", "b")}}})
    before = (folder / "config.json").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InvalidConfig, match="No space left on device"):
        Credentials().store(Login("c", "c", "d"))
    assert (folder / "config.json").read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == ["bin", "config.json"]


def test_logins_at_once_are_all_kept(folder: Path) -> None:
    program = (
        "import sys; from wherry.client.credentials import Credentials, Login\n"
        "for n in range(20): Credentials().store(Login(f'{sys.argv[1]}-{n}', 'u', 'p'))"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", program, name], env={**os.environ})
        for name in ("a", "b", "c")
    ]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert len(read(folder)["auths"]) == 60


def test_logout_takes_old_keys_along(folder: Path) -> None:
    keys = ("https://r.example.org", "http://r.example.org", "r.example.org", "other")
    write(folder, {"auths": {key: {"auth": auth("a", "b")} for key in keys}})
    assert Credentials().erase("r.example.org")
    assert list(read(folder)["auths"]) == ["other"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "correct it, or remove it"),
        ("[]", "holds no JSON object"),
        ('{"auths": []}', ""),
        ('{"auths": 7}', "'auths' is no object"),
        ('{"auths": {"r": 7}}', "log in again"),
        ('{"auths": {"r": {"auth": "%%%"}}}', "log in again"),
        ('{"auths": {"r": {"auth": "bm9jb2xvbg=="}}}', "log in again"),
        ('{"auths": {"r": {"auth": {"a": 1}}}}', "log in again"),
        ("[" * 100_000, "correct it, or remove it"),
    ],
)
def test_a_broken_file_is_told_and_never_overwritten(folder: Path, text: str, said: str) -> None:
    (folder / "config.json").write_text(text)
    if not said:
        assert not Credentials().find("r")
        return
    with pytest.raises(InvalidConfig, match=said) as caught:
        Credentials().find("r")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300 + len(str(folder))
    if said != "log in again":
        with pytest.raises(InvalidConfig):
            Credentials().store(Login("r", "a", "b"))
        assert (folder / "config.json").read_text() == text


def test_the_general_helper_has_the_passwords(folder: Path) -> None:
    store = helper(folder, "mine")
    write(folder, {"credsStore": "mine"})
    assert Credentials().store(Login("localhost:5000", "me", "secret")) == ""
    assert json.loads(store.read_text()) == {"localhost:5000": ["me", "secret"]}
    assert read(folder) == {"credsStore": "mine", "auths": {"localhost:5000": {}}}
    assert found("localhost:5000")["password"] == "secret"
    assert not Credentials().find("localhost:5001")
    assert Credentials().erase("localhost:5000")
    assert json.loads(store.read_text()) == {}
    assert read(folder)["auths"] == {}


def test_a_token_is_kept_under_its_own_user_name(folder: Path) -> None:
    store = helper(folder, "mine")
    write(folder, {"credHelpers": {"r.example.org": "mine"}})
    Credentials().store(Login("r.example.org", "me", identity_token="tok"))
    assert json.loads(store.read_text()) == {"r.example.org": ["<token>", "tok"]}
    expected = {"serveraddress": "r.example.org", "identitytoken": "tok"}
    assert found("r.example.org") == expected


def test_a_registry_may_have_a_helper_of_its_own(folder: Path) -> None:
    helper(folder, "general", **{DEFAULT_SERVER: ("hub", "1"), "b": ("b", "2")})
    helper(folder, "special", a=("a", "3"))
    write(folder, {
        "credsStore": "general", "credHelpers": {"a": "special", "gone": "missing"},
        "auths": {"file": {"auth": auth("f", "4")}},
    })  # fmt: skip
    assert [found(name)["password"] for name in ("docker.io", "a", "b")] == ["1", "3", "2"]
    told: list[str] = []
    everything = Credentials().everything(told.append)
    passwords = {key: login.password for key, login in everything.items()}
    assert passwords == {"file": "4", DEFAULT_SERVER: "1", "b": "2", "a": "3"}
    assert len(told) == 1 and told[0].startswith("docker-credential-missing is not on the PATH")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo the keyring is locked; exit 1", "docker-credential-bad get: the keyring is locked"),
        ("exit 3", "docker-credential-bad get: exit code 3"),
        ("echo hello", "docker-credential-bad get did not answer with a JSON object"),
        ("echo '{\"Username\": 7}'", "user name and secret are no texts"),
        ("while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done", "does not stop talking"),
    ],
)
def test_what_a_helper_does_wrong_is_told(folder: Path, script: str, said: str) -> None:
    program = folder / "bin" / "docker-credential-bad"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    write(folder, {"credsStore": "bad"})
    with pytest.raises(HelperFailed, match=said):
        Credentials().find("localhost:5000")


def test_a_helper_is_a_name_and_no_path(folder: Path) -> None:
    write(folder, {"credsStore": "../../tmp/evil"})
    with pytest.raises(HelperFailed, match="is no name of a credential helper"):
        Credentials().find("localhost:5000")


def test_without_any_login_the_usual_helper_is_taken_and_written_down(folder: Path) -> None:
    store = helper(folder, "secretservice")
    Credentials().store(Login("localhost:5000", "me", "secret"))
    assert json.loads(store.read_text()) == {"localhost:5000": ["me", "secret"]}
    assert read(folder) == {"auths": {"localhost:5000": {}}, "credsStore": "secretservice"}
    write(folder, {"auths": {"a": {}}})
    assert Credentials().store(Login("b", "me", "secret")).endswith("config.json")


def test_the_environment_goes_before_what_is_stored(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, {"auths": {"a": {"auth": auth("a", "1")}, "b": {"auth": auth("b", "2")}}})
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {"a": {"auth": auth("x", "9")}}}))
    assert (found("a")["password"], found("b")["password"]) == ("9", "2")
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", "{")
    with pytest.raises(InvalidConfig, match=r"\$DOCKER_AUTH_CONFIG is not JSON$"):
        found("a")


def test_no_password_is_shown_of_a_file_that_is_broken(folder: Path) -> None:
    (folder / "config.json").write_text('{"auths": {"a": {"auth": "c2VjcmV0"}')
    with pytest.raises(InvalidConfig, match=r"config\.json is not JSON; correct it") as raised:
        found("a")
    assert "c2VjcmV0" not in str(raised.value)


def test_the_header_is_what_dockers_engine_decodes() -> None:
    login = Login("localhost:5000", "me", "¿~~>>>???ÿ")
    (header,) = login.headers()
    name, _, value = header.partition(": ")
    assert name == "X-Registry-Auth"
    assert not set(value) & set("+/\r\n")
    assert json.loads(base64.urlsafe_b64decode(value)) == login.document()
    assert encoded({}) == base64.urlsafe_b64encode(b"{}").decode()


def test_a_file_too_long_to_be_a_config_is_refused(folder: Path) -> None:
    with (folder / "config.json").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(InvalidConfig, match="is longer than"):
        DockerConfig().read()
