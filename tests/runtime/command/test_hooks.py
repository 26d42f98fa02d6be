"""Hooks and pod sandboxes under `wherry-runtime`."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.peers import program
from tests.runtime.bundles import WASI_HELLO, Bundle
from tests.runtime.command.conftest import Runtime, reap

pytestmark = pytest.mark.root
Make = Callable[..., Bundle]


def sh(script: str) -> list[dict[str, Any]]:
    return [{"path": "/bin/sh", "args": ["sh", "-c", script]}]


def test_each_hook_runs_in_its_place_and_is_told_the_state(
    runtime: Runtime, container: Make, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    bundle = container(WASI_HELLO)
    places = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    bundle.config["hooks"] = {place: sh(f"echo {place} $(cat) >> {log}") for place in places}
    pid = runtime.create(bundle, "a")
    runtime.ok("start", "a")
    assert reap(pid) == 0
    runtime.ok("delete", "a")
    told = [line.split(" ", 1) for line in log.read_text().splitlines()]
    states = {place: json.loads(state) for place, state in told}
    assert tuple(states) == places
    assert [state["status"] for state in states.values()] == [
        "creating", "creating", "creating", "running", "stopped",
    ]  # fmt: skip
    assert [state.get("pid") for state in states.values()] == [pid, pid, 1, pid, None]
    assert runtime.out == "hello\n"


def test_a_hook_that_fails_leaves_no_container_and_runs_the_last_ones(
    runtime: Runtime, container: Make, tmp_path: Path
) -> None:
    bundle = container(WASI_HELLO)
    bundle.config["hooks"] = {
        "createRuntime": sh("echo no bridge >&2; exit 3"),
        "poststop": sh("exit 1") + sh(f"touch {tmp_path}/stopped"),
    }
    (bundle.path / "config.json").write_text(json.dumps(bundle.config))
    done = runtime("create", "--bundle", str(bundle.path), "a", stdin=-3)
    assert done.returncode != 0
    assert "createRuntime hook /bin/sh ended with status 3: no bridge" in done.stderr
    assert (tmp_path / "stopped").exists()
    assert runtime("state", "a").returncode != 0


def test_a_pods_sandbox_is_held_whatever_its_program(runtime: Runtime, container: Make) -> None:
    bundle = container(Path(program("busybox")).read_bytes())
    bundle.config["annotations"] = {"io.kubernetes.cri-o.ContainerType": "sandbox"}
    pid = runtime.create(bundle, "a")
    runtime.ok("start", "a")
    assert runtime.status("a") == "running"
    assert Path(f"/proc/{pid}/comm").read_text() == "wherry-pod\n"
    os.kill(pid, signal.SIGTERM)
    assert reap(pid) == 128 + signal.SIGTERM
    runtime.ok("delete", "a")
