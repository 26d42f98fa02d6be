"""HEALTHCHECK: its options to the struct that image configs hold."""

import re
from collections.abc import Mapping

from wherry.build.errors import BuildError
from wherry.oci import Healthcheck

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_SHORTEST = 1_000_000
_LONGEST = (1 << 63) - 1
_DIGITS = 9
"""Of the number of retries."""


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration as Go writes it, `1m30s`. Raises BuildError."""
    found = 0.0
    at = 0
    while match := _PART.match(text, at):
        found += float(match.group(1)) * _UNITS[match.group(2)]
        at = match.end()
    if not text or at != len(text) or found > _LONGEST:
        raise BuildError(f"{text!r} is not a duration: write it like 30s or 1m30s")
    return round(found)


def healthcheck(test: list[str], options: Mapping[str, str]) -> Healthcheck:
    """A health check of `test` and the instruction's flags. Raises BuildError."""
    durations = dict.fromkeys(("interval", "timeout", "start-period", "start-interval"), 0)
    for name in durations:
        if options.get(name):
            durations[name] = parse_duration(options[name])
            if 0 < durations[name] < _SHORTEST:
                raise BuildError(f"--{name}={options[name]}: at least 1ms, or 0 for the default")
    retries = options.get("retries") or "0"
    if not (retries.isascii() and retries.isdigit()) or len(retries) > _DIGITS:
        raise BuildError(f"--retries={retries[:40]}: a number is needed")
    return Healthcheck(
        test=test,
        interval=durations["interval"],
        timeout=durations["timeout"],
        start_period=durations["start-period"],
        start_interval=durations["start-interval"],
        retries=int(retries),
    )
