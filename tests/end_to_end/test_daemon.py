"""wherryd comes by itself, may be killed at any moment, and goes when idle."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.conftest import without
from tests.engine_under_test import Wherry, end
from tests.guests.toolchain import EXAMPLES, Guests


def test_first_command_starts_it(fresh_wherry: Wherry) -> None:
    assert not fresh_wherry.socket_path.exists()
    assert fresh_wherry.ok("ps", "-q") == ""
    assert fresh_wherry.socket_path.exists()
    assert fresh_wherry.daemon_pid()


def test_first_commands_at_once_start_one(fresh_wherry: Wherry) -> None:
    crowd = [
        subprocess.Popen(
            fresh_wherry.argv("ps", "-q"), env=fresh_wherry.environment, stderr=subprocess.PIPE
        )
        for _ in range(8)
    ]
    for one in crowd:
        _, error = one.communicate(timeout=120)
        assert one.returncode == 0, error
    assert fresh_wherry.daemon_pid()  # asserts that there is exactly one


def test_its_socket_is_for_its_user_only(fresh_wherry: Wherry) -> None:
    fresh_wherry.ok("ps")
    assert fresh_wherry.socket_path.stat().st_mode & 0o007 == 0
    assert fresh_wherry.run_dir.stat().st_mode & 0o022 == 0


def test_kill_9_loses_no_container_log_or_image(fresh_wherry: Wherry, guests: Guests) -> None:
    wherry = fresh_wherry
    wherry.ok("build", "-q", "-t", "hello", EXAMPLES / "hello")
    image = wherry.image("toolbox", guests.toolbox())
    wherry.ok("volume", "create", "hold")
    running = wherry.ok("run", "-d", "--name", "ticker", "-v", "hold:/d", image, "tick")
    finished = wherry.ok("run", "--name", "done", "hello") and wherry.ok(
        "inspect", "-f", "{{.Id}}", "done"
    )
    guest = wherry.pid(running)
    before = wherry.ok("logs", running).splitlines()

    wherry.kill_daemon()

    os.kill(guest, 0)  # still there
    listed = wherry.ok("ps", "-aq", "--no-trunc").split()
    assert {running, finished} <= set(listed)
    assert wherry.pid(running) == guest
    assert wherry.ok("inspect", "-f", "{{.State.Status}}", running) == "running"
    assert "hello" in wherry.ok("images", "--format", "{{.Repository}}").split()
    assert wherry.ok("volume", "ls", "-q") == "hold"
    with wherry.background("logs", "-f", running) as follow:
        assert follow.stdout is not None
        lines = [follow.stdout.readline().decode().strip() for _ in range(len(before) + 5)]
    assert lines[: len(before)] == before
    numbers = [int(line.split()[1]) for line in lines]
    assert numbers == list(range(0, 2 * len(numbers), 2)), "a line is missing or doubled"
    wherry.ok("stop", running)
    assert wherry.ok("inspect", "-f", "{{.State.ExitCode}}", running) == "143"


def test_what_ended_while_it_was_dead_is_found(fresh_wherry: Wherry, guests: Guests) -> None:
    wherry = fresh_wherry
    image = wherry.image("toolbox", guests.toolbox())
    short = wherry.ok("run", "-d", image, "sleep", "60")
    pid = wherry.pid(short)
    wherry.kill_daemon()
    end(pid, signal.SIGKILL)
    assert wherry.ok("wait", short) == "137"
    assert wherry.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", short) == (
        "exited 137"
    )
    assert wherry.ok("logs", short) == "ready"


def test_rm_of_a_container_that_ended_while_it_was_dead(
    fresh_wherry: Wherry, guests: Guests
) -> None:
    wherry = fresh_wherry
    image = wherry.image("toolbox", guests.toolbox())
    short = wherry.ok("run", "-d", "--rm", image, "sleep", "60")
    pid = wherry.pid(short)
    wherry.kill_daemon()
    end(pid, signal.SIGKILL)
    assert wherry.ok("ps", "-aq") == ""
    assert not (wherry.root / "containers" / short).exists()


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(8))
def test_kill_9_at_any_moment_of_a_run(fresh_wherry: Wherry, attempt: int) -> None:
    """The command may fail; the engine then works, and nothing half-made is left."""
    wherry = fresh_wherry
    wherry.ok("build", "-q", "-t", "hello", EXAMPLES / "hello")
    pid = wherry.daemon_pid()
    with wherry.background("run", "--name", "nn", "hello") as process:
        # A different moment in each attempt: after 0, 5, 10 … ms of the command's life.
        select.select([], [], [], attempt * 0.005)
        end(pid, signal.SIGKILL)
        process.communicate(timeout=60)
    for line in wherry.ok("ps", "-a", "--format", "{{.Names}} {{.State}}").splitlines():
        assert line.split()[1] in ("created", "exited"), line
    wherry.ok("container", "prune", "-f")
    assert wherry.ok("ps", "-aq") == ""
    assert list((wherry.root / "containers").iterdir()) == []
    assert "hello from" in wherry.ok("run", "--rm", "--name", "nn", "hello")


def test_kill_9_of_the_shim_ends_its_containers_and_is_told(
    fresh_wherry: Wherry, guests: Guests
) -> None:
    wherry = fresh_wherry
    image = wherry.image("toolbox", guests.toolbox())
    one = wherry.ok("run", "-d", image, "sleep", "600")
    guest = wherry.pid(one)
    parent = int(wherry.status(one)["PPid"])
    pidfd = os.pidfd_open(guest)
    end(parent, signal.SIGKILL)
    assert select.select([pidfd], [], [], 60)[0], "the guest outlives its shim"
    os.close(pidfd)
    assert wherry.ok("wait", one) != "0"
    assert wherry.ok("run", "--rm", image, "pwd") == "/"


@contextlib.contextmanager
def daemon(wherry: Wherry, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A wherryd started with flags of its own, on a socket that listens already."""
    wherry.run_dir.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(wherry.socket_path))
        listener.listen()
        # As systemd hands a socket over: the first descriptor after the standard ones.
        script = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])"
        program = os.path.join(os.path.dirname(wherry.command), "wherryd")
        with subprocess.Popen(
            [sys.executable, "-c", script, str(listener.fileno()), program, *words],
            env={**wherry.environment, "LISTEN_FDS": "1"},
            stderr=subprocess.PIPE,
            pass_fds=[listener.fileno()],
        ) as process:
            yield process


def test_idle_it_goes_and_comes_again(fresh_wherry: Wherry) -> None:
    wherry = fresh_wherry
    with daemon(wherry, "--idle-timeout", "1") as process:
        _, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
    assert wherry.ok("ps", "-q") == ""


def test_idle_it_stays_while_a_container_runs(fresh_wherry: Wherry, guests: Guests) -> None:
    wherry = fresh_wherry
    with daemon(wherry, "--idle-timeout", "1") as process:
        image = wherry.image("toolbox", guests.toolbox())
        identity = wherry.ok("run", "-d", image, "sleep", "4")
        pidfd = os.pidfd_open(process.pid)
        assert wherry.ok("wait", identity) == "0"
        assert not select.select([pidfd], [], [], 0)[0], "wherryd left a running container"
        assert select.select([pidfd], [], [], 60)[0], "wherryd stays when idle"
        os.close(pidfd)


def test_a_second_one_on_the_same_state_is_refused(fresh_wherry: Wherry) -> None:
    fresh_wherry.ok("ps")
    scripts = os.path.dirname(fresh_wherry.command)
    done = subprocess.run(
        [f"{scripts}/wherryd"], env=fresh_wherry.environment, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr
    fresh_wherry.ok("ps")


def test_sigterm_leaves_containers_running(fresh_wherry: Wherry, guests: Guests) -> None:
    wherry = fresh_wherry
    image = wherry.image("toolbox", guests.toolbox())
    identity = wherry.ok("run", "-d", image, "sleep", "600")
    pid = wherry.pid(identity)
    end(wherry.daemon_pid(), signal.SIGTERM)
    assert wherry.pid(identity) == pid


def test_a_full_disk_is_one_line_and_the_store_as_it_was(
    fresh_wherry: Wherry, guests: Guests
) -> None:
    if os.geteuid() != 0:
        without("needs root for a small file system")
    wherry = fresh_wherry
    wherry.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(wherry.root)], check=True)
    try:
        wherry.ok("build", "-q", "-t", "hello", EXAMPLES / "hello")
        context = wherry.folder / "big"
        context.mkdir()
        (context / "noise").write_bytes(os.urandom(8 << 20))
        (context / "Dockerfile").write_text("FROM scratch\nCOPY noise /noise\n")
        done = wherry("build", "-q", "-t", "big", context)
        assert done.code != 0
        assert "no space" in done.err.lower(), done.said
        assert "Traceback" not in done.err
        assert wherry.ok("images", "--format", "{{.Repository}}") == "hello"
        assert "hello from" in wherry.ok("run", "--rm", "hello")
    finally:
        wherry.end()
        subprocess.run(["umount", "-l", str(wherry.root)], check=True)
