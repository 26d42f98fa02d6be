"""The names wherry answers to: its own, and those of the shims it replaces."""

from __future__ import annotations

import pytest
from tests.install.conftest import Pretended

BIN = "/usr/local/bin"
OURS = "containerd-shim-wherry-v1"
WASMEDGE = f"{BIN}/containerd-shim-wasmedge-v1"


def test_other_names_lead_to_the_same_shim(machine: Pretended) -> None:
    machine("install", "docker", "--yes", "--also", "wasmedge,wasmtime", "--also=wasmer")
    for name in ("wherry", "wasmedge", "wasmtime", "wasmer"):
        link = machine.at(f"{BIN}/containerd-shim-{name}-v1")
        assert link.readlink() == machine.scripts / OURS


@pytest.mark.parametrize("folder", [BIN, "/usr/bin", "/usr/local/sbin"])
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_foreign_shim_is_never_overwritten(
    machine: Pretended, folder: str, force: list[str]
) -> None:
    machine.has(f"{folder}/containerd-shim-wasmedge-v1", "ELF")
    before = machine.snapshot()
    code, _, err = machine("install", "docker", "--yes", "--also", "wasmedge", *force)
    assert code == 1
    assert f"{folder}/containerd-shim-wasmedge-v1" in err
    assert machine.snapshot() == before


def test_a_link_to_a_foreign_shim_is_never_overwritten(machine: Pretended) -> None:
    machine.at(WASMEDGE).symlink_to("/opt/theirs")
    before = machine.snapshot()
    assert machine("install", "docker", "--yes", "--also", "wasmedge", "--force")[0] == 1
    assert machine.snapshot() == before


def test_a_name_that_became_foreign_is_not_removed(machine: Pretended) -> None:
    machine("install", "docker", "--yes", "--also", "wasmedge")
    machine.at(WASMEDGE).unlink()
    machine.has(WASMEDGE, "ELF")
    assert machine("uninstall", "docker", "--yes")[0] == 0
    assert machine.read(WASMEDGE) == "ELF"
    assert not machine.at(f"{BIN}/{OURS}").exists()


def test_an_unknown_name_is_refused(machine: Pretended) -> None:
    code, _, err = machine("install", "docker", "--yes", "--also", "runc")
    assert code == 1
    assert "wasmedge, wasmtime, wasmer" in err


def test_what_two_engines_need_goes_with_the_last(machine: Pretended) -> None:
    before = machine.snapshot()
    machine("install", "docker", "--yes")
    machine("install", "containerd")
    machine("uninstall", "docker", "--yes")
    assert machine.at(f"{BIN}/{OURS}").is_symlink()
    machine("uninstall", "containerd")
    assert machine.snapshot() == before


def test_all_of_it_goes_at_once(machine: Pretended) -> None:
    before = machine.snapshot()
    machine("install", "docker", "--yes")
    machine("install", "containerd", "--also", "wasmer")
    machine.has_program("crio", "1.30.1")
    machine.has_program("podman", "5.4.2")
    machine("install", "cri-o")
    machine("install", "podman", "--also", "wasmtime")
    assert machine("uninstall", "all", "--yes")[0] == 0
    left = machine.snapshot()
    del left["/usr/bin/crio"], left["/usr/bin/podman"]
    assert left == before


def test_a_newer_wherry_takes_the_place_of_the_one_before(machine: Pretended) -> None:
    machine("install", "docker", "--yes")
    newer = machine.scripts.parent.parent / "wherry-2" / "bin"
    for root in ("", str(machine.root)):
        (newer.parent if not root else machine.at(str(newer.parent))).mkdir(parents=True)
    import shutil
    import sys

    shutil.copytree(machine.scripts, newer)
    shutil.copytree(machine.scripts, machine.at(str(newer)))
    sys.argv[0] = str(newer / "wherry")
    assert machine("install", "docker", "--yes")[0] == 0
    assert machine.at(f"{BIN}/{OURS}").readlink() == newer / OURS


def test_another_wherrys_link_is_not_taken_without_force(machine: Pretended) -> None:
    machine.has("/somewhere/bin/shim", "theirs")
    machine.at(f"{BIN}/{OURS}").symlink_to("/somewhere/bin/shim")
    code, _, err = machine("install", "docker", "--yes")
    assert code == 1 and "/somewhere/bin/shim" in err
    assert machine("install", "docker", "--yes", "--force")[0] == 0
