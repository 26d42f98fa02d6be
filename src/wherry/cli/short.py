"""Long texts in a narrow column: IDs, commands, and text in quotes."""

from __future__ import annotations

from wherry.client.json import encode


def short_id(identity: str) -> str:
    """The first twelve digits of an ID, without its algorithm."""
    return identity.partition(":")[2][:12] if ":" in identity else identity[:12]


def ellipsis(text: str, width: int) -> str:
    """At most so many characters, the last one an ellipsis when some are missing."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def quoted(text: str) -> str:
    """In double quotes, as Go's strconv.Quote does for printable text."""
    return encode(text)
