"""Ports as people write them: a number from 1 to 65535, or a range of them like 8000-8010."""

LAST = 65535
"""The highest port of TCP and UDP."""

_MAX_DIGITS = 5


def parse_range(text: str) -> range:
    """The ports that `text` names, at least one. Raises ValueError."""
    first, dash, last = text.partition("-")
    words = first, last if dash else first
    # isdigit() alone would take superscripts, which int() does not.
    if not all(word.isascii() and word.isdigit() and len(word) <= _MAX_DIGITS for word in words):
        raise ValueError(f"{text[:80]!r} is no port: expected one like 8080 or 8000-8010")
    low, high = map(int, words)
    if not 0 < low <= high <= LAST:
        raise ValueError(f"{text[:80]!r} is no port: they go from 1 to {LAST}, the lower first")
    return range(low, high + 1)
