"""Points in time: read from what a person or the engine wrote, and shown as Docker shows them."""

from __future__ import annotations

import time

from wherry.cli.errors import CommandError
from wherry.durations import human_duration, parse_duration


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since the epoch from `2006-01-02[T15:04[:05[.999999999]]][Z|+01:00]`.

    Without a zone it is local time. Raises ValueError.
    """
    from datetime import datetime

    text = text.strip().replace(" ", "T", 1)
    head, dot, fraction = text.partition(".")
    nanoseconds = 0
    zone = ""
    if dot:
        digits = fraction[: len(fraction) - len(fraction.lstrip("0123456789"))]
        zone = fraction[len(digits) :]
        nanoseconds = int(f"{digits:0<9.9}")
    moment = datetime.fromisoformat(f"{head}{zone}")
    if moment.tzinfo is None:
        moment = moment.astimezone()
    return int(moment.timestamp()) * 1_000_000_000 + nanoseconds


def as_query(text: str) -> str:
    """A `--since`/`--until` value for the engine: seconds with nanoseconds, or empty.

    Takes an RFC 3339 time, seconds since the epoch, or a duration back from now (`10m`).
    Raises `CommandError`.
    """
    if not text:
        return ""
    seconds, dot, fraction = text.partition(".")
    if seconds.isdecimal() and (not dot or fraction.isdecimal()):
        return text
    try:
        nanoseconds = time.time_ns() - parse_duration(text)
    except ValueError:
        try:
            nanoseconds = parse_rfc3339(text)
        except ValueError:
            raise CommandError(
                f"'{text}' is not a time: write 10m, 2013-01-02T13:23:37Z or seconds"
            ) from None
    return f"{nanoseconds // 1_000_000_000}.{nanoseconds % 1_000_000_000:09d}"


def local_text(seconds: float) -> str:
    """Seconds since the epoch as Go prints a time: `2026-11-21 03:46:50 +0000 UTC`."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(seconds))


def ago(seconds: float) -> str:
    """`3 minutes ago`; reproducible images often have no time, or the epoch for it."""
    if seconds <= 0:
        return "N/A"
    return f"{human_duration(time.time() - seconds)} ago"
