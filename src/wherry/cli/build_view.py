"""A build as it goes on: its steps, and the images it pulls for them."""

from __future__ import annotations

import sys

from wherry.cli.errors import CommandError
from wherry.cli.progress import LiveView, PlainView

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from wherry.cli.session import Session
    from wherry.cli.transfer import Live


def follow_build(session: Session, events: Iterable[Any], *, live: bool) -> str:
    """Shows the stream of a build to its end; the image's ID. Raises `CommandError`."""
    view = _View(session, live=live)
    identity = ""
    try:
        for event in _documents(events):
            if "error" in event:
                raise _error(event)
            identity = _identity(event) or identity
            view.show(event)
    finally:
        view.close()
    return identity


def follow_quietly(events: Iterable[Any]) -> str:
    """The same without a word, unless it fails: then all that was said goes to stderr."""
    identity = ""
    told: list[str] = []
    for event in _documents(events):
        if "error" in event:
            sys.stderr.write("".join(told))
            raise _error(event)
        identity = _identity(event) or identity
        told.append(event.get("stream", ""))
    return identity or "".join(told).strip().rpartition("\n")[2]


def _error(event: dict[str, Any]) -> CommandError:
    """Why the build failed; wherry's engine says in `told` where, too."""
    detail = event.get("errorDetail")
    told = detail.get("told") if isinstance(detail, dict) else ""
    return CommandError(str(told or event["error"]))


def _documents(events: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """The events; what is no object is none of them."""
    return (event for event in events if isinstance(event, dict))


def _identity(event: dict[str, Any]) -> str:
    """The image's ID, in the one event that has it."""
    aux = event.get("aux")
    return str(aux.get("ID") or "") if isinstance(aux, dict) else ""


class _View:
    """Steps and pulls take turns: each begins below what the other has written."""

    def __init__(self, session: Session, *, live: bool) -> None:
        self._session = session
        self._live = live
        self._pull: Live | None = None
        if live:
            from wherry.cli.terminal import window_size

            self._steps: PlainView = LiveView(session.write, window_size()[1])
        else:
            self._steps = PlainView(session.write)

    def show(self, event: Any) -> None:
        if event.get("stream"):
            self._end_pull()
            seconds = event.get("seconds")
            self._steps.feed(event["stream"], seconds if isinstance(seconds, float) else None)
            sys.stdout.flush()
        elif "status" in event:
            self._show_pull(event)

    def close(self) -> None:
        """The build is over."""
        self._end_pull()
        self._steps.close()

    def _show_pull(self, event: Any) -> None:
        from wherry.cli.transfer import Live, plain

        if not self._live:
            if (text := plain(event)) is not None:
                self._session.write_line(text)
            return
        if self._pull is None:
            self._steps.pause()
            sys.stdout.flush()
            self._pull = Live(1)
        self._pull.show(event)

    def _end_pull(self) -> None:
        if self._pull is not None:
            self._pull.close()
            self._pull = None
