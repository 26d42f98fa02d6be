"""create, start, state, kill, delete: a container's life as its callers drive it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.guests.toolchain import Guests
from tests.runtime.bundles import WAITS_FOR_STDIN, WASI_HELLO, Bundle
from tests.runtime.command.conftest import Runtime, reap, write_config

pytestmark = pytest.mark.root
Make = Callable[..., Bundle]

SPINS = '(module (func (export "_start") (loop br 0)))'


def test_a_container_is_created_then_started_then_deleted(
    runtime: Runtime, container: Make
) -> None:
    pid = runtime.create(container(WASI_HELLO), "a")
    state = runtime.state("a")
    assert (state["id"], state["status"], state["pid"]) == ("a", "created", pid)
    assert runtime.out == ""
    runtime.ok("start", "a")
    assert reap(pid) == 0
    assert runtime.out == "hello\n"
    assert runtime.status("a") == "stopped"
    runtime.ok("delete", "a")
    assert "does not exist" in runtime("state", "a").stderr
    assert list(runtime.root.iterdir()) == []


def test_the_state_has_all_that_the_specification_asks_for(
    runtime: Runtime, container: Make
) -> None:
    bundle = container(SPINS)
    bundle.config["annotations"] = {"some": 'thing "quoted"'}
    runtime.create(bundle, "a")
    state = runtime.state("a")
    assert state["ociVersion"] == "1.1.0"
    assert state["bundle"] == str(bundle.path)
    assert state["rootfs"] == str(bundle.path / "rootfs")
    assert state["annotations"] == {"some": 'thing "quoted"'}


def test_the_container_is_a_child_of_who_called_create(runtime: Runtime, container: Make) -> None:
    pid = runtime.create(container(SPINS), "a")
    parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    assert int(parent) == os.getpid()
    runtime.ok("kill", "a", "KILL")
    assert reap(pid) == -signal.SIGKILL


@pytest.mark.parametrize("name", ["TERM", "SIGINT", "1", "3", "USR1"])
@pytest.mark.parametrize("started", [False, True])
def test_a_signal_ends_a_container_by_128_and_its_number(
    runtime: Runtime, container: Make, name: str, started: bool
) -> None:
    pid = runtime.create(container(SPINS), "a")
    if started:
        runtime.ok("start", "a")
    runtime.ok("kill", "a", name)
    number = int(name) if name.isdecimal() else getattr(signal, f"SIG{name.removeprefix('SIG')}")
    assert reap(pid) == 128 + number


def test_a_guest_that_waits_in_a_call_of_the_host_ends_too(
    runtime: Runtime, container: Make, guests: Guests
) -> None:
    pid = runtime.create(container(guests.wasm("wait").read_bytes()), "a")
    runtime.ok("start", "a")
    runtime.ok("kill", "a")
    assert reap(pid) == 128 + signal.SIGTERM


def test_what_has_ended_cannot_be_killed_and_says_so_in_words_callers_know(
    runtime: Runtime, container: Make
) -> None:
    pid = runtime.create(container(WASI_HELLO), "a")
    runtime.ok("start", "a")
    reap(pid)
    result = runtime("kill", "a", "KILL")
    assert result.returncode == 1
    assert "container not running" in result.stderr
    assert runtime("kill", "--all", "a", "KILL").returncode == 0


def test_a_zombie_has_stopped(runtime: Runtime, container: Make) -> None:
    pid = runtime.create(container(SPINS), "a")
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert runtime.status("a") == "stopped"
    runtime.ok("delete", "a")
    reap(pid)


def test_another_process_of_the_same_number_is_not_the_container(
    runtime: Runtime, container: Make
) -> None:
    pid = runtime.create(container(SPINS), "a")
    runtime.ok("kill", "a", "KILL")
    reap(pid)
    with subprocess.Popen(["sleep", "60"]) as other:
        (runtime.root / "a" / "process").write_text(f"{other.pid} 1")
        assert runtime.status("a") == "stopped"
        assert runtime("kill", "a", "KILL").returncode == 1
        assert other.poll() is None
        other.kill()


def test_a_container_is_started_only_once(runtime: Runtime, container: Make) -> None:
    pid = runtime.create(container(SPINS), "a")
    runtime.ok("start", "a")
    again = runtime("start", "a")
    assert (again.returncode, again.stdout) == (1, "")
    assert "has been started" in again.stderr
    runtime.ok("kill", "a", "KILL")
    reap(pid)
    assert "has stopped" in runtime("start", "a").stderr


def test_a_running_container_is_deleted_only_by_force(runtime: Runtime, container: Make) -> None:
    pid = runtime.create(container(SPINS), "a")
    runtime.ok("start", "a")
    refused = runtime("delete", "a")
    assert refused.returncode == 1
    assert "not stopped" in refused.stderr
    runtime.ok("delete", "--force", "a")
    assert reap(pid) == -signal.SIGKILL
    runtime.ok("delete", "--force", "a")
    assert runtime("delete", "a").returncode == 1


def test_a_created_container_is_deleted_as_it_is(runtime: Runtime, container: Make) -> None:
    pid = runtime.create(container(SPINS), "a")
    runtime.ok("delete", "a")
    assert reap(pid) == -signal.SIGKILL


def test_deleting_removes_the_cgroup(runtime: Runtime, container: Make) -> None:
    bundle = container(SPINS)
    pid = runtime.create(bundle, "a")
    groups = Path(f"/proc/{pid}/cgroup").read_text()
    path = bundle.config["linux"]["cgroupsPath"]
    assert path in groups
    runtime.ok("delete", "--force", "a")
    reap(pid)
    assert not list(Path("/sys/fs/cgroup").glob(f"*{path}"))


def test_an_id_is_used_once(runtime: Runtime, container: Make) -> None:
    bundle = container(SPINS)
    runtime.create(bundle, "a")
    again = runtime("create", "--bundle", str(bundle.path), "a")
    assert again.returncode == 1
    assert "already exists" in again.stderr
    assert runtime.status("a") == "created"


@pytest.mark.parametrize(
    "identifier", ["../a", "a/b", ".", "..", "", "a b", "x" * 1025, "ä", "a\n", ".hidden"]
)
def test_an_id_is_the_name_of_a_folder_and_nothing_else(
    runtime: Runtime, container: Make, identifier: str
) -> None:
    bundle = container(WASI_HELLO)
    write_config(bundle)
    for command in (["create", "--bundle", str(bundle.path)], ["delete"], ["state"]):
        result = runtime(*command, identifier)
        assert result.returncode == 1
        assert "invalid container ID" in result.stderr


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [("", 126, "empty"), ("(module (func", 126, "not a valid WebAssembly")],
)
def test_a_container_that_cannot_be_made_leaves_nothing(
    runtime: Runtime, container: Make, content: str, status: int, says: str
) -> None:
    bundle = container(content)
    write_config(bundle)
    result = runtime("create", "--bundle", str(bundle.path), "a")
    assert result.returncode == status
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(runtime.root.iterdir()) == []
    assert not list(Path("/sys/fs/cgroup").glob(f"*{bundle.config['linux']['cgroupsPath']}"))


def test_a_missing_program_is_127_in_words_that_docker_and_podman_look_for(
    runtime: Runtime, container: Make
) -> None:
    bundle = container(WASI_HELLO)
    bundle.config["process"]["args"] = ["/nothing.wasm"]
    write_config(bundle)
    result = runtime("create", "--bundle", str(bundle.path), "a")
    assert result.returncode == 127
    assert "no such file or directory" in result.stderr


def test_a_create_that_is_killed_leaves_no_process(
    runtime: Runtime, container: Make, tmp_path: Path
) -> None:
    """Its process is tied to it until all is written down: here a hook holds both up."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    bundle = container(SPINS)
    script = f"cat > {tmp_path}/state; echo $$ > {fifo}; exec sleep 60"
    holds_up = {"path": "/bin/sh", "args": ["sh", "-c", script]}
    bundle.config["hooks"] = {"createRuntime": [holds_up]}
    write_config(bundle)
    runtime.made.append("a")
    creating = subprocess.Popen(
        runtime.argv("create", "--bundle", str(bundle.path), "a"), env=runtime.environment
    )
    hook = int(fifo.read_text())
    assert runtime.status("a") == "creating"
    pid = json.loads((tmp_path / "state").read_text())["pid"]
    creating.kill()
    creating.wait()
    assert reap(pid) in (-signal.SIGKILL, 125)  # told by the kernel, or by its socket
    os.kill(hook, signal.SIGKILL)
    reap(hook)
    assert runtime.status("a") == "stopped"
    runtime.ok("delete", "--force", "a")
    assert list(runtime.root.iterdir()) == []


def test_list_shows_every_container(runtime: Runtime, container: Make) -> None:
    assert runtime.ok("list", "--format", "json") == "null\n"
    pids = {name: runtime.create(container(SPINS), name) for name in ("one", "two")}
    assert runtime.ok("list", "-q") == "one\ntwo\n"
    listed = json.loads(runtime.ok("list", "--format=json"))
    assert {entry["id"]: entry["pid"] for entry in listed} == pids
    title, *lines = runtime.ok("list").splitlines()
    assert title.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert [line.split()[:3] for line in lines] == [
        [name, str(pid), "created"] for name, pid in pids.items()
    ]


def test_a_guest_reads_the_stdin_given_to_create(runtime: Runtime, container: Make) -> None:
    pid = runtime.create(container(WAITS_FOR_STDIN), "a", stdin="x")
    runtime.ok("start", "a")
    assert reap(pid) == 0


def test_options_that_callers_send_are_taken(runtime: Runtime, container: Make) -> None:
    options = ("--no-pivot", "--no-new-keyring", "--preserve-fds", "0")
    pid = runtime.create(container(WASI_HELLO), "a", *options)
    runtime.ok("--systemd-cgroup=false", "--rootless", "auto", "--debug", "start", "a")
    assert reap(pid) == 0
