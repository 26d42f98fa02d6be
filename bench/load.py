"""What servers bear: requests a second and their latency, as wrk tells them."""

from __future__ import annotations

import re
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from bench.figures import Sample
from bench.stage import Missing
from tests import peers
from tests.network.machine import Machine

CONNECTIONS = 16
SECONDS = 3
ROUNDS = 5
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True)
class Load:
    """One run of wrk."""

    rate: float
    """Requests a second."""
    p99: float
    """Milliseconds that 99 of a hundred requests stay below."""


def loads(machine: Machine, *urls: str) -> list[Sample]:
    """wrk's load on each URL in turns, by the processes of `machine`'s network.

    A server that answers anything but success, or breaks a connection, fails the row. Raises
    Missing.
    """
    try:
        wrk = peers.program("wrk")
    except peers.PeerMissing as error:
        raise Missing(str(error)) from None
    for url in urls:
        _run(machine, wrk, url, seconds=1)
    turns = [[_run(machine, wrk, url) for url in urls] for _ in range(ROUNDS)]
    return [_sample(column) for column in zip(*turns, strict=True)]


def _run(machine: Machine, wrk: str, url: str, seconds: int = SECONDS) -> Load:
    command = (wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", url)
    try:
        told = machine.ok(*command)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"{url} does not answer") from None
    for complaint in ("Socket errors", "Non-2xx"):
        assert complaint not in told, f"{url}: {told}"
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    p99 = re.search(r"^\s+99%\s+([\d.]+)(us|ms|s|m)\s*$", told, re.MULTILINE)
    assert rate and p99, f"{url}: {told}"
    return Load(float(rate[1]), float(p99[1]) * _UNITS[p99[2]])


def _sample(turns: Sequence[Load]) -> Sample:
    p99 = statistics.median(load.p99 for load in turns)
    return Sample("req/s", tuple(load.rate for load in turns), beside=f"p99 {p99:.3g} ms")
