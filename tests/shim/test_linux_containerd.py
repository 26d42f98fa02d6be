"""Linux images through wherry's shim, driven by a real containerd: beside Wasm, as under runc."""

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests import peers
from tests.shim.archive import Image, oci_archive
from tests.shim.containerds import SHIM, Containerd
from tests.shim.test_containerd import (
    events_of,
    following_events,
    remains,
    task_pid,
    wait_for_end,
)
from tests.terminals import all_shown

pytestmark = [pytest.mark.root, pytest.mark.containerd]

_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
_IMAGE = "localhost/linux:latest"


@pytest.fixture(scope="module")
def linux(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    """A containerd with the guests' images, and one of a busybox."""
    daemon = Containerd(tmp_path_factory.mktemp("l"))
    try:
        daemon.import_images()
        busybox = Path(peers.program("busybox")).read_bytes()
        names = ("sh", "cat", "sleep", "tail", "tty", "true")
        image = Image(
            files={f"bin/{name}": busybox for name in names},
            entrypoint=["/bin/sh"],
            os="linux",
            architecture=_ARCHITECTURE,
            env=["PATH=/bin"],
        )
        archive = daemon.folder / "linux.tar"
        archive.write_bytes(oci_archive({_IMAGE: image}))
        done = daemon.ctr("images", "import", "--all-platforms", str(archive))
        assert done.returncode == 0, done.stderr
        yield daemon
    finally:
        daemon.close()


def run(
    linux: Containerd, id: str, script: str, *flags: str, stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    argv = ["run", "--runtime", SHIM, *flags, _IMAGE, id, "sh", "-c", script]
    return linux.ctr(*argv, stdin=stdin)


def deleted(linux: Containerd, id: str) -> str:
    """End and forget a container; what `ctr` said of its exit."""
    said = linux.ctr("task", "delete", "--force", id).stderr
    assert linux.ctr("container", "delete", id).returncode == 0
    return said


def test_run_gives_output_and_exit_code(linux: Containerd) -> None:
    done = run(linux, "plain", "echo out; echo err >&2; exit 7", "--rm")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert remains(linux) == []


def test_run_reads_stdin_to_its_end(linux: Containerd) -> None:
    done = run(linux, "stdin", "cat", "--rm", stdin="line\n" * 50000)
    assert (done.returncode, done.stdout) == (0, "line\n" * 50000)


def test_run_with_a_terminal(linux: Containerd) -> None:
    master, slave = os.openpty()
    argv = linux.argv("run", "--rm", "-t", "--runtime", SHIM, _IMAGE, "tty", "sh", "-c", "tty")
    process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    assert all_shown(master).rstrip() == b"/dev/pts/0"
    assert process.wait(60) == 0
    os.close(master)


def test_exec(linux: Containerd) -> None:
    run(linux, "base", "echo 1 > /mark; sleep 1000", "-d")
    done = linux.ctr("task", "exec", "--exec-id", "e", "base", "sh", "-c", "cat /mark; exit 9")
    assert (done.returncode, done.stdout) == (9, "1\n")
    done = linux.ctr("task", "exec", "--exec-id", "f", "base", "cat", stdin="through")
    assert (done.returncode, done.stdout) == (0, "through")
    done = linux.ctr("task", "exec", "--exec-id", "g", "base", "nothing")
    assert done.returncode != 0 and "nothing" in done.stderr
    deleted(linux, "base")
    assert remains(linux) == []


def test_signals_reach_the_program(linux: Containerd) -> None:
    script = "trap 'exit 5' USR1; while :; do sleep 1000 & wait; done"
    run(linux, "signals", script, "-d")
    pid = task_pid(linux, "signals")
    while b"trap" not in Path(f"/proc/{pid}/cmdline").read_bytes():
        os.sched_yield()
    caught = 0
    while not caught & 1 << 9:  # SIGUSR1: the shell has read so far
        status = Path(f"/proc/{pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    assert linux.ctr("task", "kill", "-s", "SIGUSR1", "signals").returncode == 0
    wait_for_end(pid)
    assert "exit code 5" in deleted(linux, "signals")


def test_pause_metrics_and_processes(linux: Containerd) -> None:
    run(linux, "pause", "sleep 1000 & sleep 1001", "-d")
    assert linux.ctr("task", "pause", "pause").returncode == 0
    assert linux.statuses()["pause"] == "PAUSED"
    assert linux.ctr("task", "resume", "pause").returncode == 0
    figures = json.loads(linux.ctr("task", "metrics", "--format", "json", "pause").stdout)
    usage = figures.get("usage") or figures["memory"]["usage"]
    assert (usage["usage"] if isinstance(usage, dict) else usage) > 10_000
    processes = linux.ctr("task", "ps", "pause").stdout.splitlines()[1:]
    assert str(task_pid(linux, "pause")) in {line.split()[0] for line in processes}
    deleted(linux, "pause")


def test_events_and_out_of_memory(linux: Containerd) -> None:
    with following_events(linux) as events:
        done = run(linux, "oom", "exec tail /dev/zero", "--rm", "--memory-limit", str(24 << 20))
        seen = events_of(events, {"oom"}, "/tasks/delete")
    assert done.returncode == 137
    assert [topic for topic, _ in seen] == [
        "/tasks/create", "/tasks/start", "/tasks/oom", "/tasks/exit", "/tasks/delete",
    ]  # fmt: skip


def test_twenty_of_both_kinds_at_once(linux: Containerd) -> None:
    def one(number: int) -> "subprocess.CompletedProcess[str]":
        if number % 2:
            return linux.run("hello", f"many{number}", "--rm")
        return run(linux, f"many{number}", "echo hello", "--rm")

    with ThreadPoolExecutor(20) as pool:
        done = list(pool.map(one, range(20)))
    assert {(one.returncode, one.stdout, one.stderr) for one in done} == {(0, "hello\n", "")}
    assert len(linux.server_pids()) == 1
    assert remains(linux) == []


def test_tasks_outlive_a_containerd_that_is_killed(linux: Containerd) -> None:
    run(linux, "lives", "sleep 1000", "-d")
    pid = task_pid(linux, "lives")
    linux.kill()
    linux.start_again()
    assert linux.statuses() == {"lives": "RUNNING"}
    assert linux.ctr("task", "kill", "-s", "SIGKILL", "lives").returncode == 0
    wait_for_end(pid)
    assert "exit code 137" in deleted(linux, "lives")
    assert remains(linux) == []


def test_after_a_shim_was_killed_nothing_is_left(linux: Containerd) -> None:
    run(linux, "one", "sleep 1000 & sleep 1001", "-d")
    linux.run("spin", "two", "-d")
    pids = [task_pid(linux, id) for id in ("one", "two")]
    (server,) = linux.server_pids()
    with following_events(linux) as events:
        os.kill(server, 9)
        told = events_of(events, {"one", "two"}, "/tasks/delete")
    assert {event["exit_status"] for _, event in told} == {137}
    for pid in pids:
        wait_for_end(pid)
    for id in ("one", "two"):
        assert linux.ctr("container", "delete", id).returncode == 0
    assert remains(linux) == []
    assert list((linux.run_folder / "linux" / linux.namespace).iterdir()) == []
    assert run(linux, "next", "echo next", "--rm").stdout == "next\n"
