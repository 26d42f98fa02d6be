"""Start-up is the product: what a `wherry run` imports is counted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import COMMAND, Shell
from tests.cli.engine import Engine
from tests.client.fake_daemon import Answer

FORBIDDEN = {
    "argparse", "asyncio", "base64", "collections", "contextlib", "dataclasses", "datetime", "enum",
    "functools", "hashlib", "http", "inspect", "json", "logging", "msgspec", "pathlib", "re",
    "selectors", "shutil", "signal", "socket", "ssl", "subprocess", "tarfile", "tempfile",
    "threading", "typing", "urllib", "uuid", "warnings", "wherry.install", "wherry.wasm",
}  # fmt: skip
PROGRAM = (
    "import sys; before = set(sys.modules); import os; leave = os._exit\n"
    "def tell(code):\n"
    "    sys.stderr.write('\\n'.join(sorted(set(sys.modules) - before)))\n"
    "    sys.stderr.flush()\n"
    "    leave(code)\n"
    "os._exit = tell\n"
    "from wherry.cli.main import main; main()"
)


def imported(shell: Shell, *words: str) -> set[str]:
    """What a command imports beyond what a bare interpreter has."""
    done = subprocess.run(
        [COMMAND[0], "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{PROGRAM}", *words],
        capture_output=True,
        env=shell.environment,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.removeprefix("done\n").splitlines())


@pytest.mark.parametrize("words", [("run", "--rm", "hello"), ("run", "-d", "-e", "A=b", "hello")])
def test_a_run_imports_nothing_heavy(shell: Shell, words: tuple[str, ...]) -> None:
    modules = imported(shell, *words)
    assert {name for name in modules if name in FORBIDDEN} == set()
    assert "wherry.cli.commands.run" in modules
    assert {name for name in modules if name.startswith("wherry.cli.commands.")} == {
        "wherry.cli.commands.run"
    }


def test_other_commands_stay_out_of_the_way_too(shell: Shell, engine: Engine) -> None:
    engine.documents["GET /containers/json"] = []
    modules = imported(shell, "ps", "-q")
    assert {name for name in modules if name in FORBIDDEN - {"typing"}} == set()


def test_a_list_of_images_knows_nothing_of_registries(shell: Shell, engine: Engine) -> None:
    engine.documents["GET /images/json"] = []
    modules = imported(shell, "images", "--digests")
    assert {name for name in modules if name in FORBIDDEN - {"typing"}} == set()
    assert not {name for name in modules if name.startswith(("wherry.client.cred", "wherry.trust"))}


def test_a_pull_starts_as_fast_as_a_run(shell: Shell, engine: Engine) -> None:
    engine.documents["POST /images/create"] = Answer(200, b'{"status":"Status: done"}\n')
    modules = imported(shell, "pull", "-q", "web")
    assert {name for name in modules if name in FORBIDDEN | {"binascii", "termios"}} == set()


def test_a_build_starts_as_fast_as_a_run(shell: Shell, engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    engine.documents["POST /build"] = Answer(200, b'{"aux":{"ID":"sha256:1"}}\n')
    modules = imported(shell, "build", "-q", str(tmp_path))
    assert {name for name in modules if name in FORBIDDEN} == set()
