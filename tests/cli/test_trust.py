"""Signing and verifying with engines that know nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Shell
from tests.cli.engine import Engine
from tests.client.fake_daemon import Answer

KEY = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"


@pytest.mark.parametrize("command", [("run", "--rm"), ("create",), ("pull",)])
def test_another_engine_is_not_trusted_to_verify(
    shell: Shell, engine: Engine, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "my.pub").write_text(KEY)
    engine.documents["GET /_ping"] = Answer(200, b"OK", {"Server": "Docker/28.0 (linux)"})
    done = shell(*command, "--verify-key", "my.pub", "hello")
    assert done.returncode == 125
    assert b"only wherry's own engine verifies signatures" in done.stderr
    assert not [each for each in shell.daemon.requests if each.method == "POST"]


def test_the_key_goes_to_wherrys_own_engine(shell: Shell, engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "my.pub").write_text(KEY)
    engine.documents["GET /_ping"] = Answer(200, b"OK", {"Server": "wherry/0.1 (linux)"})
    assert shell("create", "--verify-key", "my.pub", "hello").returncode == 0
    (made,) = [each for each in shell.daemon.requests if each.method == "POST"]
    assert made.headers["x-wherry-verify-key"].startswith("LS0tLS1CRUdJTiBQVUJMSUMgS0VZ")


def test_a_private_key_is_never_sent(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "my.key").write_text(KEY.replace("PUBLIC", "PRIVATE"))
    done = shell("run", "--verify-key", "my.key", "hello")
    assert done.returncode == 125
    assert b"is a private key" in done.stderr
    assert shell.daemon.requests == []


def test_another_engines_images_are_for_cosign(shell: Shell, engine: Engine) -> None:
    engine.refusals["GET /images/hello/signatures"] = (404, "page not found")
    done = shell("verify", "hello")
    assert done.returncode == 1
    assert b"for another's images use cosign" in done.stderr
