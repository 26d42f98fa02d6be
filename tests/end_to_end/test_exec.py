"""`wherry exec`: another program in a running container."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.engine_under_test import Wherry, end
from tests.guests.toolchain import Guests

TOOL = "/module.wasm"


@pytest.fixture
def running(wherry: Wherry, toolbox: str) -> Iterator[str]:
    """A container that waits."""
    identity = wherry.ok("run", "-d", "-e", "GIVEN=at creation", toolbox, "sleep", "600")
    yield identity
    wherry("unpause", identity)
    wherry.ok("rm", "-f", identity)


def until(true: Callable[[], bool]) -> None:
    """Ask again and again; the test's time limit is the runner's."""
    for _ in range(100_000):
        if true():
            return
    raise AssertionError("it never came true")


def leftovers(wherry: Wherry, container: str) -> list[str]:
    """What is on disk of the container's execs."""
    folder = wherry.root / "containers" / container / "execs"
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def commands(wherry: Wherry, container: str) -> list[str]:
    """The command lines of the container's processes."""
    return [line.split(None, 7)[7] for line in wherry.ok("top", container).splitlines()[1:]]


def pid_of(wherry: Wherry, container: str, word: str) -> int:
    """The host's pid of the container's process whose last argument is `word`."""
    lines = [line.split(None, 7) for line in wherry.ok("top", container).splitlines()[1:]]
    return next(int(line[1]) for line in lines if line[7].endswith(word))


def test_streams_and_exit_code_are_the_programs(wherry: Wherry, running: str) -> None:
    done = wherry("exec", running, TOOL, "both")
    assert (done.code, done.out, done.err) == (0, "to stdout\n", "to stderr\n")
    assert wherry("exec", running, TOOL, "nonsense").code == 64
    assert wherry("container", "exec", running, TOOL, "nonsense").code == 64


def test_files_are_those_of_the_running_container(wherry: Wherry, running: str) -> None:
    wherry.ok("exec", running, TOOL, "put", "/note", "written by one exec")
    assert wherry.ok("exec", running, TOOL, "cat", "/note") == "written by one exec"
    assert wherry.ok("exec", "-w", "/etc", running, TOOL, "cat", "hostname") == running[:12]


def test_environment_is_the_containers_and_what_is_given(
    wherry: Wherry, guests: Guests, toolbox: str, tmp_path: Path
) -> None:
    module = guests.wasm("environ")
    (tmp_path / "environ.wasm").write_bytes(module.read_bytes())
    (tmp_path / "vars").write_text("FILE=1\n")
    mount = f"{tmp_path}:/more:ro"
    identity = wherry.ok("run", "-d", "-v", mount, "-e", "A=1", "-e", "B=1", toolbox, "sleep", "60")
    out = wherry.ok(
        "exec", "-e", "B=2", "-e", "C", "--env-file", tmp_path / "vars",
        identity, "/more/environ.wasm", "word", env={"C": "3"},
    )  # fmt: skip
    lines = out.splitlines()
    assert lines[:2] == ["/more/environ.wasm", "word"]
    assert {"A=1", "B=2", "C=3", "FILE=1"} <= set(lines)
    assert "B=1" not in lines
    wherry.ok("rm", "-f", identity)


def test_stdin_is_carried_and_its_end(wherry: Wherry, running: str) -> None:
    data = os.urandom(300_000).hex()
    assert wherry.ok("exec", "-i", running, TOOL, "cat", input=data) == data
    assert wherry.ok("exec", running, TOOL, "cat", input="not for you") == ""


def test_stdin_may_end_before_it_is_read(wherry: Wherry, running: str) -> None:
    assert "ready" in wherry.ok("exec", "-i", running, TOOL, "sleep", "0", input="x" * 200_000)


def test_much_output_arrives_whole(wherry: Wherry, running: str) -> None:
    lines = wherry.ok("exec", running, TOOL, "flood", "100000").splitlines()
    assert len(lines) == 100_000
    assert all(line.startswith(f"{n:08d} ") for n, line in enumerate(lines))


@pytest.mark.parametrize(
    ("program", "code", "word"),
    [("/nothing.wasm", 127, "no such file"), ("/etc/hostname", 126, "WebAssembly")],
)
def test_what_cannot_run_has_dockers_exit_codes(
    wherry: Wherry, running: str, program: str, code: int, word: str
) -> None:
    for flags in ((), ("-t",), ("-d",)):
        done = wherry("exec", *flags, running, program)
        assert done.code == code, done.said
        assert word in done.err + done.out
        assert program in done.err + done.out
    assert leftovers(wherry, running) == []


def test_who_is_not_running_is_refused(wherry: Wherry, running: str, toolbox: str) -> None:
    assert "No such container" in wherry.refused("exec", "nobody", TOOL, code=1)
    ended = wherry.ok("create", toolbox, "both")
    assert "is not running" in wherry.refused("exec", ended, TOOL, code=1)
    wherry.ok("rm", ended)
    wherry.ok("pause", running)
    assert "is paused" in wherry.refused("exec", running, TOOL, code=1)
    wherry.ok("unpause", running)
    wherry.ok("exec", running, TOOL, "both")


def test_a_user_is_looked_up_in_the_container(wherry: Wherry, running: str) -> None:
    done = wherry("exec", "-u", "nobody-knows", running, TOOL, "both")
    assert done.code == 126
    assert "unable to find user nobody-knows" in done.err
    wherry.ok("exec", running, TOOL, "put", "/etc/passwd", "here:x:0:0::/home:\n")
    assert wherry.ok("exec", "-u", "here", running, TOOL, "both") == "to stdout"


def test_detached_it_runs_on_its_own(wherry: Wherry, running: str) -> None:
    assert wherry.ok("exec", "-d", running, TOOL, "put", "/done", "x") == ""
    until(lambda: wherry("exec", running, TOOL, "cat", "/done").out == "x")
    wherry.ok("exec", "-d", running, TOOL, "sleep", "601")
    assert f"{TOOL} sleep 601" in commands(wherry, running)


def test_all_programs_are_listed_and_end_with_the_container(wherry: Wherry, toolbox: str) -> None:
    identity = wherry.ok("run", "-d", toolbox, "sleep", "600")
    with wherry.background("exec", identity, TOOL, "sleep", "602") as attached:
        assert attached.stdout is not None
        assert attached.stdout.readline() == b"ready\n"
        wherry.ok("exec", "-d", identity, TOOL, "sleep", "603")
        assert sorted(commands(wherry, identity)) == [
            f"{TOOL} sleep {seconds}" for seconds in (600, 602, 603)
        ]
        ids = json.loads(wherry.ok("inspect", "-f", "{{json .ExecIDs}}", identity))
        assert len(ids) == 2
        wherry.ok("stop", identity)
        assert attached.wait(60) == 137
    layout = "{{.State.ExitCode}} {{json .ExecIDs}}"
    assert wherry.ok("inspect", "-f", layout, identity) == "143 null"
    assert leftovers(wherry, identity) == []
    wherry.ok("rm", identity)


def test_a_terminal_is_one(wherry: Wherry, running: str) -> None:
    assert wherry.ok("exec", "-t", running, TOOL, "isatty").strip() == "1 1 1"
    assert wherry.ok("exec", running, TOOL, "isatty").strip() == "0 0 0"
    assert "not a TTY" in wherry.refused("exec", "-it", running, TOOL, code=1)


@contextlib.contextmanager
def typing(wherry: Wherry, *words: str) -> Iterator[tuple[int, int]]:
    """`wherry WORDS` at a terminal: its pid and the terminal's other end."""
    pid, terminal = pty.fork()
    if pid == 0:
        argv = wherry.argv(*words)
        os.execve(argv[0], argv, wherry.environment)
    try:
        yield pid, terminal
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(terminal)


def read_until(terminal: int, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        seen += os.read(terminal, 4096)
    return seen


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_keys_go_both_ways(wherry: Wherry, running: str) -> None:
    with typing(wherry, "exec", "-it", running, TOOL, "cat") as (pid, terminal):
        os.write(terminal, b"ahoy\n")
        read_until(terminal, b"ahoy\r\nahoy\r\n")
        os.write(terminal, b"\x04")
        assert ended(pid) == 0


def test_the_detach_keys_let_it_go_on(wherry: Wherry, running: str) -> None:
    with typing(wherry, "exec", "-it", running, TOOL, "sleep", "604") as (pid, terminal):
        read_until(terminal, b"ready")
        os.write(terminal, b"\x10\x11")
        read_until(terminal, b"read escape sequence")
        assert ended(pid) == 0
    assert f"{TOOL} sleep 604" in commands(wherry, running)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_client_that_goes_takes_it_along(
    wherry: Wherry, running: str, number: signal.Signals
) -> None:
    with wherry.background("exec", "-i", running, TOOL, "sleep", "605") as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"ready\n"
        client.send_signal(number)
        client.wait(60)
    until(lambda: commands(wherry, running) == [f"{TOOL} sleep 600"])
    until(lambda: leftovers(wherry, running) == [])


def test_a_terminal_that_is_closed_takes_it_along(wherry: Wherry, running: str) -> None:
    with typing(wherry, "exec", "-it", running, TOOL, "sleep", "606") as (pid, terminal):
        read_until(terminal, b"ready")
        os.kill(pid, signal.SIGKILL)
    until(lambda: commands(wherry, running) == [f"{TOOL} sleep 600"])


def test_a_client_that_reads_nothing_holds_up_nobody(wherry: Wherry, running: str) -> None:
    with wherry.background("exec", running, TOOL, "flood", "1000000") as slow:
        assert wherry.ok("exec", running, TOOL, "both") == "to stdout"
        slow.kill()
    until(lambda: leftovers(wherry, running) == [])


def test_a_hundred_at_once(wherry: Wherry, running: str) -> None:
    def run(number: int) -> None:
        path = f"/n{number}"
        wherry.ok("exec", running, TOOL, "put", path, str(number))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(run, range(100)))
    names = wherry.ok("exec", running, TOOL, "list", "/").split()
    assert {f"n{number}" for number in range(100)} <= set(names)
    assert leftovers(wherry, running) == []
    assert commands(wherry, running) == [f"{TOOL} sleep 600"]


def test_events_tell_of_it(wherry: Wherry, toolbox: str) -> None:
    identity = wherry.ok("run", "-d", toolbox, "sleep", "60")
    wherry("exec", identity, TOOL, "nonsense")
    wherry.ok("rm", "-f", identity)
    told = wherry.ok(
        "events", "--since", "10m", "--until", "0s", "--filter", f"container={identity}",
        "--format", "{{json .}}",
    )  # fmt: skip
    events = [json.loads(line) for line in told.splitlines() if '"exec_' in line]
    assert [event["Action"] for event in events] == [
        f"exec_create: {TOOL} nonsense",
        f"exec_start: {TOOL} nonsense",
        "exec_die",
    ]
    attributes = [event["Actor"]["Attributes"] for event in events]
    assert attributes[-1]["exitCode"] == "64"
    assert len({each["execID"] for each in attributes}) == 1
    assert {each["image"] for each in attributes} == {toolbox}


def test_what_a_killed_engine_leaves_is_cleared_away(fresh_wherry: Wherry, guests: Guests) -> None:
    wherry = fresh_wherry
    wherry.image("toolbox", guests.toolbox())
    identity = wherry.ok("run", "-d", "toolbox", "sleep", "600")
    wherry.ok("exec", "-d", identity, TOOL, "sleep", "607")
    with wherry.background("exec", identity, TOOL, "sleep", "608") as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"ready\n"
        assert len(leftovers(wherry, identity)) == 2
        wherry.kill_daemon()
        assert client.wait(60) == 125
        assert client.stderr is not None
        assert b"the engine went away" in client.stderr.read()
    assert commands(wherry, identity) == [f"{TOOL} sleep 600"]
    assert leftovers(wherry, identity) == []
    assert wherry.ok("exec", identity, TOOL, "both") == "to stdout"


def test_an_engine_that_ends_takes_them_along(fresh_wherry: Wherry, guests: Guests) -> None:
    wherry = fresh_wherry
    wherry.image("toolbox", guests.toolbox())
    identity = wherry.ok("run", "-d", "toolbox", "sleep", "600")
    wherry.ok("exec", "-d", identity, TOOL, "sleep", "609")
    pid = pid_of(wherry, identity, "609")
    end(wherry.daemon_pid(), signal.SIGTERM)
    assert leftovers(wherry, identity) == []
    assert not Path(f"/proc/{pid}").exists(), "the exec outlives its engine"
    assert commands(wherry, identity) == [f"{TOOL} sleep 600"]


def test_its_sandbox_is_the_containers(wherry: Wherry, running: str) -> None:
    wherry.ok("exec", "-d", running, TOOL, "sleep", "610")
    pid = pid_of(wherry, running, "610")
    init = wherry.pid(running)
    for kind in ("mnt", "pid", "ipc", "uts", "net"):
        assert os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/{init}/ns/{kind}")
    status = Path(f"/proc/{pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    assert "Seccomp:\t2" in status
