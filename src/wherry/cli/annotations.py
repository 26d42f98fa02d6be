"""`KEY=VALUE` words into a dictionary."""

from __future__ import annotations

from wherry.cli.errors import UsageError


def parse_annotations(words: list[str]) -> dict[str, str]:
    """What was given by `-a`. Raises `UsageError`."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"'{word}' is no annotation: write KEY=VALUE")
        found[key] = value
    return found
