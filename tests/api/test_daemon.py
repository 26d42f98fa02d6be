"""What wherryd finds and leaves behind."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.engine_under_test import SCRIPTS, Wherry

pytestmark = pytest.mark.root


@contextmanager
def _daemon(wherry: Wherry, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A wherryd started by hand, that listens when the block begins unless it ended."""
    with subprocess.Popen(
        [SCRIPTS / "wherryd", *words],
        env=wherry.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        if process.poll() is None:
            process.kill()


def _ask(path: Path, target: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while data := client.recv(65536):
            answer += data
        return answer


def _wait_for(wherry: Wherry) -> None:
    """Have the wherry command start or find the daemon."""
    wherry.ok("version")


def test_a_socket_left_behind_is_replaced(fresh_wherry: Wherry) -> None:
    wherry = fresh_wherry
    wherry.run_dir.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(wherry.socket_path))
    _wait_for(wherry)
    assert b"200 OK" in _ask(wherry.socket_path, "/_ping")


def test_sigterm_takes_the_socket_away_and_ends_well(fresh_wherry: Wherry) -> None:
    wherry = fresh_wherry
    wherry.run_dir.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(wherry.socket_path))
        listener.listen()
        # The daemon inherits the socket as its first descriptor after the standard ones.
        command = [
            "bash",
            "-c",
            f'exec 3<&{listener.fileno()}; exec "$0"',
            str(SCRIPTS / "wherryd"),
        ]
        with subprocess.Popen(
            command,
            env=wherry.environment | {"LISTEN_FDS": "1"},
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert b"200 OK" in _ask(wherry.socket_path, "/info")
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, "")
        assert not wherry.socket_path.exists()


def test_one_shim_is_started_however_often_it_is_asked_for(fresh_wherry: Wherry) -> None:
    _wait_for(fresh_wherry)
    assert b"200 OK" in _ask(fresh_wherry.socket_path, "/info")
    fresh_wherry.ok("build", "-q", str(Path(__file__).parents[2] / "examples" / "hello"))
    shims = [
        pid
        for pid in fresh_wherry.processes()
        if b"containerd-shim-wherry-v1" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    pointers = [
        path
        for path in (fresh_wherry.run_dir / "shim").iterdir()
        if path.name.startswith("wherry,")
    ]
    assert len(pointers) == 1
    assert int(pointers[0].read_text().split()[0]) in shims


def test_state_that_cannot_be_used_is_one_line(fresh_wherry: Wherry) -> None:
    wherry = fresh_wherry
    wherry.root.write_text("not a folder")
    with _daemon(wherry) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    (line,) = said.splitlines()
    assert line == f"wherryd: cannot make {wherry.root}: File exists"


def test_help_and_version_are_told(fresh_wherry: Wherry) -> None:
    with _daemon(fresh_wherry, "--help") as process:
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "--idle-timeout SECONDS" in said
    with _daemon(fresh_wherry, "--version") as process:
        assert process.communicate(timeout=60)[0].startswith("wherryd ")


def test_an_ordinary_user_runs_containers_in_a_user_namespace(fresh_wherry: Wherry) -> None:
    """Without the capabilities of root, as rootless as root can be."""
    wherry = fresh_wherry
    wherry.run_dir.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(wherry.socket_path))
        listener.listen()
        fd = listener.fileno()
        command = [
            "setpriv", "--bounding-set=-all,+setfcap",
            "bash", "-c", f'exec 3<&{fd}; exec "$0"', str(SCRIPTS / "wherryd"),
        ]  # fmt: skip
        with subprocess.Popen(
            command, env=wherry.environment | {"LISTEN_FDS": "1"}, pass_fds=[fd]
        ) as first:
            image = str(Path(__file__).parents[2] / "examples" / "hello")
            wherry.ok("build", "-q", "-t", "hello", image)
            assert "hello" in wherry.ok("run", "--rm", "hello")
            inside = Path(f"/proc/{first.pid}/ns/user").readlink()
            assert inside != Path("/proc/self/ns/user").readlink()
            first.kill()
            first.wait()
        # Another one joins the shim of the first.
        with subprocess.Popen(
            command, env=wherry.environment | {"LISTEN_FDS": "1"}, pass_fds=[fd]
        ) as second:
            assert "hello" in wherry.ok("run", "--rm", "hello")
            assert Path(f"/proc/{second.pid}/ns/user").readlink() == inside
            second.terminate()
