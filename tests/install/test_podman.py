"""`install podman` and `install cri-o`: drop-in files, for the machine or for one person."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from tests.cri.node import ThisMachine
from tests.install.conftest import Pretended
from tests.install.test_real_docker import rootfs
from tests.shim.guests import HELLO

from wherry.cli.main import run

CONF = "/etc/containers/containers.conf.d/wherry.conf"
COMMAND = "/usr/local/bin/wherry-runtime"


def test_podman_gets_the_runtime_in_a_file_of_its_own(machine: Pretended) -> None:
    before = machine.snapshot()
    assert machine("install", "podman", "--also", "wasmedge")[0] == 0
    assert tomllib.loads(machine.read(CONF)) == {
        "engine": {"runtimes": {"wherry": [COMMAND], "wasmedge": [COMMAND]}}
    }
    assert machine.at(COMMAND).readlink() == machine.scripts / "wherry-runtime"
    assert not machine.at("/usr/local/bin/containerd-shim-wasmedge-v1").exists()
    assert machine("uninstall", "podman")[0] == 0
    assert machine.snapshot() == before


def test_crio_gets_the_handler_in_a_file_of_its_own(machine: Pretended) -> None:
    before = machine.snapshot()
    assert machine("install", "cri-o")[0] == 0
    handlers = tomllib.loads(machine.read("/etc/crio/crio.conf.d/50-wherry.conf"))["crio"]
    assert handlers["runtime"]["runtimes"]["wherry"]["runtime_path"] == COMMAND
    assert machine("uninstall", "cri-o")[0] == 0
    assert machine.snapshot() == before


def test_a_file_of_that_name_that_is_not_ours_is_kept(machine: Pretended) -> None:
    machine.has(CONF, "# mine\n")
    code, _, err = machine("install", "podman")
    assert code == 1 and CONF in err
    assert machine.read(CONF) == "# mine\n"


def test_a_person_needs_no_root_for_their_own_podman(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: Pretended
) -> None:
    from wherry.install import asking

    home = tmp_path / "home"
    home.mkdir()
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(asking, "program", lambda host, name: f"/usr/bin/{name}")
    monkeypatch.setattr(asking, "version", lambda host, name: (5, 4, 2))
    assert run(["install", "podman", "--user"]) == 0
    conf = home / ".config/containers/containers.conf.d/wherry.conf"
    command = home / ".local/bin/wherry-runtime"
    runtimes = tomllib.loads(conf.read_text())["engine"]["runtimes"]
    assert runtimes == {"wherry": [str(command)]}
    assert command.is_symlink()
    assert run(["uninstall", "podman", "--user"]) == 0
    left = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    assert left == [".local/share/wherry/install.lock"]
    assert run(["install", "podman"]) == 1  # for the whole machine, root is needed


@pytest.mark.root
def test_the_real_podman_runs_wasm() -> None:
    with ThisMachine().machine() as machine:
        if machine.run("podman", "--version").returncode != 0:
            from tests.conftest import without

            without("podman is not installed")
        (machine.folder / "rootfs.tar").write_bytes(rootfs(HELLO.encode()))
        assert machine.run("wherry", "install", "podman").returncode == 0
        words = ("-c", 'ENTRYPOINT ["/main.wasm"]', f"{machine.folder}/rootfs.tar", "hello")
        assert machine.run("podman", "import", *words).returncode == 0
        flags = ("--rm", "--network=none", "--log-driver=k8s-file")
        done = machine.run("podman", "--runtime", "wherry", "run", *flags, "hello")
        assert done.stdout == "hello\n", done.stderr
        said = machine.run("wherry", "doctor").stdout
        assert f"ok       podman      its runtime wherry is {COMMAND}" in said
        assert machine.run("wherry", "uninstall", "podman").returncode == 0
        done = machine.run("podman", "--runtime", "wherry", "run", *flags, "hello")
        assert done.returncode != 0
