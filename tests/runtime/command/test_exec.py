"""exec: further processes of a container, as Docker, conmon and CRI-O ask for them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.guests.toolchain import Guests
from tests.runtime.bundles import Bundle
from tests.runtime.command.conftest import Runtime, read_line, reap

pytestmark = pytest.mark.root
Make = Callable[..., Bundle]


@pytest.fixture
def running(runtime: Runtime, container: Make, guests: Guests) -> Iterator[int]:
    """The pid of container `a`, which waits and has a toolbox and a program that exits."""
    bundle = container(guests.wasm("wait").read_bytes())
    for name, program in (("toolbox", guests.toolbox()), ("exit", guests.wasm("exit"))):
        (bundle.path / "rootfs" / f"{name}.wasm").write_bytes(program.read_bytes())
    pid = runtime.create(bundle, "a")
    runtime.ok("start", "a")
    yield pid
    runtime("kill", "a", "KILL")
    reap(pid)


def test_a_program_runs_in_the_container(runtime: Runtime, running: int, tmp_path: Path) -> None:
    runtime.ok("exec", "a", "/toolbox.wasm", "put", "/new", "by exec")
    assert (tmp_path / "bundle-1" / "rootfs" / "new").read_text() == "by exec"
    result = runtime("exec", "a", "toolbox.wasm", "cat", input="given\n")
    assert (result.returncode, result.stdout) == (0, "given\n")


@pytest.mark.parametrize("code", [0, 3, 255])
def test_its_exit_code_is_the_commands(runtime: Runtime, running: int, code: int) -> None:
    assert runtime("exec", "a", "/exit.wasm", str(code)).returncode == code


def test_a_process_is_described_by_a_file(runtime: Runtime, running: int, tmp_path: Path) -> None:
    description = tmp_path / "process.json"
    process = {"args": ["/toolbox.wasm", "pwd"], "cwd": "/", "user": {"uid": 7, "gid": 7}}
    description.write_text(json.dumps(process))
    assert runtime.ok("exec", "--process", str(description), "a") == "/\n"
    description.write_text("{")
    assert runtime("exec", "-p", str(description), "a").returncode == 1


def test_options_describe_a_process(runtime: Runtime, running: int) -> None:
    options = ("--cwd", "/", "--env", "A=b", "-e", "C=d", "--user", "7:8", "--cap", "CAP_KILL")
    assert runtime.ok("exec", *options, "a", "/toolbox.wasm", "pwd") == "/\n"
    assert "--user is UID" in runtime("exec", "-u", "someone", "a", "/exit.wasm").stderr


def test_detached_it_is_left_to_the_caller(runtime: Runtime, running: int, tmp_path: Path) -> None:
    pid_file = tmp_path / "exec.pid"
    with (tmp_path / "exec.out").open("w") as out:
        subprocess.run(
            runtime.argv(
                "exec", "--detach", "--pid-file", str(pid_file), "a", "/toolbox.wasm", "both"
            ),
            env=runtime.environment,
            stdout=out,
            stderr=out,
            check=True,
        )
    assert reap(int(pid_file.read_text())) == 0
    assert (tmp_path / "exec.out").read_text() == "to stdout\nto stderr\n"


def test_signals_to_the_command_reach_its_process(runtime: Runtime, running: int) -> None:
    with subprocess.Popen(
        runtime.argv("exec", "a", "/main.wasm"), env=runtime.environment, stdout=subprocess.PIPE
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == b"ready\n"
        command.terminate()
        assert command.wait(60) == 128 + signal.SIGTERM
    assert runtime.status("a") == "running"


def test_it_dies_with_the_command_that_waits_for_it(runtime: Runtime, running: int) -> None:
    with subprocess.Popen(
        runtime.argv("exec", "a", "/main.wasm"), env=runtime.environment, stdout=subprocess.PIPE
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == b"ready\n"
        (other,) = set(json.loads(runtime.ok("ps", "-f", "json", "a"))) - {running}
        command.kill()
    assert reap(other) == -signal.SIGKILL


def test_it_dies_with_the_container(runtime: Runtime, running: int) -> None:
    with subprocess.Popen(
        runtime.argv("exec", "a", "/main.wasm"), env=runtime.environment, stdout=subprocess.PIPE
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == b"ready\n"
        runtime.ok("kill", "a", "KILL")
        assert command.wait(60) == 128 + signal.SIGKILL


def test_a_terminal_goes_to_the_console_socket(
    runtime: Runtime, running: int, tmp_path: Path
) -> None:
    path = str(tmp_path / "console")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        pid_file = tmp_path / "exec.pid"
        places = ("--console-socket", path, "--pid-file", str(pid_file))
        runtime.ok("exec", "--tty", "--detach", *places, "a", "/toolbox.wasm", "isatty")
        channel, _ = listener.accept()
        with channel:
            _, (master,), _, _ = socket.recv_fds(channel, 4096, 1)
    assert read_line(master) == b"1 1 1\r\n"
    os.close(master)
    assert reap(int(pid_file.read_text())) == 0


def test_no_such_program_is_127(runtime: Runtime, running: int) -> None:
    result = runtime("exec", "a", "/nothing.wasm")
    assert result.returncode == 127
    assert "no such file or directory" in result.stderr


def test_a_linux_program_is_126(runtime: Runtime, running: int, tmp_path: Path) -> None:
    (tmp_path / "bundle-1" / "rootfs" / "sh").write_bytes(b"\x7fELF\x02\x01\x01")
    assert runtime("exec", "a", "/sh").returncode == 126


def test_what_does_not_run_is_not_joined(runtime: Runtime, container: Make) -> None:
    pid = runtime.create(container('(module (func (export "_start")))'), "b")
    runtime.ok("start", "b")
    reap(pid)
    result = runtime("exec", "b", "/main.wasm")
    assert result.returncode == 1
    assert "container not running" in result.stderr
    assert "does not exist" in runtime("exec", "nobody", "/main.wasm").stderr


def test_what_is_paused_is_not_joined(runtime: Runtime, running: int) -> None:
    runtime.ok("pause", "a")
    result = runtime("exec", "a", "/exit.wasm")
    runtime.ok("resume", "a")
    assert result.returncode == 1
    assert "paused" in result.stderr
