"""Times as Docker writes them."""

import re
import time
from datetime import UTC, datetime

from wherry.durations import parse_duration

_FRACTION = re.compile(r"\.(\d{1,9})\d*")
_BILLION = 1_000_000_000


def timestamp(nanoseconds: int | None = None) -> str:
    """RFC 3339 in UTC with nanoseconds; by default now. `nanoseconds` are since the epoch."""
    seconds, rest = divmod(time.time_ns() if nanoseconds is None else nanoseconds, _BILLION)
    moment = time.gmtime(seconds)
    fraction = f".{rest:09}".rstrip("0") if rest else ""
    return time.strftime("%Y-%m-%dT%H:%M:%S", moment) + fraction + "Z"


def nanoseconds(text: str) -> int:
    """Nanoseconds since the epoch of what `timestamp` wrote; negative for Docker's "never"."""
    found = _FRACTION.search(text)
    rest = int(found[1].ljust(9, "0")) if found else 0
    whole = _FRACTION.sub("", text).replace("Z", "+00:00")
    moment = datetime.fromisoformat(whole)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * _BILLION + rest


def parse_moment(text: str) -> float:
    """Seconds since the epoch of a filter's time: a Unix time, RFC 3339, or a duration ago (10m).

    Raises ValueError.
    """
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return (time.time_ns() - parse_duration(text)) / _BILLION
    except ValueError:
        pass
    try:
        return nanoseconds(text) / _BILLION
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is neither a time nor a duration") from None
