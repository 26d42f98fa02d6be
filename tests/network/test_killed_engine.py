"""An engine, or a part of it, is killed at any moment: what runs keeps its network, no more."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine_under_test import Wherry, end, until
from tests.guests.toolchain import Guests
from tests.network.machine import Machine

pytestmark = [pytest.mark.root, pytest.mark.guests]

_AT_ONCE = 4
_VICTIMS = {
    "daemon": b"wherry.api.daemon",
    "helper": b"wherry.network.server",
    "shim": b"containerd-shim-wherry",
}
"""By what is in their command lines."""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with Machine() as machine:
        yield machine


@pytest.fixture(scope="module")
def engine(machine: Machine, guests: Guests) -> Iterator[Wherry]:
    with Wherry() as wherry:
        wherry.within = machine.within
        wherry.image("sockets", guests.sockets())
        wherry.ok("network", "create", "fleet")
        yield wherry


def start(engine: Wherry, name: str, port: int) -> subprocess.Popen[bytes]:
    flags = ["-d", "--name", name, "--network", "fleet", "-p", f"{port}:8000"]
    return subprocess.Popen(
        engine.argv("run", *flags, "sockets", "serve", "8000"),
        env=engine.environment,
        cwd=engine.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize(
    ("victim", "seed"),
    [*(("daemon", seed) for seed in range(4)), ("helper", 4), ("helper", 5), ("shim", 6)],
)
def test_a_killed_engine_leaves_the_networks_of_what_runs(
    engine: Wherry, machine: Machine, victim: str, seed: int
) -> None:
    dice = random.Random(seed)
    names = [f"c{seed}-{number}" for number in range(_AT_ONCE)]
    ports = dict(zip(names, range(9100, 9100 + _AT_ONCE), strict=True))
    engine.daemon_pid()  # it is there, and hears of what follows
    now = time.time()
    # By itself it ends only if there are fewer events than there should be.
    span = ("--since", f"{now:.9f}", "--until", f"{now + 20:.9f}")
    with engine.background("events", *span) as events:
        starting = [start(engine, name, port) for name, port in ports.items()]
        assert events.stdout is not None
        # Created, connected and started are three events of each container.
        for _ in range(dice.randint(1, 3 * _AT_ONCE)):
            events.stdout.readline()
        for pid in those_of(engine, _VICTIMS[victim]):
            end(pid, signal.SIGKILL)
    for process in starting:
        process.communicate()

    until(lambda: state(engine)[0] == state(engine)[1], "who is in the network does not run")
    running, _, addresses = state(engine)
    assert len(set(addresses)) == len(addresses)
    for name, port in ports.items():
        again = ["--retry", "5", "--retry-all-errors"] if name in running else []
        curl = machine.run("curl", "-sS", "-m", "20", *again, f"http://127.0.0.1:{port}/x")
        if name in running:
            assert curl.stdout == "GET /x HTTP/1.1\n", curl.stderr
        else:
            assert curl.returncode == 7, "a port of nobody's is served"
    for name in set(names) - running:
        engine("rm", "-f", name)
        flags = ["--name", name, "--network", "fleet", "-p", f"{ports[name]}:8000"]
        engine.ok("run", "-d", *flags, "sockets", "serve", "8000")
    engine.ok("rm", "-f", *names)
    # The kernel takes a container's interfaces away with its namespace, a little later.
    until(lambda: not interfaces(machine), "interfaces are left that nobody has")


def state(engine: Wherry) -> tuple[set[str], set[str], list[str]]:
    """Who runs, who is in the network, and the addresses there."""
    known = engine.ok("ps", "-a", "--format", "{{.Names}} {{.State}}").splitlines()
    running = {name for name, state in (line.split() for line in known) if state == "running"}
    members = json.loads(engine.ok("network", "inspect", "fleet"))[0]["Containers"].values()
    return running, {each["Name"] for each in members}, [each["IPv4Address"] for each in members]


def those_of(engine: Wherry, word: bytes) -> list[int]:
    """The engine's processes whose command line has a word in it."""
    found = []
    for pid in engine.processes():
        with contextlib.suppress(OSError):
            if word in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def interfaces(machine: Machine) -> list[str]:
    """Those of the machine that lead to containers."""
    shown = machine.ok("ip", "-o", "link", "show", "type", "veth").splitlines()
    return [line for line in shown if "uplink" not in line.split(":")[1]]
