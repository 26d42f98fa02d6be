"""Docker's `filters` parameter: parsed once, asked by containers, volumes, images and events."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from wherry.engine.clock import parse_moment
from wherry.engine.errors import InvalidRequest

_MAX_FILTERS = 256 << 10


class Filters:
    """Several values for each key; an object passes a key when it matches one of its values."""

    def __init__(self, values: Mapping[str, Collection[str]] | None = None) -> None:
        self._values = {key: list(items) for key, items in (values or {}).items()}

    @classmethod
    def parse(cls, text: str) -> "Filters":
        """Parse `{"key": ["value"]}` or the older `{"key": {"value": true}}`.

        Raises InvalidRequest.
        """
        if len(text) > _MAX_FILTERS:
            raise InvalidRequest("the filters are too long")
        try:
            raw: Any = msgspec.json.decode(text or "{}")
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidRequest(f"invalid filters: {error}") from None
        if not isinstance(raw, dict):
            raise InvalidRequest("invalid filters: not a JSON object")
        values: dict[str, list[str]] = {}
        for key, items in raw.items():
            if isinstance(items, dict):
                values[key] = [str(value) for value, wanted in items.items() if wanted]
            elif isinstance(items, list):
                values[key] = [str(value) for value in items]
            elif items is not None:
                raise InvalidRequest(f"invalid filters: {key} is neither a list nor an object")
        return cls(values)

    def check(self, allowed: Collection[str]) -> None:
        """Raise InvalidRequest for a key that is not in `allowed`."""
        for key in self._values:
            if key not in allowed:
                raise InvalidRequest(f"invalid filter '{key}'")

    def __bool__(self) -> bool:
        return bool(self._values)

    def __contains__(self, key: str) -> bool:
        return bool(self._values.get(key))

    def get(self, key: str) -> list[str]:
        """The values given for `key`, none if it was not given."""
        return self._values.get(key, [])

    def one(self, key: str) -> str | None:
        """The only value of `key`; raises InvalidRequest when there are several."""
        values = self.get(key)
        if len(values) > 1:
            raise InvalidRequest(f"invalid filter '{key}': give it once")
        return values[0] if values else None

    def flag(self, key: str) -> bool | None:
        """The truth value of `key`, None if it was not given. Raises InvalidRequest."""
        value = self.one(key)
        if value is None:
            return None
        if value.lower() in {"1", "t", "true"}:
            return True
        if value.lower() in {"0", "f", "false"}:
            return False
        raise InvalidRequest(f"invalid filter '{key}={value}'")

    def until(self) -> datetime | None:
        """The time given for `until`: a time, or a duration that is subtracted from now.

        Raises InvalidRequest.
        """
        text = self.one("until")
        try:
            return None if text is None else datetime.fromtimestamp(parse_moment(text), UTC)
        except (ValueError, OverflowError, OSError):
            raise InvalidRequest(
                f"invalid filter 'until={text}': give a time (2006-01-02T15:04:05Z) or a duration "
                "(10m, 1h30m)"
            ) from None

    def accepts(self, key: str, *candidates: str) -> bool:
        """Whether `key` was not given or one of its values is among `candidates`."""
        values = self._values.get(key)
        return not values or any(value in candidates for value in values)

    def accepts_labels(self, labels: Mapping[str, str], key: str = "label") -> bool:
        """Whether `labels` have every `name` or `name=value` given for `key`."""
        return all(_has_label(labels, wanted) for wanted in self.get(key))

    def rejects_labels(self, labels: Mapping[str, str]) -> bool:
        """Whether `labels` have any `name` or `name=value` given for `label!`."""
        return any(_has_label(labels, unwanted) for unwanted in self.get("label!"))


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)
