"""run: a whole container in the foreground."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.guests.toolchain import Guests
from tests.runtime.bundles import WASI_HELLO, Bundle
from tests.runtime.command.conftest import Runtime, read_line, reap, write_config

from wherry.runtime.command.create import write_pid_file

pytestmark = pytest.mark.root
Make = Callable[..., Bundle]


def prepared(container: Make, module: str | bytes, *args: str) -> Bundle:
    bundle = container(module, *args)
    write_config(bundle)
    return bundle


@pytest.mark.parametrize("code", [0, 1, 77, 125, 126, 127, 128, 137, 255])
def test_the_exit_code_is_the_guests(
    runtime: Runtime, container: Make, guests: Guests, code: int
) -> None:
    bundle = prepared(container, guests.wasm("exit").read_bytes(), str(code))
    result = runtime("run", "--bundle", str(bundle.path), "a")
    assert (result.returncode, result.stdout, result.stderr) == (code, "", "")
    assert list(runtime.root.iterdir()) == []


def test_streams_are_the_callers(runtime: Runtime, container: Make, guests: Guests) -> None:
    bundle = prepared(container, guests.toolbox().read_bytes(), "cat")
    result = runtime("run", "-b", str(bundle.path), "a", input="some words\n")
    assert (result.returncode, result.stdout) == (0, "some words\n")


def test_a_trap_is_134_and_told(runtime: Runtime, container: Make) -> None:
    bundle = prepared(container, '(module (func (export "_start") unreachable))')
    result = runtime("run", "--bundle", str(bundle.path), "a")
    assert result.returncode == 134
    assert "unreachable" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_to_the_command_reach_the_container(
    runtime: Runtime, container: Make, guests: Guests, number: int
) -> None:
    bundle = prepared(container, guests.wasm("wait").read_bytes())
    with subprocess.Popen(
        runtime.argv("run", "--bundle", str(bundle.path), "a"),
        env=runtime.environment,
        stdout=subprocess.PIPE,
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == b"ready\n"
        command.send_signal(number)
        assert command.wait(60) == 128 + number
    assert list(runtime.root.iterdir()) == []


def test_detached_it_is_left_to_the_caller(
    runtime: Runtime, container: Make, tmp_path: Path
) -> None:
    bundle = prepared(container, WASI_HELLO)
    runtime.made.append("a")
    with (tmp_path / "out").open("w") as out:
        subprocess.run(
            runtime.argv(
                "run", "-d", "--bundle", str(bundle.path), f"--pid-file={tmp_path}/pid", "a"
            ),
            env=runtime.environment,
            stdout=out,
            check=True,
        )
    assert reap(int((tmp_path / "pid").read_text())) == 0
    assert (tmp_path / "out").read_text() == "hello\n"
    assert runtime.status("a") == "stopped"


@contextlib.contextmanager
def at_terminal(runtime: Runtime, bundle: Bundle) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """`run` of a bundle that wants a terminal, at one whose other end is ours."""
    bundle.config["process"]["terminal"] = True
    write_config(bundle)
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            runtime.argv("run", "--bundle", str(bundle.path), "a"),
            env=runtime.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        ) as command:
            os.close(theirs)
            yield ours, command
    finally:
        os.close(ours)


def test_a_terminal_is_relayed(
    runtime: Runtime, container: Make, guests: Guests, tmp_path: Path
) -> None:
    bundle = container(guests.toolbox().read_bytes(), "isatty")
    with at_terminal(runtime, bundle) as (ours, command):
        assert read_line(ours) == b"1 1 1\r\n"
        assert command.wait(60) == 0


def test_a_terminal_takes_what_is_typed_and_its_control_characters(
    runtime: Runtime, container: Make, guests: Guests
) -> None:
    bundle = container(guests.wasm("wait").read_bytes())
    with at_terminal(runtime, bundle) as (ours, command):
        assert read_line(ours) == b"ready\r\n"
        os.write(ours, b"x")
        assert os.read(ours, 100) == b"x"  # the container's terminal echoes
        os.write(ours, b"\x03")
        assert command.wait(60) == 128 + signal.SIGINT


def test_a_terminal_needs_somebody_to_hold_it(runtime: Runtime, container: Make) -> None:
    bundle = container(WASI_HELLO)
    write_config(bundle)
    arguments = ("--bundle", str(bundle.path), "--console-socket", "/nowhere", "a")
    assert "--console-socket is for" in runtime("create", *arguments).stderr
    bundle.config["process"]["terminal"] = True
    write_config(bundle)
    result = runtime("create", "--bundle", str(bundle.path), "a")
    assert (result.returncode, result.stdout) == (1, "")
    assert "give --console-socket" in result.stderr


def test_a_tmpfs_may_begin_with_what_it_hides(
    runtime: Runtime, container: Make, guests: Guests, tmp_path: Path
) -> None:
    """Podman asks for it with --read-only."""
    bundle = container(guests.toolbox().read_bytes(), "cat", "/run/some/file")
    folder = bundle.path / "rootfs" / "run" / "some"
    folder.mkdir(parents=True)
    (folder / "file").write_text("of the image\n")
    (folder / "link").symlink_to("/etc/shadow")
    options = ["rw", "nosuid", "nodev", "tmpcopyup", "mode=755"]
    bundle.config["mounts"] = [
        {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": options}
    ]
    bundle.config["root"]["readonly"] = True
    write_config(bundle)
    assert runtime.ok("run", "--bundle", str(bundle.path), "a") == "of the image\n"
    bundle.config["process"]["args"] = ["/main.wasm", "put", "/run/some/file", "other"]
    write_config(bundle)
    runtime.ok("run", "--bundle", str(bundle.path), "a")
    assert (folder / "file").read_text() == "of the image\n"


def test_a_pid_file_is_not_written_through_a_link_that_lay_there(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / f".a.pid.{os.getpid()}").symlink_to(precious)
    with pytest.raises(FileExistsError):
        write_pid_file(str(tmp_path / "a.pid"), 1)
    assert precious.read_text() == "kept"
