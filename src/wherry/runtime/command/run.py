"""`run`: a whole container in the foreground, by a warm process where there is one.

This module is all that such a command imports.
"""

# `signal` and `socket` are these with names around, which take longer than all that is done here.
import _signal  # type: ignore[import-not-found]
import _socket
import os
import sys

from wherry.runtime.command import warm
from wherry.runtime.command.circumstances import circumstances
from wherry.runtime.command.options import Options, making_arguments
from wherry.runtime.exits import LaunchError

TYPE_CHECKING = False

if TYPE_CHECKING:
    from wherry.runtime.command.terminal import Signals

_PATIENCE = 2.0
"""Seconds for a warm process to be forked, after which this one does the work itself."""

_DAY = 86_400.0

_HANDED_ON = (
    _signal.SIGHUP,
    _signal.SIGINT,
    _signal.SIGQUIT,
    _signal.SIGTERM,
    _signal.SIGUSR1,
    _signal.SIGUSR2,
    _signal.SIGALRM,
    _signal.SIGWINCH,
)

_WITHOUT = "WHERRY_RUNTIME_COLD"
"""A variable; set, nothing warm is used and nothing is left behind."""


def run(options: Options) -> int:
    """`run --bundle DIR ID`: create, start, wait, delete. Returns the exit status.

    With --detach only the first two.
    """
    arguments = making_arguments(options)
    given = None
    if "detach" not in arguments and not os.environ.get(_WITHOUT):
        given = circumstances()
    if given is not None:
        status = _ask(options, given)
        if status is not None:
            return status
    from wherry.runtime.command import create

    if given is None:
        return create.run(options, arguments)
    return create.run(options, arguments, lambda signals: _found(options, given, signals))


def _found(options: Options, given: bytes, signals: "Signals") -> None:
    from wherry.runtime.command import keeper

    keeper.found(options, given, signals)


def _ask(options: Options, given: bytes) -> int | None:
    """Have a warm process run it; None if there is none that will. Raises LaunchError."""
    place = warm.Place(options, given)
    folder = place.open()
    if folder is None:
        return None
    request = warm.encode(given, options.line, dict(os.environb))
    connection = warm.new_socket()
    try:
        connection.settimeout(_PATIENCE)
        connection.connect(f"/proc/self/fd/{folder}/{place.name}")
        if len(request) > warm.MAX_REQUEST or connection.recv(1) != warm.READY:
            return None
        here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        descriptors = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (*warm.STREAMS, here))
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)
    except OSError:
        return None
    # Until it can be handed on a signal waits: by then the container may be there.
    held = _signal.pthread_sigmask(_signal.SIG_BLOCK, _HANDED_ON)
    try:
        connection.sendmsg([request], [rights], _socket.MSG_NOSIGNAL)
        answer = _answer(connection, held)
    except OSError:
        # Nothing was begun: a request that cannot be sent was not heard.
        return None
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, held)
    if answer == warm.COLD:
        return None
    if not answer:
        raise LaunchError("the process that ran the container was killed, and so was that")
    return int(answer)


def _answer(connection: "_socket.socket", mask: "set[_signal.Signals]") -> bytes:
    """Wait, with the signals of `mask` blocked, for the status it ended with; empty if none comes.

    Each signal goes to the other side as one byte, its number. The interpreter's own handler
    writes it: one of ours might run only after the wait that it came just before.
    """
    connection.settimeout(_DAY)  # with one it does not block, as wake-ups demand
    _signal.set_wakeup_fd(connection.fileno(), warn_on_full_buffer=False)
    before = {number: _signal.signal(number, lambda *_: None) for number in _HANDED_ON}
    _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
    try:
        while True:
            try:
                return connection.recv(16)
            except TimeoutError:
                continue
            except OSError:
                return b""
    finally:
        _signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            _signal.signal(number, handler)


COMMANDS = {"run": run}
