"""`wherry run` and `wherry create`: flags as Docker has them."""

from __future__ import annotations

import json
import os
import pty
import re
from pathlib import Path

import pytest
from tests.engine_under_test import Wherry
from tests.guests.toolchain import Guests

GREETING = "hello from a WebAssembly container\n"


@pytest.fixture(scope="module")
def environ(wherry: Wherry, guests: Guests) -> str:
    return wherry.image("environ", guests.wat("environ"), entrypoint=["first"])


def test_prints_what_the_guest_prints_and_nothing_else(wherry: Wherry, hello: str) -> None:
    done = wherry("run", "--rm", hello)
    assert (done.code, done.out, done.err) == (0, GREETING, "")


def test_rm_leaves_no_container(wherry: Wherry, hello: str) -> None:
    wherry.ok("run", "--rm", "--name", "gone", hello)
    assert wherry.ok("ps", "-aq", "--filter", "name=gone") == ""


def test_stdout_and_stderr_stay_apart(wherry: Wherry, toolbox: str) -> None:
    done = wherry("run", "--rm", toolbox, "both")
    assert (done.out, done.err) == ("to stdout\n", "to stderr\n")


def test_detached_prints_the_full_id(wherry: Wherry, toolbox: str) -> None:
    identity = wherry.ok("run", "-d", toolbox, "sleep", "60")
    assert re.fullmatch("[0-9a-f]{64}", identity)
    assert wherry.ok("rm", "-f", identity) == identity


def test_arguments_and_environment_reach_the_guest(
    wherry: Wherry, environ: str, tmp_path: Path
) -> None:
    (tmp_path / "env").write_text("# a comment\nFROM_FILE=2\n\nTAKEN\n")
    out = wherry.ok(
        "run", "--rm", "-e", "GIVEN=1", "-e", "TAKEN", "--env-file", tmp_path / "env",
        environ, "second", "third and more",
        env={"TAKEN": "from the caller"},
    )  # fmt: skip
    lines = out.splitlines()
    assert lines[1:4] == ["first", "second", "third and more"]
    assert {"GIVEN=1", "FROM_FILE=2", "TAKEN=from the caller"} <= set(lines)


def test_entrypoint_is_replaced(wherry: Wherry, environ: str) -> None:
    out = wherry.ok("run", "--rm", "--entrypoint", "/module.wat", environ, "only")
    assert out.splitlines()[1] == "only"


def test_interactive_pipes_stdin(wherry: Wherry, guests: Guests) -> None:
    wherry.image("echo", guests.wat("echo"))
    data = os.urandom(300_000).hex()
    assert wherry.ok("run", "--rm", "-i", "echo", input=data) == data


def test_without_i_stdin_is_empty(wherry: Wherry, guests: Guests) -> None:
    wherry.image("echo", guests.wat("echo"))
    assert wherry.ok("run", "--rm", "echo", input="not for you") == ""


def test_large_output_arrives_whole_and_in_order(wherry: Wherry, toolbox: str) -> None:
    lines = wherry.ok("run", "--rm", toolbox, "flood", "100000").splitlines()
    assert len(lines) == 100_000
    assert all(line.startswith(f"{n:08d} ") for n, line in enumerate(lines))


def test_terminal_is_one(wherry: Wherry, toolbox: str) -> None:
    assert wherry.ok("run", "--rm", "-t", toolbox, "isatty").strip() == "1 1 1"
    assert wherry.ok("run", "--rm", toolbox, "isatty").strip() == "0 0 0"


def test_interactive_terminal_carries_keys_both_ways(wherry: Wherry, toolbox: str) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        argv = wherry.argv("run", "--rm", "-it", toolbox, "cat")
        os.execve(argv[0], argv, wherry.environment)
    seen = b""
    os.write(terminal, b"ahoy\n")
    while seen.count(b"ahoy") < 2:  # the terminal's echo, and the guest's own
        seen += os.read(terminal, 4096)
    os.write(terminal, b"\x04")
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, seen


def test_interactive_terminal_refuses_a_pipe(wherry: Wherry, toolbox: str) -> None:
    message = wherry.refused("run", "--rm", "-it", toolbox, "cat", code=1)
    assert "not a TTY" in message


def test_working_directory(wherry: Wherry, toolbox: str, tmp_path: Path) -> None:
    (tmp_path / "cargo").write_text("barrels")
    mount = ("-v", f"{tmp_path}:/hold")
    assert wherry.ok("run", "--rm", *mount, "-w", "/hold", toolbox, "cat", "cargo") == "barrels"


def test_names_are_given_or_made_up(wherry: Wherry, hello: str) -> None:
    wherry.ok("run", "--name", "my-own", hello)
    identity = wherry.ok("run", "-d", hello)
    assert wherry.ok("inspect", "-f", "{{.Name}}", "my-own") == "/my-own"
    assert re.fullmatch(r"/[a-z]+_[a-z]+\d*", wherry.ok("inspect", "-f", "{{.Name}}", identity))
    wherry.ok("rm", "my-own", identity)


def test_labels_are_kept_and_filtered_by(wherry: Wherry, hello: str) -> None:
    first = wherry.ok("create", "-l", "port=Kiel", "--label", "empty", hello)
    assert json.loads(wherry.ok("inspect", "-f", "{{json .Config.Labels}}", first)) == {
        "port": "Kiel", "empty": "",
    }  # fmt: skip
    assert wherry.ok("ps", "-aq", "--no-trunc", "--filter", "label=port=Kiel") == first
    assert wherry.ok("ps", "-aq", "--filter", "label=port=Bremen") == ""
    wherry.ok("rm", first)


def test_cidfile_is_written_once(wherry: Wherry, hello: str, tmp_path: Path) -> None:
    identity = wherry.ok("create", "--cidfile", tmp_path / "cid", hello)
    assert (tmp_path / "cid").read_text() == identity
    wherry.refused("create", "--cidfile", tmp_path / "cid", hello, code=125)
    wherry.ok("rm", identity)


def test_create_then_start_attached(wherry: Wherry, hello: str) -> None:
    identity = wherry.ok("create", hello)
    assert wherry.ok("inspect", "-f", "{{.State.Status}}", identity) == "created"
    assert wherry.ok("start", "-a", identity) + "\n" == GREETING
    assert wherry.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", identity) == (
        "exited 0"
    )
    wherry.ok("rm", identity)


def test_attach_only_to_one_stream(wherry: Wherry, toolbox: str) -> None:
    done = wherry("run", "--rm", "-a", "stderr", toolbox, "both")
    assert (done.out, done.err) == ("", "to stderr\n")


def test_module_file_runs_without_an_image(wherry: Wherry, guests: Guests) -> None:
    out = wherry.ok("run", "--rm", guests.wat("environ"), "a", "b c")
    assert {"a", "b c"} <= set(out.splitlines())
    assert wherry.ok("run", "--rm", guests.toolbox(), "pwd")


def test_module_file_given_relative_to_here(wherry: Wherry, guests: Guests, tmp_path: Path) -> None:
    (tmp_path / "m.wasm").write_bytes(guests.toolbox().read_bytes())
    assert "ready" in wherry.ok("run", "--rm", "./m.wasm", "sleep", "0", cwd=tmp_path)


def test_platform_of_the_image_is_accepted_in_all_its_spellings(wherry: Wherry, hello: str) -> None:
    for platform in ("wasi/wasm", "wasi/wasm32", "wasm"):
        assert wherry.ok("run", "--rm", "--platform", platform, hello) + "\n" == GREETING


def test_restart_on_failure_gives_up_after_n(wherry: Wherry, guests: Guests) -> None:
    image = wherry.image("exits", guests.wat("exit"))
    identity = wherry.ok("run", "-d", "--restart", "on-failure:2", image, "7")
    watch = ("--filter", f"container={identity}", "--filter", "event=die", "--since", "5m")
    with wherry.background("events", *watch) as events:
        assert events.stdout is not None
        for _ in range(3):
            assert b"exitCode=7" in events.stdout.readline()
    assert wherry.ok("wait", identity) == "7"
    assert wherry.ok("inspect", "-f", "{{.RestartCount}}", identity) == "2"
    wherry.ok("rm", "-f", identity)


def test_restart_always_starts_again_until_stopped(wherry: Wherry, guests: Guests) -> None:
    image = wherry.image("exits", guests.wat("exit"))
    identity = wherry.ok("run", "-d", "--restart", "always", image, "0")
    watch = ("--filter", f"container={identity}", "--filter", "event=start", "--since", "5m")
    with wherry.background("events", *watch) as events:
        assert events.stdout is not None
        for _ in range(2):
            assert b"container start" in events.stdout.readline()
    wherry.ok("stop", identity)
    assert wherry.ok("inspect", "-f", "{{.State.Running}}", identity) == "false"
    wherry.ok("rm", identity)


def test_pull_policies(wherry: Wherry, hello: str) -> None:
    assert wherry.ok("run", "--rm", "--pull", "never", hello) + "\n" == GREETING
    message = wherry.refused("run", "--rm", "--pull", "never", "nosuch/image", code=125)
    assert "nosuch/image" in message


def test_signal_and_timeout_to_stop_with_are_the_containers_own(
    wherry: Wherry, toolbox: str
) -> None:
    identity = wherry.ok(
        "create", "--stop-signal", "SIGINT", "--stop-timeout", "3", toolbox, "sleep", "60"
    )
    assert wherry.ok("inspect", "-f", "{{.Config.StopSignal}}", identity) == "SIGINT"
    assert wherry.ok("inspect", "-f", "{{.Config.StopTimeout}}", identity) == "3"
    wherry.ok("start", identity)
    wherry.ok("stop", identity)
    assert wherry.ok("inspect", "-f", "{{.State.ExitCode}}", identity) == "130"
    wherry.ok("rm", identity)
