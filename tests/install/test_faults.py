"""What is killed half-way is completed by the next attempt, or taken back whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.install.conftest import Pretended

from wherry.install import Host, Options
from wherry.install.containerd import plan_install as plan_containerd
from wherry.install.docker import plan_install as plan_docker
from wherry.install.draft import FileChange, FolderChange, LinkChange
from wherry.install.ledger import Ledger
from wherry.install.plan import Plan
from wherry.install.uninstall import plan_uninstall

DOCKER = "/etc/docker/daemon.json"
CONTAINERD = "/etc/containerd/config.toml"


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


def killed_after(steps: int, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Carry a plan out, and be killed before the step after so many; whether one was left."""
    left = steps

    with monkeypatch.context() as patch:
        for kind in (FileChange, LinkChange, FolderChange):
            made = kind.make

            def make(self: object, host: Host, made: object = made) -> None:
                nonlocal left
                if not left:
                    raise Killed
                left -= 1
                made(self, host)  # type: ignore[operator]

            patch.setattr(kind, "make", make)
        try:
            plan.carry_out()
        except Killed:
            return True
    return False


@pytest.fixture
def configured(machine: Pretended) -> Pretended:
    machine.has(DOCKER, '{\n  "debug": true\n}\n')
    machine.has(CONTAINERD, "version = 3\n# mine\n")
    return machine


@pytest.mark.parametrize("target", ["docker", "containerd"])
@pytest.mark.parametrize("afterwards", ["complete", "take back"])
def test_an_install_that_is_killed(
    configured: Pretended, monkeypatch: pytest.MonkeyPatch, target: str, afterwards: str
) -> None:
    before = configured.snapshot()
    planner = plan_docker if target == "docker" else plan_containerd
    assert configured("install", target, "--yes")[0] == 0
    whole = configured.snapshot()
    assert configured("uninstall", target, "--yes")[0] == 0
    steps = 0
    while killed_after(steps, planner(Host(str(configured.root)), Options()), monkeypatch):
        if afterwards == "complete":
            assert configured("install", target, "--yes")[0] == 0
            assert configured.snapshot() == whole, steps
            configured("uninstall", target, "--yes")
        elif steps:
            assert configured("uninstall", target, "--yes")[0] == 0, steps
        assert configured.snapshot() == before, steps
        steps += 1
    assert steps > 3
    assert configured.snapshot() == whole


def test_an_uninstall_that_is_killed_is_completed_by_the_next(
    configured: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = configured.snapshot()
    steps = 0
    while True:
        configured("install", "docker", "--yes")
        configured("install", "containerd")
        plan = plan_uninstall(Host(str(configured.root)), "")
        if not killed_after(steps, plan, monkeypatch):
            break
        assert configured("uninstall", "all", "--yes")[0] == 0, steps
        assert configured.snapshot() == before, steps
        steps += 1
    assert steps > 5
    assert configured.snapshot() == before


def test_what_a_killed_write_left_is_overwritten(configured: Pretended) -> None:
    configured.has("/etc/docker/.daemon.json.wherry-new", "half")
    configured.at("/usr/local/bin/.containerd-shim-wherry-v1.wherry-new").symlink_to("/x")
    assert configured("install", "docker", "--yes")[0] == 0
    assert not configured.at("/etc/docker/.daemon.json.wherry-new").exists()


def test_a_full_disk_says_what_could_not_be_written(
    configured: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        code, _, err = configured("install", "docker", "--yes")
    assert code == 1
    assert err.splitlines()[-1].endswith("install.json: No space left on device")
    assert not list(configured.at("/var/lib/wherry").glob(".*"))
    assert configured("install", "docker", "--yes")[0] == 0


@pytest.mark.parametrize("text", ["", "{", '{"version": 1}', "[" * 100_000, b"\xff\xfe"])
def test_a_ledger_that_is_damaged_is_named(configured: Pretended, text: str | bytes) -> None:
    configured.has("/var/lib/wherry/install.json", text)
    for words in (("install", "docker", "--yes"), ("uninstall", "docker")):
        code, _, err = configured(*words)
        assert code == 1
        assert "/var/lib/wherry/install.json" in err and len(err.splitlines()) == 1


def test_a_ledger_of_a_newer_wherry_is_left_alone(configured: Pretended) -> None:
    newer = '{"version": 2, "wherry": "9.9", "entries": []}'
    configured.has("/var/lib/wherry/install.json", newer)
    code, _, err = configured("install", "docker", "--yes")
    assert code == 1 and "newer wherry, 9.9" in err


def test_two_at_once_wait_for_each_other(configured: Pretended) -> None:
    command = [
        sys.executable, "-c",
        "import sys; sys.argv[0] = sys.argv.pop(1); from wherry.cli.main import main; main()",
        str(configured.scripts / "wherry"), "install", "docker", "--yes",
        "--root", str(configured.root),
    ]  # fmt: skip
    ledger = Ledger(Host(str(configured.root)))
    with ledger.locked():
        waiting = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        # None of them may do anything before the lock is free.
        assert not Path(configured.at("/usr/local/bin/containerd-shim-wherry-v1")).exists()
    said = [process.communicate(timeout=60)[0] for process in waiting]
    assert [process.returncode for process in waiting] == [0, 0, 0]
    assert sum("nothing to do" in text for text in said) == 2
    assert configured.read(DOCKER).count("containerd-snapshotter") == 1
