"""Times as Docker writes them."""

import re
import time
from datetime import UTC, datetime

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


def human_duration(seconds: float) -> str:
    """How long, in Docker's words: "Less than a second", "About a minute", "3 hours"."""
    whole = int(seconds)
    minutes, hours = int(seconds / 60), int(seconds / 3600 + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"


def parse_moment(text: str) -> float:
    """Seconds since the epoch of a filter's time: a Unix time, RFC 3339, or a duration ago (10m).

    Raises ValueError.
    """
    try:
        return float(text)
    except ValueError:
        pass
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
        return time.time() - sum(float(number) * units[unit] for number, unit in parts)
    try:
        return nanoseconds(text) / _BILLION
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is neither a time nor a duration") from None
