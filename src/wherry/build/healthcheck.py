"""HEALTHCHECK: its options to the struct that image configs hold."""

from collections.abc import Mapping

from wherry.build.errors import BuildError
from wherry.durations import parse_duration
from wherry.oci import Healthcheck

_SHORTEST = 1_000_000
_DIGITS = 9
"""Of the number of retries."""


def healthcheck(test: list[str], options: Mapping[str, str]) -> Healthcheck:
    """A health check of `test` and the instruction's flags. Raises BuildError."""
    durations = dict.fromkeys(("interval", "timeout", "start-period", "start-interval"), 0)
    for name in durations:
        if options.get(name):
            durations[name] = _duration(name, options[name])
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


def _duration(flag: str, text: str) -> int:
    """Nanoseconds. Raises BuildError."""
    try:
        found = parse_duration(text)
    except ValueError:
        raise BuildError(f"{text!r} is not a duration: write it like 30s or 1m30s") from None
    if found < 0 or 0 < found < _SHORTEST:
        raise BuildError(f"--{flag}={text}: at least 1ms, or 0 for the default")
    return found
