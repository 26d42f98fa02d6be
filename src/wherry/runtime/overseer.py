"""Who made a process of a container, seen from that process: what ties them, who lets it start.

A shim stays beside its containers: they die with it, it tells them to start and ends them for the
signals they are sent. A command of `wherry-runtime` goes away: what it made looks after itself.
"""

import contextlib
import os
import signal
import socket

from wherry.runtime import messages
from wherry.runtime.exits import ENGINE_FAILED
from wherry.runtime.guest import attend, end_on_signals, fork_attended, forward_signals
from wherry.runtime.sandbox import seccomp
from wherry.runtime.sandbox import syscalls as sys

START_SOCKET = 4
"""The descriptor at which a process that `create` made waits for `start`."""


class Shim:
    """An overseer that stays. `control` is the socket to it."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control

    def tie(self) -> None:
        """Die when the overseer does, from now on while all is made ready."""
        sys.prctl(sys.PR_SET_PDEATHSIG, signal.SIGKILL)

    def tie_for_good(self) -> None:
        """The same for all that comes. The kernel forgets it when credentials change: now they
        have, and what is not said before the seccomp filter is never said.
        """
        self.tie()

    def tie_program(self, waiting: bytes) -> None:
        """The same for a process that is to become a program of the host's, and forgets all this.

        `waiting` is the seccomp filter of a process that only waits.
        """
        self.tie_for_good()

    def await_hooks(self) -> None:
        """Report that the sandbox is built, and return once the hooks of its creation have run."""
        self._report(messages.Built())

    def await_start(self, *, signals: bool = True) -> None:
        """Report that all is ready, and return once the process is to run.

        `signals`: see to it that those sent to it end it, which a guest cannot.
        """
        self._report(messages.Ready())
        if signals:
            forward_signals(self.control)

    def tell_out_of_memory(self) -> None:
        """Tell that the guest dies for want of memory that it was refused."""
        with contextlib.suppress(OSError):
            os.write(self.control.fileno(), messages.OUT_OF_MEMORY)

    def _report(self, message: messages.Built | messages.Ready) -> None:
        messages.send(self.control, message)
        if self.control.recv(1) != messages.START:
            os._exit(ENGINE_FAILED)


class Foreground(Shim):
    """The command `exec`, which waits for the end of what it made and hands its signals on."""

    def tie_program(self, waiting: bytes) -> None:
        """A process stays before the program, and ends by signals as the first of its namespace."""
        child = fork_attended()
        if child == 0:
            return
        self.tie_for_good()
        sys.close_range(3, 2**32 - 1)
        seccomp.install(waiting)
        os._exit(attend(child))

    def await_start(self, *, signals: bool = True) -> None:
        """Report that all is ready, and return once the process is to run."""
        if signals:
            end_on_signals()
        self._report(messages.Ready())
        self.control.close()

    def tell_out_of_memory(self) -> None:
        """Nobody listens: the guest's stderr says it."""


class Detached(Foreground):
    """The same, when it goes away as soon as its process has started."""

    def tie_for_good(self) -> None:
        """Untied: until it may go on it sees by the socket whether the overseer lives."""
        sys.prctl(sys.PR_SET_PDEATHSIG, 0)


class Creator(Detached):
    """The command `create`, which goes away once it has written down what it made.

    Later `start` comes by, at a socket of its own.
    """

    def await_start(self, *, signals: bool = True) -> None:
        """Report that all is ready, and return once the process is to run."""
        super().await_start(signals=signals)
        with socket.socket(fileno=START_SOCKET) as start:
            start.recv(1)


class Attendant(Creator):
    """The command `run` in the foreground: what it made dies with it."""

    def tie_for_good(self) -> None:
        """The same as under a shim."""
        self.tie()
