"""Options, errors and what is told of them: where containerd, conmon and CRI-O look."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from tests.runtime.bundles import Bundle
from tests.runtime.command.conftest import PROGRAM, Runtime

from wherry import __version__
from wherry.runtime.command.log import quoted
from wherry.runtime.command.options import Arguments, Options, UsageError

Make = Callable[..., Bundle]


@given(some.text())
def test_any_message_is_a_json_string(text: str) -> None:
    assert json.loads(quoted(text)) == text


def test_an_error_is_the_last_line_of_the_json_log(runtime: Runtime, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    log.write_text('{"level":"info","msg":"before"}\n')
    for _ in range(2):
        result = runtime("--log", str(log), "--log-format", "json", "state", "nobody")
        assert (result.returncode, result.stdout) == (1, "")
    first, *entries = map(json.loads, log.read_text().splitlines())
    assert first["msg"] == "before"
    for entry in entries:
        assert entry["level"] == "error"
        assert f"wherry-runtime: {entry['msg']}\n" == result.stderr
        assert datetime.fromisoformat(entry["time"][:26]).year >= 2024


def test_the_log_in_text_is_as_logrus_writes_it(runtime: Runtime, tmp_path: Path) -> None:
    log = tmp_path / "log"
    runtime("--log", str(log), "state", "nobody")
    assert log.read_text().startswith('time="20')
    assert 'level=error msg="container nobody' in log.read_text()


def test_a_log_that_cannot_be_written_is_no_error(runtime: Runtime) -> None:
    assert runtime("--log", "/no/such/folder/log", "list").returncode == 0


def test_the_version_is_in_three_lines_as_go_runc_reads_it(runtime: Runtime) -> None:
    name, commit, spec = runtime.ok("--version").splitlines()
    assert name == f"wherry-runtime version {__version__}"
    assert commit.startswith("commit: ")
    assert spec == "spec: 1.1.0"
    assert runtime.ok("-v") == runtime.ok("--version")


def test_features_are_a_document(runtime: Runtime) -> None:
    features = json.loads(runtime.ok("features"))
    assert features["ociVersionMin"] == "1.0.0"
    assert "createRuntime" in features["hooks"]
    assert {"ro", "rbind"} <= set(features["mountOptions"])
    assert "network" in features["linux"]["namespaces"]


def test_spec_writes_a_bundle_that_runs(runtime: Runtime, tmp_path: Path) -> None:
    runtime.ok("spec", "--bundle", str(tmp_path))
    assert json.loads((tmp_path / "config.json").read_text())["ociVersion"] == "1.1.0"
    again = runtime("spec", "--bundle", str(tmp_path))
    assert again.returncode == 1
    assert "exists" in again.stderr


@pytest.mark.parametrize(
    "line",
    [
        ["nonsense"],
        ["--nonsense", "list"],
        ["--root"],
        ["--log-format", "xml", "list"],
        ["state"],
        ["state", "a", "b"],
        ["kill", "a", "NONSENSE"],
        ["kill", "a", "SIG_BLOCK"],
        ["list", "--format", "xml"],
        ["precompile"],
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(runtime: Runtime, line: list[str]) -> None:
    result = runtime(*line)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("wherry-runtime: ")
    assert result.stderr.count("\n") == 1


def test_help_is_for_people_who_ask(runtime: Runtime) -> None:
    assert "usage" in runtime.ok("--help")
    assert runtime().returncode == 1


def test_options_may_be_written_in_every_way_that_callers_do() -> None:
    for line in (["--file", "x", "a"], ["--file=x", "a"], ["-f", "x", "a"], ["-file=x", "a"]):
        parsed = Arguments(line, values="file|f", switches="all|a")
        assert (parsed.value("file"), parsed.rest) == ("x", ["a"])
    assert "all" in Arguments(["-a"], switches="all|a")
    assert "all" not in Arguments(["--all=false"], switches="all|a")
    assert Arguments(["a", "-x"]).rest == ["a", "-x"]
    assert Arguments(["--", "-x"]).rest == ["-x"]
    with pytest.raises(UsageError, match="needs a value"):
        Arguments(["--file"], values="file")


def test_the_root_is_the_users_own_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert Options(["list"]).root == "/run/user/1000/wherry-runtime"


@pytest.mark.parametrize("command", ["state", "start"])
def test_what_is_asked_often_imports_little(runtime: Runtime, command: str) -> None:
    """msgspec, json and asyncio each cost as much as all else that these commands do."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from wherry.runtime.command.main import answer"
    code += "; answer(sys.argv[1:]); print(*sys.modules)"
    argv = [sys.executable, "-I", "-S", "-c", code]
    result = subprocess.run(
        [*argv, "--root", str(runtime.root), command, "nobody"],
        capture_output=True,
        text=True,
    )
    loaded = set(result.stdout.split())
    assert "wherry.runtime.command.record" in loaded
    assert not loaded & {"msgspec", "json", "asyncio", "ctypes", "subprocess", "re", "argparse"}


def test_who_reads_no_further_is_no_trouble(runtime: Runtime) -> None:
    script = f"{PROGRAM} --root {runtime.root} features | head -c 1"
    result = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("{", "")
