"""A server's process, let go of by who started it."""

import os
import socket
from typing import TYPE_CHECKING, NoReturn

from wherry.shim.group import Group

if TYPE_CHECKING:
    from wherry.runtime import Launcher

READY = b"+"
LONGEST_ANSWER = 2048


def become_server(
    group: Group,
    listener: socket.socket,
    events_address: str,
    answer: int,
    launcher: "Launcher | None" = None,
) -> NoReturn:
    """Serve `group` in this process, which is a fresh fork, and end it.

    Writes READY to the pipe `answer` once it serves, or why it cannot. `launcher` is one whose
    zygote is there already.
    """
    served = False

    def ready() -> None:
        nonlocal served
        served = True
        os.write(answer, READY)
        os.close(answer)

    code = 1
    try:
        os.setsid()
        os.umask(0o022)
        detach(group.log)
        os.chdir("/")
        from wherry.runtime.sandbox.title import Title
        from wherry.shim.server.serve import serve

        Title().show(group.command_line)
        serve(group, listener, events_address, ready, launcher)
        code = 0
    except BaseException as error:
        import traceback

        traceback.print_exc()
        if not served:
            os.write(answer, f"{type(error).__name__}: {error}"[:LONGEST_ANSWER].encode())
    finally:
        os._exit(code)


def detach(log: str) -> None:
    """Let go of everything of the caller's: containerd reads our output until it is closed."""
    null = os.open(os.devnull, os.O_RDWR)
    messages = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (messages, 1), (messages, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(messages)
