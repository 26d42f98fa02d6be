"""`system check`: everything that the engine keeps is read and compared with what it must be."""

from __future__ import annotations

import os

from wherry.cli.command import Command
from wherry.cli.errors import CommandError
from wherry.cli.flags import switch
from wherry.cli.printable import printable
from wherry.cli.terminal import can_redraw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session

_REWRITE = "\r\033[K"
_FAILED = 1


def _check(session: Session, arguments: Arguments) -> int:
    """A line on stdout for each fault; 1 if one is left. How far it is goes to a terminal only."""
    if arguments.switch("repair"):
        response = session.client.request("POST", "/system/repair")
    else:
        response = session.client.request("GET", "/system/check")
    view = _View(session)
    result: Any = None
    for event in response.lines():
        if "Part" in event:
            view.progress(event)
        elif "Fault" in event:
            view.fault(event)
        elif "Faults" in event:
            result = event
        elif message := event.get("message") or event.get("error"):
            view.close()
            raise CommandError(str(message))
    view.close()
    if result is None:
        raise CommandError("the engine ended before the check did: see what wherryd.log says")
    faults, mended = result["Faults"], result["Mended"]
    if not faults:
        session.write_line("Everything is as it must be.")
    elif mended:
        session.write_line(f"{_count(faults)}, of which {mended} mended.")
    else:
        session.write_line(f"{_count(faults)}.")
    return _FAILED if faults > mended else 0


def _count(faults: int) -> str:
    return "1 fault" if faults == 1 else f"{faults} faults"


class _View:
    """One line at the bottom of a terminal says what is being read; faults stand above it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._live = can_redraw(2)
        self._shown = ""

    def progress(self, event: Any) -> None:
        if self._live:
            share = event["Done"] * 100 // event["Total"] if event["Total"] else 100
            self._show(f"Checking {event['Part']}: {share}%")

    def fault(self, event: Any) -> None:
        self.close()
        text = f"{event['Fault']}: {event['Remedy']}"
        self._session.write_line(printable(text))

    def close(self) -> None:
        """Take the line away."""
        if self._shown:
            self._show("")

    def _show(self, text: str) -> None:
        if text != self._shown:
            os.write(2, f"{_REWRITE}{text}".encode())
            self._shown = text


CHECK = Command(
    _check,
    "Read all that is kept and compare it with what it must be",
    "",
    (switch("repair", "", "Make damaged layers and compiled code anew, remove damaged blobs"),),
)
