"""One line of what `doctor` has to say."""

from typing import Literal

import msgspec

Status = Literal["ok", "warning", "missing"]


class Finding(msgspec.Struct, frozen=True):
    """`missing` is what keeps wherry from working as it was set up; `warning` may matter."""

    subject: str
    """What was looked at: `docker`, `kernel`, …"""
    status: Status
    text: str
    """What was found, in one line."""
    hint: str = ""
    """What to type or to do about it."""


def ok(subject: str, text: str) -> Finding:
    """All is as it should be."""
    return Finding(subject, "ok", text)


def warning(subject: str, text: str, hint: str = "") -> Finding:
    """Something that may matter."""
    return Finding(subject, "warning", text, hint)


def missing(subject: str, text: str, hint: str = "") -> Finding:
    """Something without which wherry does not work as it was set up."""
    return Finding(subject, "missing", text, hint)
