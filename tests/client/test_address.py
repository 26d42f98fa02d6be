"""Where a daemon listens."""

from __future__ import annotations

import pytest

from wherry.client import InvalidAddress, default_address, parse_address


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock"),
        ("/run/w.sock", "unix:///run/w.sock"),
        ("tcp://127.0.0.1:2375", "tcp://127.0.0.1:2375"),
        ("tcp://[::1]:2375", "tcp://::1:2375"),
        ("localhost:2375", "tcp://localhost:2375"),
        ("tcp://:2375/", "tcp://localhost:2375"),
    ],
)
def test_addresses(text: str, shown: str) -> None:
    assert str(parse_address(text)) == shown


@pytest.mark.parametrize(
    "text", ["ssh://host", "tcp://host", "tcp://host:port", "tcp://h:99999", "unix://relative", ""]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_address(text)


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERRY_HOST", "tcp://there:1")
    assert str(default_address()) == "tcp://there:1"
    assert not default_address().autostart
    monkeypatch.delenv("WHERRY_HOST")
    monkeypatch.setenv("WHERRY_RUN", "/some/where")
    assert str(default_address()) == "unix:///some/where/wherry.sock"
    assert default_address().autostart


def test_each_user_has_a_socket_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WHERRY_HOST", raising=False)
    monkeypatch.delenv("WHERRY_RUN", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 1234)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1234")
    assert default_address().path == "/run/user/1234/wherry/wherry.sock"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert default_address().path == "/tmp/wherry-1234/wherry.sock"
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_address().path == "/run/wherry/wherry.sock"
