"""What cgroups can bound, read from hosts that are made up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wherry.engine import cgroups
from wherry.engine.cgroups import Hierarchies
from wherry.engine.config import HostConfig
from wherry.engine.containers.limits import unkept_limits

V1 = ("memory", "cpu,cpuacct", "cpuset", "pids")


def legacy(top: Path, own: str = "/") -> Hierarchies:
    """A host with a v1 hierarchy for each of V1, and an empty v2 beside them."""
    mountinfo, cgroup = [], []
    for number, options in enumerate((*V1, "")):
        mount = top / (options or "unified")
        (mount / own.strip("/")).mkdir(parents=True)
        (mount / "cgroup.procs").touch()
        kind = f"cgroup cgroup rw,{options}" if options else "cgroup2 cgroup2 rw"
        mountinfo.append(f"{number} 1 0:{number} / {mount} rw shared:1 - {kind}")
        cgroup.append(f"{number}:{options}:{own}")
    (top / "unified/cgroup.controllers").write_text("\n")
    return Hierarchies.parse("\n".join(mountinfo), "\n".join(cgroup))


def unified(top: Path, own: str, controllers: str) -> Hierarchies:
    """A host with v2 alone; this process is in the group `own`."""
    folder = top / own.strip("/")
    folder.mkdir(parents=True)
    (top / "cgroup.controllers").write_text(controllers)
    (folder / "cgroup.controllers").write_text(controllers)
    (folder / "cgroup.procs").touch()
    return Hierarchies.parse(f"1 1 0:1 / {top} rw - cgroup2 cgroup2 rw", f"0::{own}")


@pytest.fixture
def writable(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """The folders in which this user may make groups, whoever it is."""
    folders: set[Path] = set()

    def access(path: str, mode: int) -> bool:
        found = Path(path)
        return found in folders or (found.name == "cgroup.procs" and found.parent in folders)

    monkeypatch.setattr(os, "access", access)
    return folders


def test_v1_bounds_by_the_hierarchies_that_are_writable(
    tmp_path: Path, writable: set[Path]
) -> None:
    host = legacy(tmp_path)
    assert not host.is_unified
    assert host.bounded() == frozenset()
    writable |= {tmp_path / "memory", tmp_path / "cpu,cpuacct"}
    assert host.bounded() == {"memory", "cpu"}


def test_a_group_of_v1_that_was_given_to_the_user_counts(
    tmp_path: Path, writable: set[Path]
) -> None:
    host = legacy(tmp_path, "/users/me")
    writable.add(tmp_path / "pids/users/me")
    assert host.bounded() == {"pids"}


def test_v2_bounds_by_what_is_delegated(tmp_path: Path, writable: set[Path]) -> None:
    host = unified(tmp_path, "/user.slice/mine/session", "memory pids io")
    assert host.is_unified
    assert host.bounded() == frozenset()
    writable.add(tmp_path / "user.slice/mine/session")
    assert host.bounded() == {"memory", "pids"}


def test_a_host_without_cgroups_bounds_nothing() -> None:
    host = Hierarchies.parse("1 1 0:1 / / rw - ext4 /dev/sda rw\nnonsense", "")
    assert (host.is_unified, host.bounded()) == (False, frozenset())


def test_what_is_not_bounded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    host = HostConfig(memory=1 << 30, nano_cpus=1_000_000_000, cpuset_cpus="0", pids_limit=9)
    monkeypatch.setattr(cgroups, "bounded", frozenset)
    told = unkept_limits(host, is_wasm=True)
    assert [line.split()[1] for line in told] == ["memory", "CPU", "CPU", "limit"]
    assert "WebAssembly" in told[0]
    assert "memory limit is discarded" in unkept_limits(host, is_wasm=False)[0]
    assert unkept_limits(HostConfig(pids_limit=-1), is_wasm=True) == []
    monkeypatch.setattr(cgroups, "bounded", lambda: frozenset({"memory", "cpu", "cpuset", "pids"}))
    assert unkept_limits(host, is_wasm=False) == []
    monkeypatch.setattr(cgroups, "bounds_swap", lambda: False)
    swapping = HostConfig(memory=1 << 30, memory_swap=2 << 30)
    assert "swap" in unkept_limits(swapping, is_wasm=True)[0]


def test_a_linux_containers_group_is_made_where_its_user_may(tmp_path: Path) -> None:
    top = tmp_path / "v2"
    own = top / "user.slice" / "mine"
    own.mkdir(parents=True)
    (top / "cgroup.controllers").write_text("memory pids cpu cpuset\n")
    for folder in (top, top / "user.slice", own):
        (folder / "cgroup.procs").touch()
    found = cgroups.Hierarchies({"": str(top)}, {"": "/user.slice/mine"})
    assert found.place("/wherry/x") == "/wherry/x"
    (top / "cgroup.procs").unlink()
    assert found.place("/wherry/x") == "/user.slice/wherry/x"
    (top / "user.slice" / "cgroup.procs").unlink()
    assert found.place("/wherry/x") == "/user.slice/mine/wherry/x"
    (own / "cgroup.procs").unlink()
    assert found.place("/wherry/x") == ""
    legacy = {name: str(tmp_path / name) for name in ("memory", "cpu", "cpuset", "pids")}
    assert cgroups.Hierarchies(legacy, {}).place("/wherry/x") == ""
    for controller in legacy.values():
        Path(controller).mkdir()
        Path(controller, "cgroup.procs").touch()
    assert cgroups.Hierarchies(legacy, {}).place("/wherry/x") == "/wherry/x"
