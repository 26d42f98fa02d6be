"""What the host's `wasmtime` command runs, made by `wherry-runtime`: nobody stays beside it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.guests.toolchain import Guests
from tests.runtime.bundles import Bundle
from tests.runtime.command.conftest import Runtime, reap, write_config

pytestmark = [pytest.mark.root, pytest.mark.guests]
Make = Callable[..., Bundle]

SPINS = '(module (func (export "_start") (loop br 0)))'


@pytest.fixture(autouse=True)
def program(runtime: Runtime, guests: Guests, tmp_path: Path) -> None:
    """The `wasmtime` command, on the PATH."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "wasmtime").symlink_to(guests.wasmtime())
    runtime.environment["PATH"] = f"{tmp_path}/bin:{runtime.environment['PATH']}"


@pytest.fixture(params=["cold", "warm"])
def either(runtime: Runtime, request: pytest.FixtureRequest) -> Runtime:
    if request.param == "warm":
        del runtime.environment["WHERRY_RUNTIME_COLD"]
    return runtime


def test_a_command_of_wasi_03_is_run(either: Runtime, container: Make, guests: Guests) -> None:
    bundle = container(guests.wat("async").read_text(), "word")
    write_config(bundle)
    for _ in range(2):
        done = either("run", "--bundle", str(bundle.path), "a")
        assert (done.returncode, done.stdout, done.stderr) == (2, "word\n", "")


def serve(runtime: Runtime, bundle: Bundle) -> int:
    """Start a server and wait until it answers; returns its container's pid."""
    pid = runtime.create(bundle, "a")
    runtime.ok("start", "a")
    words = ["nsenter", "-t", str(pid), "-n", "curl", "-sS", "--retry", "100", "--retry-delay", "0"]
    words += ["--retry-connrefused", "--retry-all-errors", "http://127.0.0.1:8080/"]
    assert subprocess.run(words, capture_output=True).stdout == b"hello\n"
    return pid


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP"])
def test_a_server_ends_by_signals_at_once(
    runtime: Runtime, container: Make, guests: Guests, name: str
) -> None:
    pid = serve(runtime, container(guests.http().read_bytes()))
    runtime.ok("kill", "a", name)
    assert reap(pid) == 128 + signal.Signals[f"SIG{name}"]
    assert runtime.status("a") == "stopped"


def test_a_server_shares_no_fate_but_its_containers(
    runtime: Runtime, container: Make, guests: Guests
) -> None:
    pid = serve(runtime, container(guests.http().read_bytes()))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(children) == 1
    held = os.pidfd_open(int(children[0]))
    os.kill(pid, signal.SIGKILL)
    assert reap(pid) == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        signal.pidfd_send_signal(held, 0)
    os.close(held)


def test_a_further_process_of_wasi_03(runtime: Runtime, container: Make, guests: Guests) -> None:
    bundle = container(SPINS)
    (bundle.path / "rootfs" / "async.wat").write_bytes(guests.wat("async").read_bytes())
    pid = runtime.create(bundle, "a")
    runtime.ok("start", "a")
    done = runtime("exec", "a", "/async.wat", "further", "three")
    assert (done.returncode, done.stdout, done.stderr) == (3, "further\n", "")
    runtime.ok("kill", "a", "KILL")
    reap(pid)


def test_two_servers_on_one_network_say_what_is_in_the_way(
    runtime: Runtime, container: Make, guests: Guests
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bundle = container(guests.http().read_bytes())
        kinds = bundle.config["linux"]["namespaces"]
        bundle.config["linux"]["namespaces"] = [k for k in kinds if k["type"] != "network"]
        bundle.config["process"]["env"] = [f"PORT={taken.getsockname()[1]}"]
        write_config(bundle)
        done = runtime("run", "--bundle", str(bundle.path), "a", timeout=60)
        assert done.returncode == 1
        assert "Address already in use" in done.stderr
