"""Durations: read as Go writes them, told as Docker tells them."""

from __future__ import annotations

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, the micro sign
    "μs": 1_000,  # U+03BC, the letter mu
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_LONGEST = (1 << 63) - 1


def parse_duration(text: str) -> int:
    """Nanoseconds of `1h30m`, `1.5s`, `-300ms`, `0`, as Go's time.ParseDuration reads them.

    Raises ValueError, whose message is for programmers.
    """
    rest = text.removeprefix("+")
    sign = 1
    if rest.startswith("-"):
        rest, sign = rest[1:], -1
    if rest == "0":
        return 0
    total = 0.0
    if not rest:
        raise ValueError(text)
    while rest:
        tail = rest.lstrip("0123456789.")
        value = float(rest[: len(rest) - len(tail)])
        unit = next((tail[:length] for length in (2, 1) if tail[:length] in _UNITS), "")
        if not unit:
            raise ValueError(text)
        total += value * _UNITS[unit]
        rest = tail[len(unit) :]
    if total > _LONGEST:
        raise ValueError(text)
    return sign * round(total)


def human_duration(seconds: float) -> str:
    """How long, roughly, as Docker tells it: `3 minutes`, `About an hour`."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = whole // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    days = hours // 24
    if hours < 24 * 7 * 2:
        return f"{days} days"
    if hours < 24 * 30 * 2:
        return f"{days // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{days // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"
