"""Times of commands, taken in turns so that what disturbs one disturbs the other as well."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.figures import Sample

Attempt = Callable[[], float]  # does it once and returns milliseconds


def whole(
    argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Attempt:
    """Times a command from its start to its end."""

    def attempt() -> float:
        began = time.perf_counter()
        done = subprocess.run(argv, env=env, cwd=cwd, capture_output=True)
        taken = time.perf_counter() - began
        assert done.returncode == 0, (argv, done.stderr.decode()[-1000:])
        return taken * 1000

    return attempt


def first_byte(argv: Sequence[str], env: Mapping[str, str] | None = None) -> Attempt:
    """Times a command from its start to the first byte on its stdout."""

    def attempt() -> float:
        began = time.perf_counter()
        with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.read(1), argv
            taken = time.perf_counter() - began
            process.stdout.read()
        assert process.returncode == 0, argv
        return taken * 1000

    return attempt


def in_turns(runs: int, *attempts: Attempt) -> list[Sample]:
    """Each attempt `runs` times, one after the other, after one round that does not count."""
    for attempt in attempts:
        attempt()
    rounds = [[attempt() for attempt in attempts] for _ in range(runs)]
    return [Sample.of("ms", column) for column in zip(*rounds, strict=True)]
