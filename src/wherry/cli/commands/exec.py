"""`exec`: another program in a running container."""

from __future__ import annotations

import os

from wherry.cli.attachment import Carrier
from wherry.cli.command import UNLIMITED, Command
from wherry.cli.errors import CommandError
from wherry.cli.flags import many, switch, text
from wherry.client import DaemonError, DaemonUnreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Arguments
    from wherry.cli.session import Session


class _Carrier(Carrier):
    keys_travel = True


def _exec(session: Session, arguments: Arguments) -> int:
    container, *command = arguments.words
    document = _describe(arguments, command)
    if document["Tty"] and document["AttachStdin"] and not os.isatty(0):
        raise CommandError("the input device is not a TTY; leave out -t to pipe into -i", 1)
    exec_id = session.client.post(f"/containers/{container}/exec", None, document)["Id"]
    path = f"/exec/{exec_id}"
    if arguments.switch("detach"):
        try:
            session.client.post(f"{path}/start", None, {"Detach": True, "Tty": document["Tty"]})
        except DaemonError as error:
            raise CommandError(error.message, error.exit_code or 1) from None
        return 0
    start = {"Detach": False, "Tty": document["Tty"], "EndWithClient": True}
    carrier = _Carrier(
        session,
        path,
        tty=document["Tty"],
        stdin=document["AttachStdin"],
        detach_keys=document["DetachKeys"],
    )
    carrier.carry(session.client.hijack(f"{path}/start", None, start).stream())
    return _exit_code(session, path)


def _describe(arguments: Arguments, command: list[str]) -> dict[str, Any]:
    """The body of `POST /containers/NAME/exec`."""
    attach = not arguments.switch("detach")
    document: dict[str, Any] = {
        "User": arguments.text("user"),
        "Privileged": arguments.switch("privileged"),
        "Tty": arguments.switch("tty"),
        "AttachStdin": attach and arguments.switch("interactive"),
        "AttachStdout": attach,
        "AttachStderr": attach,
        "DetachKeys": arguments.text("detach-keys"),
        "WorkingDir": arguments.text("workdir"),
        "Cmd": command,
    }
    if arguments.given("env") or arguments.given("env-file"):
        from wherry.cli.creation import environment

        document["Env"] = list(environment(arguments))
    if document["Tty"] and attach:
        from wherry.cli.terminal import window_size

        document["ConsoleSize"] = list(window_size())
    return document


def _exit_code(session: Session, path: str) -> int:
    try:
        found = session.client.get(f"{path}/json")
    except (DaemonUnreachable, DaemonError) as error:
        if isinstance(error, DaemonError) and error.status != 404:
            raise
        # An engine that has just been started knows nothing of it.
        raise CommandError("the engine went away, and the program with it", 125) from None
    return int(found.get("ExitCode") or 0)


EXEC = Command(
    _exec,
    "Run another program in a running container",
    "CONTAINER COMMAND [ARG...]",
    (
        switch("detach", "d", "Run in the background"),
        text("detach-keys", "", "Keys that let go of the program", default="ctrl-p,ctrl-q"),
        many(
            "env", "e", "Set an environment variable, or pass one on by name", metavar="KEY[=VALUE]"
        ),
        many(
            "env-file",
            "",
            "Read environment variables from a file",
            metavar="FILE",
            complete="file",
        ),
        switch("interactive", "i", "Keep stdin open"),
        switch("privileged", "", "Give a Linux program every capability; WebAssembly has none"),
        switch("tty", "t", "Give it a terminal"),
        text("user", "u", "User name or id, and group", metavar="USER[:GROUP]"),
        text("workdir", "w", "Working directory inside the container", metavar="/PATH"),
    ),
    least=2,
    most=UNLIMITED,
    complete=("container",),
    detail="The program is a module of the container's own image, or of a volume. It ends with\n"
    "the container, with this command (unless its detach keys were typed), and with the engine.",
    examples=(
        "wherry exec web /tool.wasm --status",
        "echo text | wherry exec -i web /wc.wasm",
        "wherry exec -it web /shell.wasm",
    ),
    interspersed=False,
)
