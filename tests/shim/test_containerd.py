"""The shim under a real containerd, driven by ctr."""

import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from tests.shim.containerds import SHIM, Containerd
from tests.terminals import all_shown

from wherry.pids import process_start

pytestmark = [pytest.mark.root, pytest.mark.containerd]


@contextmanager
def following_events(containerd: Containerd) -> Iterator["subprocess.Popen[str]"]:
    """`ctr events`, once it listens."""
    process = subprocess.Popen(containerd.argv("events"), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        while True:
            containerd.ctr(
                "namespaces", "label", containerd.namespace, f"beat={time.monotonic_ns()}"
            )
            if select.select([process.stdout], [], [], 0.2)[0]:
                break
        yield process
    finally:
        process.kill()
        process.wait()


def events_of(
    process: "subprocess.Popen[str]", ids: set[str], last: str
) -> list[tuple[str, dict[str, object]]]:
    """The task events of some containers, until each has had the topic `last`."""
    assert process.stdout is not None
    found = []
    open = set(ids)
    for line in process.stdout:
        match = re.search(r" (/tasks/\S+) (\{.*\})$", line)
        if match and (event := json.loads(match[2]))["container_id"] in ids:
            found.append((match[1], event))
            if match[1] == last:
                open.discard(event["container_id"])
                if not open:
                    break
    return found


def remains(containerd: Containerd) -> list[str]:
    """Mounts, cgroups and bundles of containers that are there."""
    found = [line for line in containerd.mounts() if "rootfs" in line]
    for folder, groups, _ in os.walk("/sys/fs/cgroup"):  # where others make and remove groups
        if os.path.basename(folder) == containerd.namespace:
            found += [f"{folder}/{group}" for group in groups]
    found += [str(p) for p in containerd.folder.glob("state/io.containerd.runtime.v2.task/*/*")]
    return found


def wait_for_end(pid: int) -> None:
    """Until a process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([descriptor], [], [], 60)
    os.close(descriptor)


def task_pid(containerd: Containerd, id: str) -> int:
    lines = containerd.ctr("task", "ls").stdout.splitlines()[1:]
    return next(int(line.split()[1]) for line in lines if line.split()[0] == id)


def test_run_gives_output_and_exit_code(containerd: Containerd) -> None:
    done = containerd.run("both", "run", "--rm")
    assert (done.returncode, done.stdout, done.stderr) == (7, "to stdout\n", "to stderr\n")
    assert remains(containerd) == []


def test_run_reads_stdin_to_its_end(containerd: Containerd) -> None:
    argv = containerd.argv(
        "run",
        "--rm",
        "--runtime",
        SHIM,
        "--platform",
        "wasi/wasm",
        "localhost/echo:latest",
        "stdin",
    )
    done = subprocess.run(argv, input="line\n" * 50000, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "line\n" * 50000)


def test_run_with_a_terminal(containerd: Containerd) -> None:
    master, slave = os.openpty()
    argv = containerd.argv(
        "run", "--rm", "-t", "--runtime", SHIM, "--platform", "wasi/wasm",
        "localhost/both:latest", "terminal",
    )  # fmt: skip
    process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    # Both terminals translate the newline, the container's and this one, as they do with runc.
    assert all_shown(master) == b"to stdout\r\r\nto stderr\r\r\n"
    assert process.wait(60) == 7
    os.close(master)


def test_a_trap_is_explained_on_stderr(containerd: Containerd) -> None:
    done = containerd.run("trap", "trap", "--rm")
    assert done.returncode == 134
    assert "unreachable" in done.stderr


@pytest.mark.parametrize(
    ("name", "status"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGKILL", 137), ("SIGHUP", 129)]
)
def test_kill_ends_a_task_at_once(containerd: Containerd, name: str, status: int) -> None:
    assert containerd.run("spin", name, "-d").returncode == 0
    assert containerd.statuses()[name] == "RUNNING"
    pid = task_pid(containerd, name)
    assert containerd.ctr("task", "kill", "-s", name, name).returncode == 0
    wait_for_end(pid)
    assert containerd.statuses()[name] == "STOPPED"
    deleted = containerd.ctr("task", "delete", name)
    assert f"exit code {status}" in deleted.stderr
    containerd.ctr("container", "delete", name)


def test_events_come_in_order(containerd: Containerd) -> None:
    with following_events(containerd) as events:
        assert containerd.run("both", "events", "--rm").returncode == 7
        seen = events_of(events, {"events"}, "/tasks/delete")
    assert [topic for topic, _ in seen] == [
        "/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete",
    ]  # fmt: skip
    assert {event["pid"] for _, event in seen} == {seen[0][1]["pid"]}
    assert [event.get("exit_status") for _, event in seen] == [None, None, 7, 7]


def test_out_of_memory_is_told_before_the_exit(containerd: Containerd) -> None:
    with following_events(containerd) as events:
        done = containerd.run("fill", "oom", "--rm", "--memory-limit", str(8 << 20))
        seen = events_of(events, {"oom"}, "/tasks/delete")
    assert done.returncode == 137
    assert [topic for topic, _ in seen][2:] == ["/tasks/oom", "/tasks/exit", "/tasks/delete"]


def test_pause_and_resume(containerd: Containerd) -> None:
    containerd.run("spin", "pause", "-d")
    assert containerd.ctr("task", "pause", "pause").returncode == 0
    assert containerd.statuses()["pause"] == "PAUSED"
    assert containerd.ctr("task", "resume", "pause").returncode == 0
    assert containerd.statuses()["pause"] == "RUNNING"
    containerd.ctr("task", "pause", "pause")
    containerd.ctr("task", "kill", "-s", "SIGTERM", "pause")
    wait_for_end(task_pid(containerd, "pause"))
    assert containerd.ctr("task", "delete", "pause").returncode == 0
    containerd.ctr("container", "delete", "pause")


def test_metrics_and_processes(containerd: Containerd) -> None:
    containerd.run("spin", "metrics", "-d")
    metrics = containerd.ctr("task", "metrics", "--format", "json", "metrics")
    assert metrics.returncode == 0, metrics.stderr
    figures = json.loads(metrics.stdout)
    usage = figures.get("usage") or figures["memory"]["usage"]
    assert (usage["usage"] if isinstance(usage, dict) else usage) > 100_000
    pid = task_pid(containerd, "metrics")
    processes = containerd.ctr("task", "ps", "metrics").stdout
    assert [line.split()[0] for line in processes.splitlines()[1:]] == [str(pid)]
    containerd.ctr("task", "delete", "--force", "metrics")
    containerd.ctr("container", "delete", "metrics")


def test_checkpoint_is_not_implemented(containerd: Containerd) -> None:
    containerd.run("spin", "checkpoint", "-d")
    done = containerd.ctr("task", "checkpoint", "checkpoint")
    assert done.returncode != 0
    assert "not implemented" in done.stderr.lower()
    containerd.ctr("task", "delete", "--force", "checkpoint")
    containerd.ctr("container", "delete", "checkpoint")


def test_all_containers_of_a_namespace_share_one_shim(containerd: Containerd) -> None:
    # Those of a group have to: they do, together with all others.
    for number, group in enumerate(("a", "a", "b")):
        label = f"io.containerd.runc.v2.group={group}"
        containerd.run("spin", f"shared{number}", "-d", "--annotation", label)
    assert len(containerd.server_pids()) == 1
    for number in range(3):
        containerd.ctr("task", "delete", "--force", f"shared{number}")
        containerd.ctr("container", "delete", f"shared{number}")
    assert remains(containerd) == []


def test_nonsense_in_an_image_is_one_clear_error(containerd: Containerd) -> None:
    image = "localhost/nonsense:latest"
    done = containerd.ctr("run", "--rm", "--runtime", SHIM, "--platform", "wasi/wasm", image, "bad")
    assert done.returncode != 0
    assert "main.wasm" in done.stderr
    assert remains(containerd) == []


def test_fifty_containers_at_once(containerd: Containerd) -> None:
    with ThreadPoolExecutor(50) as pool:
        done = list(pool.map(lambda n: containerd.run("hello", f"many{n}", "--rm"), range(50)))
    assert {(one.returncode, one.stdout, one.stderr) for one in done} == {(0, "hello\n", "")}
    assert remains(containerd) == []


def test_of_two_deletes_at_once_neither_breaks_anything(containerd: Containerd) -> None:
    containerd.run("spin", "twice", "-d")
    containerd.ctr("task", "kill", "-s", "SIGKILL", "twice")
    wait_for_end(task_pid(containerd, "twice"))
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: containerd.ctr("task", "delete", "twice"), range(2)))
    assert "twice" not in containerd.statuses()
    assert any("exit code 137" in one.stderr for one in done)
    containerd.ctr("container", "delete", "twice")
    assert remains(containerd) == []


def test_a_flood_with_nobody_reading_can_be_ended(containerd: Containerd) -> None:
    containerd.run("flood", "flood", "-d")
    assert containerd.ctr("task", "kill", "-s", "SIGTERM", "flood").returncode == 0
    wait_for_end(task_pid(containerd, "flood"))
    assert "exit code 143" in containerd.ctr("task", "delete", "flood").stderr
    containerd.ctr("container", "delete", "flood")


def test_tasks_outlive_a_containerd_that_is_killed(containerd: Containerd) -> None:
    containerd.run("spin", "lives", "-d")
    containerd.run("spin", "ends", "-d")
    pids = {id: task_pid(containerd, id) for id in ("lives", "ends")}
    started = process_start(pids["lives"])
    containerd.kill()
    # The process of the one task ends while no containerd is there to hear it.
    os.kill(pids["ends"], signal.SIGKILL)
    wait_for_end(pids["ends"])
    containerd.start_again()
    assert containerd.statuses() == {"lives": "RUNNING", "ends": "STOPPED"}
    assert process_start(pids["lives"]) == started
    assert "exit code 137" in containerd.ctr("task", "delete", "ends").stderr
    containerd.ctr("task", "kill", "-s", "SIGTERM", "lives")
    wait_for_end(pids["lives"])
    assert "exit code 143" in containerd.ctr("task", "delete", "lives").stderr
    for id in pids:
        assert containerd.ctr("container", "delete", id).returncode == 0
    assert remains(containerd) == []
    assert containerd.run("hello", "after", "--rm").stdout == "hello\n"


def test_a_shim_that_is_killed_takes_its_tasks_along_and_leaves_nothing(
    containerd: Containerd,
) -> None:
    for id in ("one", "two"):
        containerd.run("spin", id, "-d")
    pids = [task_pid(containerd, id) for id in ("one", "two")]
    (server,) = containerd.server_pids()
    with following_events(containerd) as events:
        os.kill(server, signal.SIGKILL)
        told = events_of(events, {"one", "two"}, "/tasks/delete")
    assert sorted((topic, event["exit_status"]) for topic, event in told) == [
        ("/tasks/delete", 137),
        ("/tasks/delete", 137),
        ("/tasks/exit", 137),
        ("/tasks/exit", 137),
    ]
    for pid in pids:
        wait_for_end(pid)
    for id in ("one", "two"):
        assert containerd.ctr("container", "delete", id).returncode == 0
    assert remains(containerd) == []
    assert {path.name for path in containerd.shim_folder.iterdir()} == {"lock"}
    assert containerd.run("hello", "next", "--rm").stdout == "hello\n"
