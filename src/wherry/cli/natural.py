"""The order in which a person reads names with numbers in them: `web2` before `web10`."""

from __future__ import annotations

_DIGITS = "0123456789"


def natural(text: str) -> list[tuple[int, int, str]]:
    """A key for `sorted`: runs of digits count as numbers, and stand before other signs."""
    parts: list[tuple[int, int, str]] = []
    while text:
        rest = text.lstrip(_DIGITS)
        if digits := text[: len(text) - len(rest)]:
            parts.append((ord("0"), int(digits), digits))
        else:
            parts.append((ord(text[0]), 0, text[0]))
            rest = text[1:]
        text = rest
    return parts
