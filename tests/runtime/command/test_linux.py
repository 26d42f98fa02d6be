"""What is not Wasm is handed on to runc, with its later commands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import without
from tests.peers import PeerMissing, program
from tests.runtime.bundles import Bundle
from tests.runtime.command.conftest import Runtime, reap, write_config

pytestmark = pytest.mark.root
Make = Callable[..., Bundle]


@pytest.fixture
def linux(bundle: Make) -> Bundle:
    """A bundle of busybox, that sleeps."""
    try:
        busybox = program("busybox")
        program("runc")
    except PeerMissing as error:
        without(str(error))
    made = bundle("/busybox", "sleep", "60")
    shutil.copy(busybox, made.path / "rootfs" / "busybox")
    made.config["root"]["path"] = str(made.path / "rootfs")
    made.config["mounts"] = [{"destination": "/proc", "type": "proc", "source": "proc"}]
    return made


def test_a_linux_program_lives_in_the_same_root(runtime: Runtime, linux: Bundle) -> None:
    pid = runtime.create(linux, "a")
    assert runtime.status("a") == "created"
    runtime.ok("start", "a")
    assert runtime.ok("exec", "a", "/busybox", "echo", "inside") == "inside\n"
    assert json.loads(runtime.ok("ps", "--format", "json", "a")) == [pid]
    runtime.ok("kill", "a", "KILL")
    assert reap(pid) == -9
    runtime.ok("delete", "a")
    assert list(runtime.root.iterdir()) == []


def test_one_root_holds_both_kinds(runtime: Runtime, linux: Bundle, container: Make) -> None:
    pids = [runtime.create(linux, "a"), runtime.create(container(b"(module)"), "b")]
    assert runtime.ok("list", "-q").split() == ["b"]
    assert [runtime.state(name)["pid"] for name in ("a", "b")] == pids
    for name in ("a", "b"):
        runtime.ok("delete", "--force", name)
    for pid in pids:
        reap(pid)


def test_a_program_in_a_volume_is_looked_at_where_it_is(
    runtime: Runtime, linux: Bundle, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (linux.path / "rootfs" / "busybox").rename(volume / "busybox")
    linux.config["process"]["args"] = ["/data/busybox", "echo", "in a volume"]
    linux.config["mounts"].append(
        {"destination": "/data", "type": "bind", "source": str(volume), "options": ["rbind"]}
    )
    write_config(linux)
    result = runtime("run", "--bundle", str(linux.path), "a")
    assert (result.returncode, result.stdout) == (0, "in a volume\n")


def test_without_a_linux_runtime_it_is_said_what_to_install(
    runtime: Runtime, linux: Bundle
) -> None:
    write_config(linux)
    runtime.environment["PATH"] = "/nonexistent"
    result = runtime("create", "--bundle", str(linux.path), "a")
    assert result.returncode == 126
    assert "install runc or crun" in result.stderr


def test_a_linux_program_is_refused_where_the_bundle_allows_wasm_only(
    runtime: Runtime, linux: Bundle
) -> None:
    linux.config["annotations"] = {"io.wherry.programs": "wasm"}
    write_config(linux)
    result = runtime("create", "--bundle", str(linux.path), "a")
    assert result.returncode == 126
    assert "no WebAssembly" in result.stderr
    assert runtime("state", "a").returncode == 1
