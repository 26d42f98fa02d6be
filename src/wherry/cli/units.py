"""Sizes and durations as Docker spells them, and read as Docker reads them."""

from __future__ import annotations

from wherry.cli.errors import CommandError

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_SIZE_LETTERS = "bkmgtp"
_DURATION_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}


def decimal_size(size: float, digits: int = 4) -> str:
    """Bytes in steps of 1000 with so many significant digits: `1.234MB`."""
    return _scaled(size, 1000.0, _DECIMAL, digits)


def binary_size(size: float) -> str:
    """Bytes in steps of 1024: `1.5MiB`."""
    return _scaled(size, 1024.0, _BINARY, 4)


def _scaled(size: float, base: float, names: tuple[str, ...], digits: int) -> str:
    step = 0
    size = float(size)
    while size >= base and step < len(names) - 1:
        size /= base
        step += 1
    return f"{_general(size, digits)}{names[step]}"


def _general(value: float, digits: int) -> str:
    """Go's `%.Ng`."""
    return f"{value:.{digits}g}"


def parse_size(text: str) -> int:
    """Bytes from `512m`, `1.5g`, `64KiB`, `100`; steps of 1024. Raises `CommandError`."""
    number = text.strip().lower()
    unit = number.lstrip("0123456789.")
    number = number[: len(number) - len(unit)]
    letter = unit.strip()
    for suffix in ("ib", "b"):
        if len(letter) > 1 and letter.endswith(suffix):
            letter = letter[: -len(suffix)]
            break
    try:
        value = float(number)
        power = _SIZE_LETTERS.index(letter) if letter else 0
    except ValueError:
        raise CommandError(f"invalid size: '{text}' (write 512k, 64m or 1.5g)", 125) from None
    return int(value * 1024**power)


def parse_duration(text: str) -> int:
    """Nanoseconds from Go's notation: `1h30m`, `1.5s`, `300ms`. Raises ValueError."""
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
        unit = tail[: len(tail) - len(tail.lstrip("nuµmsh"))]
        for length in (2, 1):
            if len(unit) >= length and unit[:length] in _DURATION_UNITS:
                total += value * _DURATION_UNITS[unit[:length]]
                rest = tail[length:]
                break
        else:
            raise ValueError(text)
    return sign * int(total)


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
