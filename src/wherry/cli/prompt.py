"""Questions to the person at the terminal; a secret is typed without being shown."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import select
import sys
import termios

from wherry.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def ask(question: str) -> str:
    """A line of the terminal, without spaces around it. Raises `CommandError` at its end."""
    os.write(2, question.encode())
    line = read_line()
    if not line:
        os.write(2, b"\n")
        raise CommandError("nothing was typed")
    return line.strip()


def ask_secret(question: str) -> str:
    """The same for a secret: neither shown, nor stripped of more than its end of line."""
    with _NoEcho(0):
        os.write(2, question.encode())
        line = read_line()
        os.write(2, b"\n")
    if not line:
        raise CommandError("nothing was typed")
    return line.rstrip("\r\n")


def read_line() -> str:
    """The next line of stdin, empty at its end; signals' handlers run meanwhile."""
    if os.isatty(0):
        _await_line()
    return sys.stdin.readline()


def _await_line() -> None:
    # A signal that comes just before read(2) would be noticed when something is typed.
    heard, wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    before = _signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    try:
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.register(heard, select.POLLIN)
        while (heard, select.POLLIN) in poll.poll():
            os.read(heard, 1 << 12)
    finally:
        _signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        os.close(heard)
        os.close(wakeup)


class _NoEcho:
    """The terminal shows nothing of what is typed; it does again however this command ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._saved: list[Any] = []

    def __enter__(self) -> None:
        self._saved = termios.tcgetattr(self._descriptor)
        silent = list(self._saved)
        silent[3] &= ~termios.ECHO
        for number in (_signal.SIGTERM, _signal.SIGHUP):
            _signal.signal(number, self._killed)
        termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, silent)

    def __exit__(self, *_: object) -> None:
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._saved)
        for number in (_signal.SIGTERM, _signal.SIGHUP):
            _signal.signal(number, _signal.SIG_DFL)

    def _killed(self, number: int, _frame: object) -> None:
        self.__exit__()
        os._exit(128 + number)
