"""Completion: what is offered, and that a real shell takes it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Shell
from tests.cli.engine import Engine
from tests.conftest import without

from wherry.cli.commands.completion import SCRIPTS


@pytest.fixture(autouse=True)
def things(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text(
        '{"auths": {"localhost:5000": {}, "https://index.docker.io/v1/": {}}, '
        '"credHelpers": {"r.example.org": "x"}}'
    )
    engine.documents = {
        "GET /containers/json": [
            {"Names": ["/web"], "Image": "hello", "Status": "Up 1 second"},
            {"Names": ["/worker"], "Image": "hello", "Status": "Exited (0)"},
        ],
        "GET /images/json": [
            {"RepoTags": ["hello:latest", "far/away:v1"]}, {"RepoTags": ["<none>:<none>"]},
        ],
        "GET /networks": [
            {"Name": "front", "Driver": "bridge"}, {"Name": "host", "Driver": "host"},
        ],
        "GET /volumes": {"Volumes": [{"Name": "data", "Mountpoint": "/x"}]},
    }  # fmt: skip


def offered(shell: Shell, *words: str) -> tuple[str, list[str]]:
    kind, *lines = shell("__complete", "--", *words).stdout.decode().splitlines()
    assert all("\t" in line for line in lines)
    return kind, [line.partition("\t")[0] for line in lines]


@pytest.mark.parametrize(
    ("words", "kind", "expected"),
    [
        (["ru"], "", ["run"]),
        (["im"], "", ["image", "images"]),
        (["--v"], "", ["--version"]),
        (["container", "pr"], "", ["prune"]),
        (["volume", "r"], "", ["remove", "rm"]),
        (["ins"], "", ["inspect", "install"]),
        (["install", "c"], "", ["containerd", "cri-o"]),
        (["uninstall", "a"], "", ["all"]),
        (["manifest", "c"], "", ["create"]),
        (["pull", "--platform", "linux/arm"], "", ["linux/arm64"]),
        (["push", "far"], "", ["far/away:v1"]),
        (["logout", ""], "", ["localhost:5000", "r.example.org"]),
        (["install", "docker", "--also", "wasme"], "", ["wasmedge", "wasmer"]),
        (["doctor", "--format", ""], "", ["table", "json"]),
        (["volume", "rm", ""], "file", ["data"]),
        (["run", "--entry"], "", ["--entrypoint"]),
        (["run", "--restart", "un"], "", ["unless-stopped"]),
        (["run", "--restart=un"], "", ["--restart=unless-stopped"]),
        (["run", "--rm", "he"], "file", ["hello"]),
        (["run", "-it", "--name", "x", "fa"], "file", ["far/away:v1"]),
        (["run", "--name", "w"], "", []),
        (["run", "hello", "x"], "file", []),
        (["run", "-v", "da"], "file", ["data"]),
        (["run", "--env-file", "x"], "file", []),
        (["stop", "w"], "", ["web", "worker"]),
        (["stop", "web", "wo"], "", ["worker"]),
        (["logs", "web", "w"], "", []),
        (["cp", "w"], "file", ["web:", "worker:"]),
        (["inspect", "--type", "vo"], "", ["volume"]),
        (["network", "c"], "", ["connect", "create"]),
        (["network", "rm", "front", "h"], "", ["host"]),
        (["network", "connect", "f"], "", ["front"]),
        (["network", "connect", "front", "we"], "", ["web"]),
        (["network", "inspect", ""], "", ["front", "host"]),
        (["run", "--network", "f"], "", ["front"]),
        (["run", "--network=f"], "", ["--network=front"]),
        (["run", "--network", "container:we"], "", ["container:web"]),
        (["create", "--link", "wo"], "", ["worker"]),
        (["port", "we"], "", ["web"]),
        (["port", "web", ""], "", []),
        (["inspect", ""], "", ["web", "worker", "far/away:v1", "hello", "front", "host", "data"]),
        (["build", "x"], "directory", []),
        (["build", "-f", "x"], "file", []),
        (["completion", "b"], "", ["bash"]),
        (["nosuch", "x"], "", []),
        (["__"], "", []),
    ],
)  # fmt: skip
def test_what_is_offered(shell: Shell, words: list[str], kind: str, expected: list[str]) -> None:
    assert offered(shell, *words) == (kind, expected)


def test_without_an_engine_commands_and_flags_are_offered(shell: Shell) -> None:
    shell.daemon.__exit__(None, None, None)
    assert offered(shell, "stop", "w") == ("", [])
    assert offered(shell, "stop", "--ti") == ("", ["--time", "--timeout"])


@pytest.fixture
def on_path(shell: Shell) -> dict[str, str]:
    """An environment in which `wherry` is a command."""
    program = shell.folder / "wherry"
    program.write_text(
        f"#!{sys.executable}\nfrom wherry.cli.main import main\nmain()\n", encoding="utf-8"
    )
    program.chmod(0o755)
    return {**shell.environment, "PATH": f"{shell.folder}:{os.environ['PATH']}"}


BASH = """
source <(wherry completion bash)
COMP_LINE="$1" COMP_POINT=${#1}
COMP_WORDS=($2) COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
[[ $2 == *" " ]] && COMP_WORDS+=("") && COMP_CWORD=$(( COMP_CWORD + 1 ))
compopt() { :; }
_wherry
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "split", "expected"),
    [
        ("wherry stop w", "wherry stop w", ["web", "worker"]),
        ("wherry stop ", "wherry stop ", ["web", "worker"]),
        ("wherry run --restart=on", "wherry run --restart = on", ["on-failure"]),
        ("wherry run --restart=", "wherry run --restart =",
         ["no", "on-failure", "always", "unless-stopped"]),
        ("wherry run far/away:", "wherry run far/away :", ["v1"]),
        ("wherry run far/away:v", "wherry run far/away : v", ["v1"]),
        ("wherry volume in", "wherry volume in", ["inspect"]),
        ("wherry run --network f", "wherry run --network f", ["front"]),
        ("wherry run --net container:wo", "wherry run --net container : wo", ["worker"]),
    ],
)  # fmt: skip
def test_bash_takes_it(
    on_path: dict[str, str], tmp_path: Path, line: str, split: str, expected: list[str]
) -> None:
    done = subprocess.run(
        ["bash", "-c", BASH, "bash", line, split],
        capture_output=True, env=on_path, text=True, cwd="/",
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.split() == expected


@pytest.mark.parametrize("shell_name", sorted(SCRIPTS))
def test_scripts_are_valid(shell_name: str) -> None:
    program = shutil.which(shell_name)
    if program is None:
        without(f"{shell_name} is not installed")
    done = subprocess.run(
        [program, "-n"], input=SCRIPTS[shell_name], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_fish_takes_it(on_path: dict[str, str]) -> None:
    if shutil.which("fish") is None:
        without("fish is not installed")
    script = "wherry completion fish | source; complete --do-complete 'wherry stop w'"
    done = subprocess.run(["fish", "-c", script], capture_output=True, env=on_path, text=True)
    assert done.stdout.splitlines() == ["web\thello, Up 1 second", "worker\thello, Exited (0)"]


ZSH = """
autoload -U compinit && compinit -D -u
source <(wherry completion zsh)
_describe() { for line in "${(@P)3}"; do print -r -- "$line"; done }
words=(wherry stop w) CURRENT=3
_wherry
"""


def test_fish_takes_names_of_networks(on_path: dict[str, str]) -> None:
    if shutil.which("fish") is None:
        without("fish is not installed")
    script = "wherry completion fish | source; complete --do-complete 'wherry run --network '"
    done = subprocess.run(["fish", "-c", script], capture_output=True, env=on_path, text=True)
    assert done.stdout.splitlines() == [
        "container:web\tits network", "container:worker\tits network",
        "front\tbridge", "host\thost",
    ]  # fmt: skip


def test_zsh_takes_it(on_path: dict[str, str]) -> None:
    if shutil.which("zsh") is None:
        without("zsh is not installed")
    done = subprocess.run(["zsh", "-f", "-c", ZSH], capture_output=True, env=on_path, text=True)
    assert done.stdout.splitlines() == ["web:hello, Up 1 second", "worker:hello, Exited (0)"]
