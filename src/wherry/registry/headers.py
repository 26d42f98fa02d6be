"""Headers of answers that say how to go on: ranges, further pages, when to come back."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from wherry.registry.errors import one_line

_CONTENT_RANGE = re.compile(r"\s*bytes\s+(\d{1,19})-(\d{1,19})/(?:(\d{1,19})|\*)\s*", re.I | re.A)
_UPLOADED = re.compile(r"\s*(?:bytes=)?0-(\d{1,19})\s*", re.A)
_WARNING = re.compile(r'299 - "((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_MAX_WARNING = 4096
_SECONDS = re.compile(r"\s*(\d{1,9})\s*", re.A)
_LINK = re.compile(r'[\s,]*<([^<>]*)>((?:\s*;\s*[^\s=;,"]+(?:\s*=\s*(?:"[^"]*"|[^\s;,"]*))?)*)')
_RELATION = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]*))', re.I)


class Headers(Mapping[str, str]):
    """Headers by name in any case; those of one name are one, with commas (RFC 9110, 5.3)."""

    def __init__(self, lines: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, str] = {}
        for name, value in lines:
            known = self._values.get(key := name.lower())
            self._values[key] = value if known is None else f"{known}, {value}"

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def content_range(header: str | None) -> tuple[int, int, int | None] | None:
    """First and last byte, and size if known, of a `Content-Range` (RFC 9110, section 14.4).

    None if it is not one of bytes, or makes no sense.
    """
    found = _CONTENT_RANGE.fullmatch(header or "")
    if not found:
        return None
    first, last = int(found[1]), int(found[2])
    size = int(found[3]) if found[3] else None
    if last < first or (size is not None and last >= size):
        return None
    return first, last, size


def uploaded(header: str | None) -> int | None:
    """How many bytes of an upload a registry has, by its `Range: 0-LAST`; None if unreadable.

    A registry that has nothing says `0-0`, which is also what one with a single byte says
    (distribution-spec, "Pushing a blob in chunks"): taken for nothing.
    """
    found = _UPLOADED.fullmatch(header or "")
    if not found:
        return None
    last = int(found[1])
    return last + 1 if last else 0


def next_page(header: str | None) -> str | None:
    """The target of the link with `rel=next` of a `Link` header (RFC 8288)."""
    at, header = 0, header or ""
    while found := _LINK.match(header, at):
        for quoted, plain in _RELATION.findall(found[2]):
            if "next" in (quoted or plain).lower().split():
                return found[1]
        at = found.end()
    return None


def warnings(header: str | None) -> list[str]:
    """The texts of a `Warning` header for people (distribution-spec, "Warnings")."""
    found = _WARNING.findall((header or "")[:_MAX_WARNING])
    return [text for each in found if (text := one_line(_ESCAPED.sub(r"\1", each)))]


def retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """The seconds of a `Retry-After`, which has seconds or a date (RFC 9110, section 10.2.3)."""
    if header is None:
        return None
    if found := _SECONDS.fullmatch(header):
        return float(found[1])
    try:
        then = parsedate_to_datetime(header)
        then = then if then.tzinfo else then.replace(tzinfo=UTC)
        return max(0.0, (then - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
