"""Further processes of a container under a real containerd, driven by ctr."""

import os
import select
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.shim.containerds import SHIM, Containerd
from tests.shim.guests import ALL
from tests.shim.test_containerd import events_of, following_events, remains, task_pid, wait_for_end
from tests.terminals import all_shown

pytestmark = [pytest.mark.root, pytest.mark.containerd]

WAIT = Path(__file__).parents[1] / "guests" / "wait.wat"


@pytest.fixture(scope="module")
def tools(containerd: Containerd) -> Path:
    """A folder of programs, to be mounted at /tools."""
    folder = containerd.folder / "tools"
    folder.mkdir()
    for name, text in ALL.items():
        (folder / f"{name}.wat").write_text(text)
    (folder / "wait.wat").write_text(WAIT.read_text())
    (folder / "folder").mkdir()
    return folder


@contextmanager
def container(containerd: Containerd, tools: Path, id: str) -> Iterator[str]:
    """A container that waits, with the programs at /tools."""
    mount = f"type=bind,src={tools},dst=/tools,options=rbind:ro"
    made = containerd.ctr(
        "run", "-d", "--runtime", SHIM, "--platform", "wasi/wasm", "--mount", mount,
        "localhost/hello:latest", id, "/tools/wait.wat",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    try:
        yield id
    finally:
        containerd.ctr("task", "delete", "--force", id)
        containerd.ctr("container", "delete", id)
    assert remains(containerd) == []


def exec_argv(containerd: Containerd, id: str, name: str, *args: str) -> list[str]:
    return containerd.argv("task", "exec", "--exec-id", name, *args[:-1], id, args[-1])


def run(
    containerd: Containerd, id: str, name: str, *args: str, stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    """`ctr task exec`: options come first in `args`, the program last."""
    return subprocess.run(
        exec_argv(containerd, id, name, *args),
        capture_output=True,
        text=True,
        input=stdin,
        timeout=60,
    )


def test_output_and_exit_code(containerd: Containerd, tools: Path) -> None:
    with container(containerd, tools, "exec-both") as id:
        for _ in range(2):  # the id is free again
            done = run(containerd, id, "e", "/tools/both.wat")
            assert (done.returncode, done.stdout, done.stderr) == (7, "to stdout\n", "to stderr\n")
        # A program of the image itself.
        assert run(containerd, id, "e", "/main.wasm").stdout == "hello\n"
        assert containerd.statuses()[id] == "RUNNING"


def test_stdin_to_its_end(containerd: Containerd, tools: Path) -> None:
    with container(containerd, tools, "exec-stdin") as id:
        text = "line\n" * 50000
        done = run(containerd, id, "e", "/tools/echo.wat", stdin=text)
        assert (done.returncode, done.stdout) == (0, text)


def test_a_terminal(containerd: Containerd, tools: Path) -> None:
    with container(containerd, tools, "exec-terminal") as id:
        master, slave = os.openpty()
        argv = exec_argv(containerd, id, "e", "-t", "/tools/both.wat")
        process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        assert all_shown(master) == b"to stdout\r\r\nto stderr\r\r\n"
        assert process.wait(60) == 7
        os.close(master)


def test_what_cannot_run_is_named_in_words_that_docker_knows(
    containerd: Containerd, tools: Path
) -> None:
    with container(containerd, tools, "exec-nothing") as id:
        done = run(containerd, id, "e", "/nope.wasm")
        assert done.returncode != 0
        assert 'exec: "/nope.wasm": no such file or directory' in done.stderr
        for program in ("/tools/nonsense.wat", "/tools/folder"):
            done = run(containerd, id, "e", program)
            assert done.returncode != 0
            assert program in done.stderr and "permission denied" in done.stderr
        # Its id is free again, and the container goes on.
        assert run(containerd, id, "e", "/tools/hello.wat").stdout == "hello\n"


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGKILL", 137)])
def test_kill_ends_one_process(containerd: Containerd, tools: Path, name: str, status: int) -> None:
    with container(containerd, tools, f"exec-{name}") as id:
        process = start_waiting(containerd, id, "e")
        done = containerd.ctr("task", "kill", "--exec-id", "e", "-s", name, id)
        assert done.returncode == 0, done.stderr
        assert process.wait(60) == status
        assert containerd.statuses()[id] == "RUNNING"


def start_waiting(containerd: Containerd, id: str, name: str) -> "subprocess.Popen[str]":
    """Exec a process that waits, until it does."""
    argv = exec_argv(containerd, id, name, "/tools/wait.wat")
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_are_listed_with_their_ids(containerd: Containerd, tools: Path) -> None:
    with container(containerd, tools, "exec-list") as id:
        process = start_waiting(containerd, id, "further")
        lines = containerd.ctr("task", "ps", id).stdout.splitlines()[1:]
        assert len(lines) == 2
        assert [line for line in lines if "further" in line]
        assert [line for line in lines if line.split()[0] == str(task_pid(containerd, id))]
        containerd.ctr("task", "kill", "--exec-id", "further", "-s", "SIGKILL", id)
        process.wait(60)


def test_the_end_of_the_container_ends_them_and_is_told_last(
    containerd: Containerd, tools: Path
) -> None:
    with container(containerd, tools, "exec-end") as id, following_events(containerd) as events:
        waiting = [start_waiting(containerd, id, name) for name in ("one", "two")]
        pid = task_pid(containerd, id)
        containerd.ctr("task", "kill", "-s", "SIGTERM", id)
        wait_for_end(pid)
        assert {process.wait(60) for process in waiting} == {137}
        containerd.ctr("task", "delete", id)
        seen = events_of(events, {id}, "/tasks/delete")
        topics = [topic for topic, _ in seen]
        assert topics.count("/tasks/exec-added") == topics.count("/tasks/exec-started") == 2
        ends = [(e["id"], e["exit_status"]) for topic, e in seen if topic == "/tasks/exit"]
        assert sorted(ends[:2]) == [("one", 137), ("two", 137)]
        assert ends[2:] == [(id, 143)]


def test_a_container_that_is_paused_or_has_ended_takes_none(
    containerd: Containerd, tools: Path
) -> None:
    with container(containerd, tools, "exec-late") as id:
        containerd.ctr("task", "pause", id)
        refused = run(containerd, id, "e", "/tools/hello.wat")
        assert refused.returncode != 0 and "is paused" in refused.stderr
        containerd.ctr("task", "resume", id)
        pid = task_pid(containerd, id)
        containerd.ctr("task", "kill", "-s", "SIGKILL", id)
        wait_for_end(pid)
        refused = run(containerd, id, "e", "/tools/hello.wat")
        assert refused.returncode != 0 and "has ended" in refused.stderr


def test_twenty_at_once_and_no_descriptor_left(containerd: Containerd, tools: Path) -> None:
    with container(containerd, tools, "exec-many") as id, ThreadPoolExecutor(20) as pool:
        (server,) = containerd.server_pids()

        def run_many(names: list[str]) -> int:
            program = "/tools/hello.wat"
            done = list(pool.map(lambda name: run(containerd, id, name, program), names))
            results = {(one.returncode, one.stdout, one.stderr) for one in done}
            assert results == {(0, "hello\n", "")}
            return len(os.listdir(f"/proc/{server}/fd"))

        before = run_many([f"warm-{number}" for number in range(20)])
        # ctr is told before the last of an exec is closed: a few may be on their way.
        assert run_many([f"e{number}" for number in range(100)]) < before + 20


def test_they_outlive_a_containerd_that_is_killed(containerd: Containerd, tools: Path) -> None:
    with container(containerd, tools, "exec-lives") as id:
        process = start_waiting(containerd, id, "e")
        pids = {
            int(line.split()[0])
            for line in containerd.ctr("task", "ps", id).stdout.splitlines()[1:]
        }
        (further,) = pids - {task_pid(containerd, id)}
        containerd.kill()
        process.kill()
        process.wait()
        containerd.start_again()
        descriptor = os.pidfd_open(further)
        assert not select.select([descriptor], [], [], 0)[0]
        os.close(descriptor)
        assert run(containerd, id, "f", "/tools/hello.wat").stdout == "hello\n"
