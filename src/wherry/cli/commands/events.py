"""`events`: what happens in the engine, as it happens."""

from __future__ import annotations

import sys
import time

from wherry.cli.command import Command
from wherry.cli.filters import as_query as filters_of
from wherry.cli.flags import many, text
from wherry.cli.moment import as_query
from wherry.cli.printable import printable
from wherry.client import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session


def _events(session: Session, arguments: Arguments) -> int:
    query = {
        "since": as_query(arguments.text("since")),
        "until": as_query(arguments.text("until")),
        "filters": filters_of(arguments.many("filter")),
    }
    show: Callable[[Any], str] = _describe
    layout = arguments.text("format")
    if layout == "json":
        show = json.encode
    elif layout:
        from wherry.cli.listing import unescape
        from wherry.cli.template import Template

        show = Template(unescape(layout)).render
    for event in session.client.request("GET", "/events", query).lines():
        session.write_line(show(event))
        sys.stdout.flush()
    return 0


def _describe(event: Any) -> str:
    """`TIME container start ID (image=hello, name=web)`."""
    actor = event.get("Actor") or {}
    attributes = sorted((actor.get("Attributes") or {}).items())
    known = ", ".join(f"{name}={value}" for name, value in attributes)
    line = f"{_moment(event)} {event['Type']} {event['Action']} {actor.get('ID', '')}"
    return printable(f"{line} ({known})" if known else line)


def _moment(event: Any) -> str:
    nanoseconds = event.get("timeNano") or event.get("time", 0) * 1_000_000_000
    local = time.localtime(nanoseconds // 1_000_000_000)
    zone = time.strftime("%z", local)
    zone = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{nanoseconds % 1_000_000_000:09d}{zone}"


EVENTS = Command(
    _events,
    "Show what happens in the engine, as it happens",
    "",
    (
        many("filter", "f", "Show only those that match", metavar="KEY=VALUE"),
        text("format", "", "Print each event by a Go template, or 'json'"),
        text("since", "", "From a time on (2013-01-02T13:23:37Z, 10m)", metavar="TIME"),
        text("until", "", "Up to a time, then quit", metavar="TIME"),
    ),
    examples=("wherry events --filter type=container --since 1h",),
)
