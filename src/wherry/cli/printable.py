"""Text that came from elsewhere, which must not command the person's terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with a question mark for each character that would not be seen, ends of line too."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "?" for c in text)
