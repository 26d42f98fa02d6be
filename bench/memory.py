"""What idle containers take: PSS of one, and of a crowd what it costs the machine."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Sample
from bench.stage import Stage

from wherry.client import Address, Client

COUNT = 20


@dataclass(frozen=True)
class Crowd:
    """How many containers lived at once, MB of MemAvailable for each, ms to start each."""

    alive: int
    memory: float
    started: Sample


def pss(pid: int, proc: Path = Path("/proc")) -> float:
    """Proportional set size of a process, in MB."""
    found = re.search(r"^Pss:\s+(\d+) kB", (proc / f"{pid}/smaps_rollup").read_text(), re.M)
    assert found
    return int(found[1]) / 1024


def available() -> float:
    """The machine's MemAvailable, in MB."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    assert found
    return int(found[1]) / 1024


@contextlib.contextmanager
def waiting(commands: Sequence[Sequence[str]]) -> Iterator[list[int]]:
    """Processes of `commands` that have said something, by pid; killed at the end."""
    processes = []
    try:
        for command in commands:
            process = subprocess.Popen(command, stdout=subprocess.PIPE)
            processes.append(process)
            assert process.stdout is not None
            assert process.stdout.read(1)
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def idle_containers(stage: Stage) -> Sample:
    """PSS of each of some containers that wait in the host."""
    wherry = stage.wherry
    image = wherry.image("wait", stage.guests.wat("wait"))
    names = [wherry.ok("run", "-d", image) for _ in range(COUNT)]
    try:
        for name in names:
            with wherry.background("logs", "-f", name) as follow:
                assert follow.stdout is not None
                assert follow.stdout.readline() == b"ready\n"
        return Sample.of("MB", [pss(wherry.pid(name)) for name in names])
    finally:
        wherry.ok("rm", "-f", *names)


def idle_wasmtime(stage: Stage) -> Sample:
    """The same of `wasmtime run`, precompiled."""
    command = stage.precompiled(stage.guests.wasm("wait"))
    with waiting([command] * COUNT) as pids:
        return Sample.of("MB", [pss(pid) for pid in pids])


def idle_linux(stage: Stage) -> Sample:
    """PSS of a sleeping Linux container together with its own shim process."""
    docker = stage.dockerd.docker
    run = ("run", "-d", "--network", "none", "busybox", "/bin/sleep", "600")
    names = [docker(*run).stdout.strip() for _ in range(5)]
    try:
        values = []
        for name in names:
            pid = int(docker("inspect", "-f", "{{.State.Pid}}", name).stdout)
            status = Path(f"/proc/{pid}/status").read_text()
            shim = re.search(r"^PPid:\s+(\d+)", status, re.M)
            assert shim
            values.append(pss(pid) + pss(int(shim[1])))
        return Sample.of("MB", values)
    finally:
        docker("rm", "-f", *names)


def crowd(stage: Stage) -> Crowd:
    """`stage.many` containers at once, made one after the other through the Engine API."""
    wherry = stage.wherry
    image = wherry.image("wait", stage.guests.wat("wait"))
    client = Client(Address(str(wherry.socket_path)))
    before, times, made = available(), [], []
    try:
        for _ in range(stage.many):
            began = time.perf_counter()
            identity = client.post("/containers/create", body={"Image": image})["Id"]
            made.append(identity)
            client.post(f"/containers/{identity}/start")
            times.append((time.perf_counter() - began) * 1000)
        listed = client.get(
            "/containers/json", {"filters": '{"ancestor":["wait"],"status":["running"]}'}
        )
        alive = len(listed)
        taken = (before - available()) / stage.many
    finally:
        for identity in made:
            client.delete(f"/containers/{identity}", {"force": "1"})
        client.close()
    return Crowd(alive, taken, Sample.of("ms", times))
