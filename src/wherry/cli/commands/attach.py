"""`attach` and `start`."""

from __future__ import annotations

import os

from wherry.cli.attachment import Attachment
from wherry.cli.command import UNLIMITED, Command
from wherry.cli.errors import CommandError, UsageError
from wherry.cli.flags import switch, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session


def _attachment(
    session: Session, container: Any, arguments: Arguments, *, stdin: bool
) -> Attachment:
    tty = container["Config"]["Tty"]
    stdin = stdin and container["Config"]["OpenStdin"]
    if tty and stdin and not os.isatty(0):
        raise CommandError("the input device is not a TTY")
    return Attachment(
        session,
        container["Id"],
        tty=tty,
        stdin=stdin,
        detach_keys=arguments.text("detach-keys"),
        forward_signals=arguments.switch("sig-proxy"),
    )


def _attach(session: Session, arguments: Arguments) -> int:
    (name,) = arguments.words
    container = session.client.get(f"/containers/{name}/json")
    state = container["State"]
    if not state["Running"]:
        raise CommandError(f"{name} is stopped; start and attach with 'wherry start -ai {name}'")
    if state.get("Paused"):
        raise CommandError(f"{name} is paused; 'wherry unpause {name}' first")
    if state.get("Restarting"):
        raise CommandError(f"{name} is restarting, wait until it runs")
    stdin = not arguments.switch("no-stdin")
    attachment = _attachment(session, container, arguments, stdin=stdin)
    attachment.join("not-running")
    return attachment.follow()


def _start(session: Session, arguments: Arguments) -> int:
    interactive = arguments.switch("interactive")
    if not arguments.switch("attach") and not interactive:

        def start(name: str) -> None:
            session.start(name)
            session.write_line(name)

        return session.for_each(arguments.words, start)
    if len(arguments.words) > 1:
        raise UsageError("only one container can be attached to")
    container = session.client.get(f"/containers/{arguments.words[0]}/json")
    attachment = _attachment(session, container, arguments, stdin=interactive)
    attachment.join("removed" if container["HostConfig"].get("AutoRemove") else "next-exit")
    session.start(container["Id"])
    return attachment.follow()


_KEYS = text("detach-keys", "", "Keys that let go of the container", default="ctrl-p,ctrl-q")
_PROXY = switch("sig-proxy", "", "Pass signals on to the container", default=True)

ATTACH = Command(
    _attach,
    "Attach the terminal to a running container",
    "CONTAINER",
    (_KEYS, _PROXY, switch("no-stdin", "", "Do not attach stdin")),
    least=1,
    most=1,
    complete=("container",),
)
START = Command(
    _start,
    "Start stopped containers",
    "CONTAINER [CONTAINER...]",
    (
        _KEYS,
        _PROXY,
        switch("attach", "a", "Attach stdout and stderr, and pass signals on"),
        switch("interactive", "i", "Attach stdin, too"),
    ),
    least=1,
    most=UNLIMITED,
    complete=("container",),
)
