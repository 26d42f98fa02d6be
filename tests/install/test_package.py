"""The commands as root's daemons run them: without anybody's environment, and without trust."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.install.conftest import Pretended

import wherry
from wherry.install import InstallError, Options, package, shims
from wherry.install.additions import Additions
from wherry.install.draft import Draft
from wherry.install.host import Host
from wherry.install.ledger import Ledger
from wherry.install.package import BARE, LAUNCHERS, Package, command_line, weak_spots
from wherry.install.plan import Plan
from wherry.install.shims import add_commands


def test_launchers_run_in_a_bare_environment(tmp_path: Path) -> None:
    shim = tmp_path / "containerd-shim-wherry-v1"
    real = ROOT / "src" / "bin" / shim.name
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / shim.name).write_text(real.read_text())
    for name, content in Package(str(tmp_path / "bin"), False).launchers().items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o755)
    link = tmp_path / "link"
    link.symlink_to(shim)
    done = subprocess.run([link, "-v"], env=BARE, cwd="/", capture_output=True, text=True)
    assert done.stdout == f"containerd-shim-wherry-v1 {wherry.__version__}\n", done.stderr


def test_commands_that_need_somebodys_environment_get_launchers(
    machine: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Package(str(machine.scripts), False)
    monkeypatch.setattr(Package, "find", staticmethod(lambda host: found))
    code, out, _ = machine("install", "docker", "--yes")
    assert code == 0
    assert "run this again when wherry is upgraded" in out
    link = machine.at("/usr/local/bin/containerd-shim-wherry-v1")
    assert str(link.readlink()) == f"{LAUNCHERS}/containerd-shim-wherry-v1"
    for name in ("containerd-shim-wherry-v1", "wherry-shim", "wherry-runtime"):
        assert machine.at(f"{LAUNCHERS}/{name}").stat().st_mode & 0o777 == 0o755
    assert machine("uninstall", "docker", "--yes")[0] == 0
    assert not machine.at(LAUNCHERS).exists()


def test_a_package_that_is_not_in_the_folder_is_refused(machine: Pretended) -> None:
    machine.at(f"{machine.scripts}/wherry-shim").unlink()
    code, _, err = machine("install", "docker", "--yes")
    assert code == 1 and "wherry-shim: missing" in err


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands below a parent that is root's own."""
    folder = tmp_path / "venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("containerd-shim-wherry-v1", "wherry-shim", "wherry-runtime"):
        (folder / name).write_text("")
    monkeypatch.setattr(sys, "argv", [str(folder / "wherry")])
    monkeypatch.delenv("SUDO_UID", raising=False)
    return folder


@pytest.mark.root
def test_whoever_may_change_the_commands_is_found(
    commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weak_spots([str(commands)]) == ([], [])
    os.chown(commands, 4711, 4711)
    assert weak_spots([str(commands)]) == ([], [str(commands)])
    monkeypatch.setenv("SUDO_UID", "4711")
    assert weak_spots([str(commands)]) == ([str(commands)], [])
    commands.chmod(0o775)  # its group is the person's own
    assert weak_spots([str(commands)]) == ([str(commands)], [])
    os.chown(commands, 0, 27)
    with monkeypatch.context() as patch:
        patch.setattr(package, "_has_members", lambda group: False)
        assert weak_spots([str(commands)]) == ([], [])
        patch.setattr(package, "_has_members", lambda group: True)
        assert weak_spots([str(commands)]) == ([], [str(commands)])
    commands.chmod(0o755)
    commands.parent.chmod(0o777)
    assert weak_spots([str(commands)]) == ([], [str(commands.parent)])
    commands.parent.chmod(0o1777)
    assert weak_spots([str(commands)]) == ([], [])


@pytest.mark.root
def test_what_others_may_change_is_refused_and_ones_own_is_told(
    commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shims, "parts", lambda: [str(commands)])
    plan = Plan(Draft(Host()), Ledger(Host(), str(tmp_path)))
    additions = Additions(plan.draft, plan.ledger, "docker")
    options = Options(bin=str(tmp_path / "target"))
    os.chown(commands, 4711, 4711)
    with pytest.raises(InstallError, match="others may write there"):
        add_commands(plan, additions, options)
    add_commands(plan, additions, Options(bin=str(tmp_path / "target"), force=True))
    assert any("not root's own" in line for line in plan.warnings)
    monkeypatch.setenv("SUDO_UID", "4711")
    plan.warnings.clear()
    add_commands(plan, additions, options)
    assert any("not root's own" in line for line in plan.warnings)


def test_a_person_is_told_a_command_that_sudo_finds(
    commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "BARE", {"PATH": "/nowhere"})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert command_line("install docker") == f"sudo {commands}/wherry install docker"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert command_line("install docker") == f"{commands}/wherry install docker"
