"""What only the host's `wasmtime` command runs: as root, rootless, without namespaces."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.accessible import accessible
from tests.conftest import ROOT
from tests.engine_under_test import Wherry
from tests.guests.toolchain import Guests

pytestmark = [pytest.mark.root, pytest.mark.guests]

USER = 54321
_FORBID = 'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-sys_admin "$@"'


@pytest.fixture(scope="module", params=["root", "rootless", "without namespaces"])
def engine(request: pytest.FixtureRequest, guests: Guests) -> Iterator[Wherry]:
    """An engine with the command on its PATH, and images `command` and `server`."""
    user = USER if request.param == "rootless" else None
    with accessible(Path(sys.base_prefix), ROOT) as holder, Wherry(user=user) as engine:
        if user is not None and holder is not None:
            engine.within = ("nsenter", f"--mount=/proc/{holder}/ns/mnt", "--")
        if request.param == "without namespaces":
            engine.within = (
                "unshare",
                "--user",
                "--net",
                "--map-root-user",
                "sh",
                "-c",
                _FORBID,
                "sh",
            )
        folder = engine.folder / "bin"
        folder.mkdir()
        shutil.copy(guests.wasmtime(), folder / "wasmtime")
        engine.environment["PATH"] = f"{folder}:{engine.environment['PATH']}"
        engine.image("command", guests.wat("async"))
        engine.image("server", guests.http())
        yield engine


def _network(engine: Wherry) -> str:
    """Without namespaces the host's is all there is, here one that is the engine's own."""
    return "host" if "--net" in engine.within else "none"


def test_a_command_of_wasi_03(engine: Wherry) -> None:
    done = engine("run", "--rm", "--network", "none", "command", "one", "two")
    assert (done.code, done.out.strip(), done.err) == (3, "one", "")


def test_a_server_answers_until_it_is_stopped(engine: Wherry) -> None:
    network = _network(engine)
    name = engine.ok("run", "-d", "--network", network, "-e", "SECRET=hidden", "server")
    with engine.background("logs", "-f", name) as logs:
        assert logs.stderr is not None
        assert b"Serving HTTP" in logs.stderr.readline()
    assert "/module.wasm" in engine.ok("top", name)
    assert "hidden" not in engine.ok("top", name)
    if network == "host":
        enter = ["nsenter", "-t", str(engine.pid(name)), "-n", "sh", "-c"]
        ask = "ip link set lo up && curl -sS http://127.0.0.1:8080/env/SECRET"
        assert subprocess.run([*enter, ask], capture_output=True).stdout == b"hidden"
    again = engine("exec", name, "/module.wasm")
    assert (again.code, "Address already in use" in again.err) == (1, True), again.said
    engine.ok("stop", name)
    assert engine.ok("inspect", "--format", "{{.State.ExitCode}}", name) == "143"


def test_a_bad_port_is_told(engine: Wherry) -> None:
    said = engine.refused("run", "--network", _network(engine), "-e", "PORT=x", "server", code=125)
    assert said.endswith("PORT is 'x': expected a number from 1 to 65535\n")
