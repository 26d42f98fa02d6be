"""Pulling and pushing as a person sees it: bars at a terminal, plain lines elsewhere."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import sys

from wherry.cli.errors import CommandError
from wherry.cli.logins import headers_to_read
from wherry.cli.printable import printable
from wherry.cli.terminal import can_redraw, window_size, write_all
from wherry.client import DaemonError
from wherry.client.image_name import DEFAULT_TAG, ImageName

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from wherry.cli.bars import Bars
    from wherry.cli.session import Session

_FRAME = 0.1
"""Seconds between two pictures."""


def pull(
    session: Session,
    name: ImageName,
    platform: str = "",
    *,
    all_tags: bool = False,
    output: int = 1,
    quiet: bool = False,
    headers: tuple[str, ...] = (),
) -> None:
    """Has the engine fetch an image, or all of a repository; progress goes to `output`.

    Raises `CommandError`, and what `headers_to_read` raises.
    """
    query = {
        "fromImage": name.familiar,
        "tag": "" if all_tags else name.digest or name.tag or DEFAULT_TAG,
        "platform": platform,
    }
    headers = (*headers_to_read(session, name.domain), *headers)
    transfer(session, "/images/create", query, name, headers, output=output, quiet=quiet)


def transfer(
    session: Session,
    path: str,
    query: dict[str, Any],
    name: ImageName,
    headers: tuple[str, ...],
    *,
    output: int = 1,
    quiet: bool = False,
) -> None:
    """Asks the engine to move an image and shows how it does. Raises `CommandError`."""
    try:
        response = session.client.request("POST", path, query, headers=headers)
        follow(response.lines(), output, quiet=quiet)
    except (CommandError, DaemonError) as error:
        from wherry.cli.registry_hint import hint

        message = str(error)
        advice = hint(message, name.familiar + name.suffix, name.domain)
        raise CommandError(f"{message}{advice}") from None


def follow(events: Iterable[Any], output: int, *, quiet: bool = False) -> None:
    """Shows the stream of a transfer to its end. Raises `CommandError` for an error in it."""
    if quiet:
        for event in events:
            _check(event)
        return
    if can_redraw(output):
        live = Live(output)
        try:
            for event in events:
                _check(event)
                live.show(event)
        finally:
            live.close()
        return
    for event in events:
        _check(event)
        if (text := plain(event)) is not None:
            _write(output, f"{text}\n".encode(errors="replace"))


def plain(event: Any) -> str | None:
    """The line for a pipe or a log, None for what only moves a bar."""
    if not isinstance(event, dict) or "status" not in event or event.get("progressDetail"):
        return None
    start = f"{event['id']}: " if event.get("id") else ""
    return printable(f"{start}{event['status']}")


class Live:
    """Bars at a terminal, drawn some times a second until they are closed.

    The alarm that draws them interrupts the wait for the engine, so the time that is left goes on
    while nothing comes, and nothing runs in another thread.
    """

    def __init__(self, output: int) -> None:
        from wherry.cli.bars import Bars

        self._bars = Bars(lambda frame: _write(output, frame), lambda: window_size(output))
        _signal.signal(_signal.SIGALRM, lambda *_: self._bars.tick())
        _signal.setitimer(_signal.ITIMER_REAL, _FRAME, _FRAME)

    def show(self, event: Any) -> None:
        """One event of a transfer."""
        show(self._bars, event)

    def close(self) -> None:
        """The last picture stays."""
        _signal.setitimer(_signal.ITIMER_REAL, 0)
        _signal.signal(_signal.SIGALRM, _signal.SIG_DFL)
        self._bars.close()


def show(bars: Bars, event: Any) -> None:
    """One event on the bars, or below them when it belongs to no layer."""
    if isinstance(event, dict) and event.get("id") and "progressDetail" in event:
        bars.update(str(event["id"]), str(event.get("status", "")), event["progressDetail"])
    elif (text := plain(event)) is not None:
        bars.line(text)


def _check(event: Any) -> None:
    if isinstance(event, dict) and "error" in event:
        raise CommandError(str(event["error"]))


def _write(output: int, data: bytes) -> None:
    sys.stdout.flush()
    write_all(output, data)
