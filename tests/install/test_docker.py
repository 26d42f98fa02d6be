"""`install docker` and `uninstall docker` on a pretended machine."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from tests.install.conftest import Pretended
from tests.install.test_json_text import texts

from wherry.install import docker

CONFIG = "/etc/docker/daemon.json"
SHIM = "/usr/local/bin/containerd-shim-wherry-v1"


def test_the_shim_is_linked_and_the_image_store_chosen(machine: Pretended) -> None:
    code, out, _ = machine("install", "docker", "--yes")
    assert code == 0
    assert machine.at(SHIM).readlink() == machine.scripts / "containerd-shim-wherry-v1"
    assert json.loads(machine.read(CONFIG)) == {"features": {"containerd-snapshotter": True}}
    assert "docker run --rm --runtime=io.containerd.wherry.v1 --platform=wasi/wasm IMAGE" in out
    assert "systemctl restart docker" in out


def test_a_dry_run_shows_every_line_and_changes_nothing(machine: Pretended) -> None:
    machine.has(CONFIG, '{\n  "debug": true\n}\n')
    before = machine.snapshot()
    code, out, _ = machine("install", "docker", "--dry-run")
    assert code == 0
    assert machine.snapshot() == before
    assert not machine.at("/var").exists()
    assert f"link {SHIM} -> {machine.scripts}/containerd-shim-wherry-v1\n" in out
    assert f"--- {CONFIG}\n+++ {CONFIG}\n" in out
    assert '+    "containerd-snapshotter": true\n' in out
    assert "to be confirmed: Docker's image store changes" in out
    assert "to be run after that: systemctl restart docker" in out


def test_without_consent_nothing_is_changed(
    machine: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = machine.snapshot()
    with open(os.devnull) as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        code, _, err = machine("install", "docker")
    assert code == 1
    assert "image store changes" in err and "--yes" in err
    assert machine.snapshot() == before


def test_no_consent_is_needed_where_the_store_is_chosen(machine: Pretended) -> None:
    machine.has(CONFIG, '{"features": {"containerd-snapshotter": true}}')
    before = machine.snapshot()
    assert machine("install", "docker")[0] == 0
    assert set(machine.snapshot()) - set(before) == {SHIM, "/var/lib/wherry/install.json"}
    assert machine("uninstall", "docker")[0] == 0
    assert machine.snapshot() == before


def test_docker_is_restarted_only_for_what_it_reads_when_it_starts(
    machine: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("install", "docker", "--yes")
    code, out, _ = machine("install", "docker", "--also", "wasmedge")
    assert code == 0 and "containerd-shim-wasmedge-v1" in out
    assert "systemctl" not in out
    # The configuration says what the daemon, which runs since before, does not know yet.
    monkeypatch.setattr(docker, "_info", lambda host: {"DriverStatus": None})
    code, out, _ = machine("install", "docker")
    assert code == 0 and "now restart it: systemctl restart docker" in out
    assert "nothing to do" not in out


def test_doing_it_twice_changes_nothing_more(machine: Pretended) -> None:
    machine("install", "docker", "--yes")
    before = machine.snapshot()
    ledger = machine.read("/var/lib/wherry/install.json")
    code, out, _ = machine("install", "docker", "--yes")
    assert code == 0
    assert "nothing to do" in out and "restart" not in out
    assert machine.snapshot() == before
    assert machine.read("/var/lib/wherry/install.json") == ledger


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts())
def test_install_and_uninstall_leave_no_trace(machine: Pretended, text: str) -> None:
    machine.has(CONFIG, text).chmod(0o640)
    before = machine.snapshot()
    if machine("install", "docker", "--yes")[0] != 0:
        assert machine.snapshot() == before
        return
    assert json.loads(machine.read(CONFIG))["features"]["containerd-snapshotter"] is True
    assert machine("uninstall", "docker", "--yes")[0] == 0
    assert machine.snapshot() == before


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_file_is_empty_again(machine: Pretended, text: str) -> None:
    machine.has(CONFIG, text)
    before = machine.snapshot()
    machine("install", "docker", "--yes")
    assert json.loads(machine.read(CONFIG))
    machine("uninstall", "docker", "--yes")
    assert machine.snapshot() == before


def test_what_was_missing_is_missing_again(machine: Pretended) -> None:
    before = machine.snapshot()
    machine("install", "docker", "--yes")
    machine("uninstall", "docker", "--yes")
    assert machine.snapshot() == before


def test_a_docker_that_became_newer_takes_the_shim_instead(
    machine: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wherry.install import asking

    before = machine.snapshot()
    with monkeypatch.context() as patch:
        patch.setattr(asking, "version", lambda host, name: (20, 10, 24))
        assert machine("install", "docker", "--also", "wasmedge")[0] == 0
    runtimes = json.loads(machine.read(CONFIG))["runtimes"]
    assert set(runtimes) == {"wherry", "io.containerd.wherry.v1", "io.containerd.wasmedge.v1"}
    assert machine("install", "docker", "--yes")[0] == 0
    assert json.loads(machine.read(CONFIG)) == {"features": {"containerd-snapshotter": True}}
    assert "nothing to do" in machine("install", "docker")[1]
    assert machine("uninstall", "docker", "--yes")[0] == 0
    assert machine.snapshot() == before


@pytest.mark.parametrize(("driver", "snapshotter"), [("overlay2", "overlayfs"), ("vfs", "native")])
def test_a_storage_driver_gets_the_name_that_containerd_knows(
    machine: Pretended, driver: str, snapshotter: str
) -> None:
    machine.has(CONFIG, f'{{"storage-driver" : "{driver}"}}')
    before = machine.snapshot()
    machine("install", "docker", "--yes")
    assert json.loads(machine.read(CONFIG))["storage-driver"] == snapshotter
    assert "nothing to do" in machine("install", "docker")[1]
    machine("uninstall", "docker", "--yes")
    assert machine.snapshot() == before


def test_a_storage_driver_that_containerd_knows_is_kept(machine: Pretended) -> None:
    machine.has(CONFIG, '{"storage-driver": "btrfs"}')
    machine("install", "docker", "--yes")
    assert json.loads(machine.read(CONFIG))["storage-driver"] == "btrfs"


def test_what_the_person_added_since_is_kept(machine: Pretended) -> None:
    machine.has(CONFIG, '{\n  "debug": true\n}\n')
    machine("install", "docker", "--yes")
    text = machine.read(CONFIG).replace("true\n  }", 'true,\n    "buildkit": true\n  }')
    machine.has(CONFIG, text.replace('"debug": true', '"debug": false'))
    assert machine("uninstall", "docker", "--yes")[0] == 0
    assert machine.read(CONFIG) == (
        '{\n  "debug": false,\n  "features": {\n    "buildkit": true\n  }\n}\n'
    )


def test_what_the_person_decided_otherwise_since_is_theirs(machine: Pretended) -> None:
    machine("install", "docker", "--yes")
    decided = machine.read(CONFIG).replace("true", "false")
    machine.has(CONFIG, decided)
    assert machine("uninstall", "docker", "--yes")[0] == 0
    assert machine.read(CONFIG) == decided


@pytest.mark.parametrize("text", ['{"a": 1,}', "[]", "\x00", '{"features": 1}', b"\xff"])
def test_a_broken_file_is_named_and_left_alone(machine: Pretended, text: str | bytes) -> None:
    machine.has(CONFIG, text)
    before = machine.snapshot()
    code, _, err = machine("install", "docker", "--yes")
    assert code == 1
    assert CONFIG in err and len(err.splitlines()) == 1
    assert machine.snapshot() == before


def test_a_linked_configuration_is_changed_where_it_is(machine: Pretended) -> None:
    machine.has("/srv/docker.json", "{}").chmod(0o604)
    machine.at("/etc/docker").mkdir()
    machine.at(CONFIG).symlink_to("/srv/docker.json")
    machine("install", "docker", "--yes")
    assert machine.at(CONFIG).is_symlink()
    assert "containerd-snapshotter" in machine.read("/srv/docker.json")
    assert machine.at("/srv/docker.json").stat().st_mode & 0o777 == 0o604


def test_a_link_never_leads_out_of_the_machine(machine: Pretended) -> None:
    outside = machine.root.parent / "outside"
    outside.mkdir()
    machine.at("/etc/docker").symlink_to(f"/../../../..{outside}")
    machine("install", "docker", "--yes")
    assert list(outside.iterdir()) == []


def test_a_copy_of_the_old_file_lies_beside_it(machine: Pretended) -> None:
    machine.has(CONFIG, "{ }").chmod(0o600)
    machine.has(f"{CONFIG}.before-wherry", "the person's own")
    machine("install", "docker", "--yes")
    copy = machine.at(f"{CONFIG}.before-wherry.1")
    assert copy.read_text() == "{ }"
    assert copy.stat().st_mode & 0o777 == 0o600
    machine("uninstall", "docker", "--yes")
    assert not copy.exists()
    assert machine.read(f"{CONFIG}.before-wherry") == "the person's own"


def test_without_docker_nothing_can_be_installed(machine: Pretended) -> None:
    machine.at("/usr/bin/dockerd").unlink()
    code, _, err = machine("install", "docker", "--yes")
    assert code == 1
    assert "there is no dockerd" in err


def test_uninstalling_what_is_not_installed_says_so(machine: Pretended) -> None:
    code, _, err = machine("uninstall", "docker")
    assert code == 1
    assert "not installed in docker" in err
