"""Sizes as Docker spells them, and read as Docker reads them."""

from __future__ import annotations

from wherry.cli.errors import CommandError

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_SIZE_LETTERS = "bkmgtp"


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
