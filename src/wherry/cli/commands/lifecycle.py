"""`stop`, `restart`, `kill`, `pause`, `unpause`, `rm`, `rename`, `wait`."""

from __future__ import annotations

from wherry.cli.command import UNLIMITED, Command
from wherry.cli.flags import number, switch, text
from wherry.client import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session

_AT_ONCE = 50
"""How many containers are asked at the same time, each on a connection of its own."""


def _each(
    session: Session,
    names: list[str],
    method: str,
    path: str,
    query: dict[str, object],
    report: Callable[[str, object], str] = lambda name, _: name,
) -> int:
    """The same request for many containers; what each answers, in the order they were typed."""
    failed = 0
    for name, outcome in _answers(session, names, method, path, query):
        if isinstance(outcome, ClientError):
            session.complain(session.explain(outcome))
            failed = 1
        else:
            session.write_line(report(name, outcome))
    return failed


def _answers(
    session: Session, names: list[str], method: str, path: str, query: dict[str, object]
) -> Iterator[tuple[str, object]]:
    for start in range(0, len(names), _AT_ONCE):
        portion = names[start : start + _AT_ONCE]
        pending = [session.client.start(method, path.format(name), query) for name in portion]
        for name, request in zip(portion, pending, strict=True):
            try:
                yield name, request.response().json()
            except ClientError as error:
                yield name, error


def _ending(action: str) -> Callable[[Session, Arguments], int]:
    def act(session: Session, arguments: Arguments) -> int:
        query: dict[str, object] = {"signal": arguments.text("signal")}
        for flag in ("timeout", "time"):
            if arguments.given(flag):
                query["t"] = str(arguments.number(flag))
        path = f"/containers/{{}}/{action}"
        return _each(session, arguments.words, "POST", path, query)

    return act


def _kill(session: Session, arguments: Arguments) -> int:
    query: dict[str, object] = {"signal": arguments.text("signal")}
    return _each(session, arguments.words, "POST", "/containers/{}/kill", query)


def _pause(session: Session, arguments: Arguments) -> int:
    return _each(session, arguments.words, "POST", "/containers/{}/pause", {})


def _unpause(session: Session, arguments: Arguments) -> int:
    return _each(session, arguments.words, "POST", "/containers/{}/unpause", {})


def _remove(session: Session, arguments: Arguments) -> int:
    query: dict[str, object] = {
        "force": arguments.switch("force"),
        "v": arguments.switch("volumes"),
    }
    return _each(session, arguments.words, "DELETE", "/containers/{}", query)


def _rename(session: Session, arguments: Arguments) -> int:
    old, new = arguments.words
    session.client.post(f"/containers/{old}/rename", {"name": new})
    return 0


def _wait(session: Session, arguments: Arguments) -> int:
    def report(_: str, answer: object) -> str:
        return str(answer["StatusCode"]) if isinstance(answer, dict) else "0"

    return _each(session, arguments.words, "POST", "/containers/{}/wait", {}, report)


_ENDING_FLAGS = (
    text("signal", "s", "Signal to send instead of the container's own", metavar="SIGNAL"),
    number("timeout", "t", "Seconds to wait before it is killed (-1: for ever)"),
    number("time", "", "The same as --timeout"),
)
_MANY = "CONTAINER [CONTAINER...]"
_CONTAINERS = ("container",)

STOP = Command(
    _ending("stop"),
    "Stop running containers",
    _MANY,
    _ENDING_FLAGS,
    least=1,
    most=UNLIMITED,
    complete=_CONTAINERS,
)
RESTART = Command(
    _ending("restart"),
    "Restart containers",
    _MANY,
    _ENDING_FLAGS,
    least=1,
    most=UNLIMITED,
    complete=_CONTAINERS,
)
KILL = Command(
    _kill,
    "Kill running containers, or send them a signal",
    _MANY,
    (text("signal", "s", "Signal to send (default SIGKILL)", metavar="SIGNAL"),),
    least=1,
    most=UNLIMITED,
    complete=_CONTAINERS,
)
PAUSE = Command(
    _pause,
    "Freeze all processes of containers",
    _MANY,
    least=1,
    most=UNLIMITED,
    complete=_CONTAINERS,
)
UNPAUSE = Command(
    _unpause,
    "Let paused containers go on",
    _MANY,
    least=1,
    most=UNLIMITED,
    complete=_CONTAINERS,
)
RM = Command(
    _remove,
    "Remove containers",
    _MANY,
    (
        switch("force", "f", "Kill a running container first"),
        switch("volumes", "v", "Remove its anonymous volumes, too"),
    ),
    least=1,
    most=UNLIMITED,
    complete=_CONTAINERS,
)
RENAME = Command(
    _rename, "Rename a container", "CONTAINER NEW_NAME", least=2, most=2, complete=_CONTAINERS
)
WAIT = Command(
    _wait,
    "Wait until containers have ended, then print their exit codes",
    _MANY,
    least=1,
    most=UNLIMITED,
    complete=_CONTAINERS,
)
