"""The warm process that serves `run`: it forks a process that does the work for each.

The first `run` leaves it behind. It has imported all and made what belongs to no container, serves
only who is in the very circumstances of that first command, and ends when nobody has asked for a
while. What it forks is a command like any other, but for its streams, working directory and
environment, which are those of who asked.
"""

import contextlib
import gc
import os
import select
import signal
import socket
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from wherry.runtime.command import create, warm
from wherry.runtime.command.main import HandOn, settle
from wherry.runtime.command.options import Options
from wherry.runtime.command.record import FAILED
from wherry.runtime.command.terminal import Signals
from wherry.runtime.sandbox import syscalls as sys

if TYPE_CHECKING:
    from wherry.runtime.surroundings import Warmth

_PATIENCE = 10_000
"""Milliseconds without being asked after which it ends."""

_BACKLOG = 64


def found(options: Options, circumstances: bytes, signals: Signals) -> None:
    """Leave a warm process behind, which does without `signals`.

    That it cannot be made is no error of the container's.
    """
    place = warm.Place(options, circumstances)
    with contextlib.suppress(OSError):
        os.makedirs(place.folder, mode=0o700, exist_ok=True)
        folder = place.open()
        if folder is None:
            return
        child = os.fork()
        if child:
            os.close(folder)
            os.waitpid(child, 0)
            return
        try:
            os.setsid()
            # Not a child of the command, which may last and shall have nobody to reap.
            if not os.fork():
                signals.forget()
                _let_go(folder)
                _keep(place, circumstances)
        finally:
            os._exit(0)


_FOLDER = 3


def _let_go(folder: int) -> None:
    """Keep nothing of the command's but its circumstances, and `folder` at _FOLDER."""
    # Workers are nobody's to reap.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    if folder != _FOLDER:
        os.dup2(folder, _FOLDER, inheritable=False)
    for stream in warm.STREAMS:
        os.dup2(null, stream)
    sys.close_range(_FOLDER + 1, 2**32 - 1)
    os.chdir("/")


def _keep(place: warm.Place, circumstances: bytes) -> None:
    from wherry.runtime.sandbox.title import Title
    from wherry.runtime.surroundings import Warmth

    import_module("wherry.runtime.container")  # what is forked finds it loaded
    Title().show(["wherry-runtime", "zygote"])
    warmth = Warmth()
    gc.collect()
    gc.freeze()
    path, temporary = (
        f"/proc/self/fd/{_FOLDER}/{name}" for name in (place.name, f".{os.getpid()}")
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(temporary)
        ours = os.stat(temporary).st_ino
        listener.listen(_BACKLOG)
        # Of two who are founded at once one is never asked.
        os.rename(temporary, path)
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        while poll.poll(_PATIENCE):
            connection, _ = listener.accept()
            if not os.fork():
                listener.close()  # when nobody listens any more, who asks must see it
                _work(connection, circumstances, warmth)
            connection.close()
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == ours:
                os.unlink(path)


def _work(connection: socket.socket, circumstances: bytes, warmth: "Warmth") -> NoReturn:
    """In the fork: be the command of who asks at `connection`."""
    answer = b""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        connection.send(warm.READY)
        options = _take_over(connection, circumstances)
        if options is None:
            answer = warm.COLD
        else:
            answer = b"%d" % settle(
                options, lambda options: create.run_for(options, connection, warmth)
            )
    except HandOn:
        answer = warm.COLD
    except BaseException:
        import traceback

        traceback.print_exc()
        answer = b"%d" % FAILED
    finally:
        with contextlib.suppress(OSError):
            connection.send(answer)
        os._exit(0)


def _take_over(connection: socket.socket, circumstances: bytes) -> Options | None:
    """Take the caller's place: streams, working directory, environment, and so its options."""
    request, descriptors, _, _ = socket.recv_fds(
        connection, warm.MAX_REQUEST, len(warm.STREAMS) + 1, socket.MSG_CMSG_CLOEXEC
    )
    if not request:
        os._exit(0)
    given, line, environment = warm.decode(request)
    if given != circumstances or len(descriptors) != len(warm.STREAMS) + 1:
        return None
    *streams, here = descriptors
    for stream, descriptor in zip(warm.STREAMS, streams, strict=True):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    os.fchdir(here)
    os.close(here)
    os.environb.clear()
    os.environb.update(environment)
    return Options(line)
