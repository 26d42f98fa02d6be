"""Questions to the person at the terminal."""

import os
import pty
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from wherry.cli.prompt import ask


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The master of a terminal that is this process's stdin."""
    before = os.dup(0)
    master, slave = pty.openpty()
    os.dup2(slave, 0)
    with open(0, closefd=False) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield master
    os.dup2(before, 0)
    for descriptor in (before, master, slave):
        os.close(descriptor)


def test_no_signal_goes_unnoticed_while_an_answer_is_awaited(terminal: int) -> None:
    """One that another thread was given leaves the main thread's system call as it is.

    So does one that comes just before the call, as a Ctrl-C right after the question may.
    """

    def send() -> None:
        for _ in range(200):  # until the main thread has had the time to wait
            Path("/proc/self/stat").read_bytes()
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: os.write(terminal, b"heard\n"))
    try:
        threading.Thread(target=send).start()
        assert ask("Who? ") == "heard"
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_was_typed_ahead_is_the_answer(terminal: int) -> None:
    os.write(terminal, b"one\ntwo\n")
    assert (ask("First? "), ask("Second? ")) == ("one", "two")
