"""The files for a cluster: an API server would take them, and the node's script does its work."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from tests.conftest import without
from tests.install.conftest import COMMANDS

from wherry import __version__
from wherry.cli.main import run
from wherry.install import InstallError
from wherry.install.kubernetes import FILES, manifests

IMAGE = "registry.example/wherry-node:1"
NAMES = {"image": IMAGE, "example": "registry.example/hello:1"}
OLDEST, NEWEST = "1.27", "1.34"


def documents(name: str) -> list[dict[str, object]]:
    return list(yaml.safe_load_all(manifests(**NAMES)[name]))


@pytest.mark.parametrize("name", ["wherry.yaml", "example.yaml"])
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_document_is_what_the_api_defines(name: str, version: str) -> None:
    for document in documents(name):
        kubernetes_validate.validate(document, version, strict=True)


def test_the_parts_name_each_other() -> None:
    kinds = {str(document["kind"]): document for document in documents("wherry.yaml")}
    assert kinds["RuntimeClass"]["handler"] == "wherry"
    daemon = yaml.safe_dump(kinds["DaemonSet"])
    assert IMAGE in daemon and "hostPID: true" in daemon
    (example,) = documents("example.yaml")
    assert "runtimeClassName: wherry" in yaml.safe_dump(example)
    assert "registry.example/hello:1" in yaml.safe_dump(example)
    dockerfile = manifests(**NAMES)["Dockerfile"]
    assert f"wherry=={__version__}" in dockerfile and f"/opt/wherry/{__version__}" in dockerfile
    assert "@" not in "".join(manifests(**NAMES).values()).replace('"$@"', "")


@pytest.mark.parametrize(
    "wrong", [{"image": "a b"}, {"image": ""}, {"example": "x\n- y"}, {"namespace": "A/b"}]
)
def test_no_name_breaks_out_of_its_place(wrong: dict[str, str]) -> None:
    with pytest.raises(InstallError):
        manifests(**{**NAMES, **wrong})


def test_files_are_written_and_not_overwritten(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["install", "kubernetes", "--output", str(tmp_path / "k8s"), "--image", IMAGE]
    assert run([*words, "--dry-run"]) == 0
    assert not (tmp_path / "k8s").exists()
    assert run(words) == run(words) == 0
    assert {path.name for path in (tmp_path / "k8s").iterdir()} == set(FILES)
    (tmp_path / "k8s" / "wherry.yaml").write_text("mine")
    assert run(words) == 1
    assert "say --force" in capfd.readouterr().err
    assert (tmp_path / "k8s" / "wherry.yaml").read_text() == "mine"
    assert run([*words, "--force"]) == 0
    assert "DaemonSet" in (tmp_path / "k8s" / "wherry.yaml").read_text()


def test_the_script_is_good_shell(tmp_path: Path) -> None:
    script = tmp_path / "node.sh"
    script.write_text(manifests(**NAMES)["node.sh"])
    assert subprocess.run(["sh", "-n", str(script)]).returncode == 0
    if shutil.which("shellcheck") is None:
        without("shellcheck is not installed")
    done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@dataclass
class Node:
    """The DaemonSet's container as it sees a node, with an API server that always agrees."""

    folder: Path

    @property
    def host(self) -> Path:
        return self.folder / "host"

    @property
    def wherry(self) -> Path:
        return self.folder / "wherry" / "1"

    def start(self, *words: str, status: str = "200", answer: str = "{}") -> subprocess.Popen[str]:
        (self.folder / "status").write_text(status)
        (self.folder / "reply").write_text(answer)
        return subprocess.Popen(
            ["sh", str(self.folder / "node.sh"), *words],
            env={
                "PATH": f"{self.folder}/bin:{os.environ['PATH']}:/usr/sbin:/sbin",
                "HOST": str(self.host), "STATE": str(self.folder), "WHERRY": str(self.wherry),
                "NODE_NAME": "node-1", "NAMESPACE": "wherry", "FOLDER": str(self.folder),
            },
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def set_up(self) -> None:
        """Run it until it says it is ready, then end it as the kubelet does."""
        process = self.start("set-up")
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("ready"):
                break
        os.kill(process.pid, signal.SIGTERM)
        code = process.wait(60)
        process.stdout.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        assert code == 0, said

    def leave(self, status: str, answer: str = "{}") -> tuple[int, str]:
        process = self.start("leave", status=status, answer=answer)
        said, _ = process.communicate(timeout=60)
        return process.returncode, said

    def calls(self) -> str:
        return (self.folder / "calls").read_text()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    (node.wherry / "bin").mkdir(parents=True)
    for name in COMMANDS:
        (node.wherry / "bin" / name).write_text("#!/bin/sh\n")
        (node.wherry / "bin" / name).chmod(0o755)
    program = node.wherry / "bin" / "wherry"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path[:] = {sys.path!r}\n"
        "from wherry.cli.main import main\nmain()\n"
    )
    program.chmod(0o755)
    (tmp_path / "bin").mkdir()
    for name, script in {
        "curl": 'echo curl "$@" >>"$FOLDER/calls"; cp "$FOLDER/reply" "$FOLDER/answer"; '
        'cat "$FOLDER/status"',
        "nsenter": 'echo nsenter "$@" >>"$FOLDER/calls"',
        "cat": 'case $1 in /var/run/secrets/*) echo token ;; *) exec /bin/cat "$@" ;; esac',
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "calls").write_text("")
    (tmp_path / "node.sh").write_text(manifests(**NAMES)["node.sh"])
    (node.host / "etc" / "containerd").mkdir(parents=True)
    (node.host / "etc" / "containerd" / "config.toml").write_text("version = 3\n")
    yield node


def test_a_node_is_set_up_and_labelled(node: Node) -> None:
    old = Path(f"{node.host}{node.wherry.parent}/0")
    old.mkdir(parents=True)
    node.set_up()
    shim = node.host / "usr/local/bin/containerd-shim-wherry-v1"
    assert shim.readlink() == node.wherry / "bin/containerd-shim-wherry-v1"
    assert Path(f"{node.host}{shim.readlink()}").exists()
    assert (node.host / "etc/containerd/conf.d/wherry.toml").exists()
    assert not old.exists()
    assert "systemctl restart containerd" in node.calls()
    assert '{"metadata":{"labels":{"wherry/ready":"true"}}}' in node.calls()
    assert (node.folder / "ready").exists()


def test_a_pod_that_comes_again_restarts_nothing(node: Node) -> None:
    node.set_up()
    (node.folder / "calls").write_text("")
    node.set_up()
    assert "systemctl" not in node.calls()


def test_what_was_cut_short_is_copied_anew(node: Node) -> None:
    half = Path(f"{node.host}{node.wherry}")
    half.mkdir(parents=True)
    (half / "half").write_text("")
    node.set_up()
    assert not (half / "half").exists()
    assert (half / "bin/wherry").exists()


@pytest.mark.parametrize(
    ("status", "answer", "gone"),
    [
        ("200", '{"metadata": {}}', False),
        ("200", '{"metadata": {"deletionTimestamp": "now"}}', True),
        ("404", "{}", True),
        ("403", "{}", True),
        ("500", "{}", False),
    ],
)
def test_a_node_is_left_when_the_daemonset_goes_and_only_then(
    node: Node, status: str, answer: str, gone: bool
) -> None:
    node.set_up()
    code, said = node.leave(status, answer)
    assert code == 0, said
    shim = node.host / "usr/local/bin/containerd-shim-wherry-v1"
    assert shim.is_symlink() is not gone
    assert Path(f"{node.host}{node.wherry}").exists() is not gone
    if gone:
        assert (node.host / "etc/containerd/config.toml").read_text() == "version = 3\n"
        assert '{"metadata":{"labels":{"wherry/ready":null}}}' in node.calls()
