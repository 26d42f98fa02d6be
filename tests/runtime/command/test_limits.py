"""ps, pause, resume, update and events: a container and its cgroup."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.guests.toolchain import Guests
from tests.runtime.bundles import Bundle
from tests.runtime.command.conftest import Runtime, reap, write_config

from wherry.runtime.sandbox.cgroups import Cgroup

pytestmark = pytest.mark.root
Make = Callable[..., Bundle]


@pytest.fixture
def pid(runtime: Runtime, container: Make, guests: Guests) -> int:
    """Container `a`, which waits."""
    bundle = container(guests.wasm("wait").read_bytes())
    bundle.config["linux"]["resources"] = {"memory": {"limit": 64 << 20}}
    made = runtime.create(bundle, "a")
    runtime.ok("start", "a")
    return made


def cgroup(runtime: Runtime) -> Cgroup:
    return Cgroup.attach_existing((runtime.root / "a" / "cgroup").read_text())


def test_ps_names_the_processes(runtime: Runtime, pid: int) -> None:
    assert json.loads(runtime.ok("ps", "--format", "json", "a")) == [pid]
    title, line = runtime.ok("ps", "a").splitlines()
    assert line.split()[title.split().index("PID")] == str(pid)
    title, line = runtime.ok("ps", "a", "-o", "pid,comm").splitlines()
    assert line.split() == [str(pid), "main.wasm"]
    assert "no column PID" in runtime("ps", "a", "-o", "comm").stderr


def test_a_paused_container_stands_still_until_resumed(runtime: Runtime, pid: int) -> None:
    runtime.ok("pause", "a")
    assert runtime.status("a") == "paused"
    assert "is paused" in runtime("pause", "a").stderr
    runtime.ok("kill", "a")
    assert os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG) is None
    runtime.ok("resume", "a")
    assert reap(pid) == 128 + signal.SIGTERM
    assert "not paused" in runtime("resume", "a").stderr


def test_a_paused_container_can_be_killed(runtime: Runtime, pid: int) -> None:
    runtime.ok("pause", "a")
    runtime.ok("kill", "a", "KILL")
    assert reap(pid) == -signal.SIGKILL
    assert runtime.status("a") == "stopped"


def test_a_paused_container_can_be_deleted(runtime: Runtime, pid: int) -> None:
    runtime.ok("pause", "a")
    runtime.ok("delete", "--force", "a")
    assert reap(pid) == -signal.SIGKILL


def test_update_takes_a_document_as_docker_and_crio_send_it(runtime: Runtime, pid: int) -> None:
    document = '{"memory": {"limit": 100663296}, "cpu": {}, "pids": {"limit": 0}}'
    runtime.ok("update", "--resources", "-", "a", input=document)
    assert cgroup(runtime).stats().memory_limit == 96 << 20


def test_update_takes_a_file_and_options(runtime: Runtime, pid: int, tmp_path: Path) -> None:
    (tmp_path / "resources").write_text('{"memory": {"limit": 83886080}}')
    runtime.ok("update", f"--resources={tmp_path}/resources", "a")
    assert cgroup(runtime).stats().memory_limit == 80 << 20
    runtime.ok("update", "--memory", str(96 << 20), "--pids-limit", "50", "a")
    stats = cgroup(runtime).stats()
    assert stats.memory_limit == 96 << 20
    assert stats.pids_limit is not None and stats.pids_limit >= 50
    assert "takes a number" in runtime("update", "--memory", "much", "a").stderr
    assert runtime("update", "-r", "-", "a", input="[]").returncode == 1


def test_stats_are_printed_as_go_runc_reads_them(runtime: Runtime, pid: int) -> None:
    event = json.loads(runtime.ok("events", "--stats", "a"))
    assert (event["type"], event["id"]) == ("stats", "a")
    data = event["data"]
    assert data["memory"]["usage"]["limit"] == 64 << 20
    assert 0 < data["memory"]["usage"]["usage"] <= data["memory"]["usage"]["max"]
    assert data["pids"]["current"] >= 1
    assert data["cpu"]["usage"]["total"] > 0


def test_events_follow_a_container_to_its_end(runtime: Runtime, pid: int) -> None:
    with subprocess.Popen(
        runtime.argv("events", "--interval=50ms", "a"), stdout=subprocess.PIPE
    ) as following:
        assert following.stdout is not None
        for _ in range(3):
            assert json.loads(following.stdout.readline())["type"] == "stats"
        runtime.ok("kill", "a", "KILL")
        assert following.wait(30) == 0
    reap(pid)
    assert "container not running" in runtime("events", "a").stderr


def test_a_cgroup_named_for_systemd_lies_where_systemd_would_have_it(
    runtime: Runtime, container: Make
) -> None:
    bundle = container("(module)")
    slice_name = f"wherrytest{os.getpid()}"
    bundle.config["linux"]["cgroupsPath"] = f"{slice_name}-pod.slice:crio:a"
    pid = runtime.create(bundle, "a")
    groups = Path(f"/proc/{pid}/cgroup").read_text()
    assert f"/{slice_name}.slice/{slice_name}-pod.slice/crio-a.scope\n" in groups
    runtime.ok("delete", "--force", "a")
    reap(pid)
    for folder in (f"{slice_name}.slice/{slice_name}-pod.slice", f"{slice_name}.slice"):
        for found in Path("/sys/fs/cgroup").glob(f"*/{folder}"):
            found.rmdir()


def test_systemds_names_are_asked_for_by_their_option(runtime: Runtime, container: Make) -> None:
    bundle = container("(module)")
    write_config(bundle)
    result = runtime("--systemd-cgroup", "create", "--bundle", str(bundle.path), "a")
    assert result.returncode == 125
    assert "system.slice:prefix:name" in result.stderr
