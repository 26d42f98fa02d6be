"""`--filter KEY=VALUE` flags, as the Engine API takes them."""

from __future__ import annotations

from wherry.cli.errors import UsageError


def as_query(filters: list[str]) -> dict[str, object]:
    """`{"status": ["running", …], …}`. Raises `UsageError` for a filter without a value."""
    out: dict[str, object] = {}
    for text in filters:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f'invalid argument "{text}" for "--filter": write KEY=VALUE', 125)
        values = out.setdefault(key.strip().lower(), [])
        assert isinstance(values, list)
        values.append(value.strip())
    return out
