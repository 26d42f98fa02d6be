"""Terminals of containers, and waiting for a container in the foreground."""

import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import termios
import tty

from wherry.oci import runtime as spec
from wherry.runtime.command.options import UsageError
from wherry.runtime.exits import ENGINE_FAILED, SIGNALLED, LaunchError

_PIECE = 1 << 16

_HANDED_ON = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
)


def check(wanted: bool, detached: bool, console_socket: str) -> None:
    """See that a terminal that is wanted has somebody to hold it, or raise UsageError."""
    if console_socket and not (wanted and detached):
        raise UsageError(
            "--console-socket is for a process with a terminal (process.terminal) that is detached"
        )
    if wanted and detached and not console_socket:
        raise UsageError(
            "the process is to have a terminal, and nobody would hold it: give --console-socket"
        )


class Console:
    """A pseudo-terminal: the process has the slave, this command or its caller the master."""

    def __init__(self, master: int, slave: int) -> None:
        self.master = master
        self.slave = slave

    @classmethod
    def open(cls, process: spec.Process) -> "Console":
        """Make one for `process`. Raises OSError."""
        console = cls(*os.openpty())
        size = process.console_size
        if size is not None and (size.height or size.width):
            console.resize(size.height, size.width)
        with contextlib.suppress(OSError):  # it may have no number in our user namespace
            os.fchown(console.slave, process.user.uid, -1)
        return console

    def resize(self, rows: int, columns: int) -> None:
        """Set its size. Raises OSError."""
        packed = struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, packed)

    def hand_to(self, path: str) -> None:
        """Give the master to who listens on the socket at `path`. Raises LaunchError."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
                channel.connect(path)
                socket.send_fds(channel, [b"/dev/ptmx"], [self.master])
        except OSError as error:
            raise LaunchError(f"the console socket {path}: {error.strerror}") from None
        self.close()

    def close(self) -> None:
        """Close both ends."""
        os.close(self.master)
        os.close(self.slave)


class Signals:
    """Signals to this command, kept for the process it is going to wait for."""

    def __enter__(self) -> "Signals":
        self.heard, self._wakeup = socket.socketpair()
        self.heard.setblocking(False)
        self._wakeup.setblocking(False)
        self._before = {
            number: signal.signal(number, lambda *_: None)
            for number in (*_HANDED_ON, signal.SIGWINCH)
        }
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        return self

    def forget(self) -> None:
        """In a fork: take signals as before."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        self.heard.close()
        self._wakeup.close()


def attend(pidfd: int, console: Console | None, heard: socket.socket) -> int:
    """Wait for the end of a child; returns its exit status.

    Each byte `heard` is the number of a signal to hand on; when its other end is gone, it is time
    to kill. With a console, what it shows appears on our stdout, and our stdin is what is typed.
    """
    with _Relay(console) as relay:
        _wait(pidfd, heard, relay)
        relay.drain()
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    if result is None:
        return ENGINE_FAILED
    ended = result.si_code == os.CLD_EXITED
    return result.si_status if ended else SIGNALLED + result.si_status


def _wait(pidfd: int, heard: socket.socket, relay: "_Relay") -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(heard, select.POLLIN)
    relay.register(poll)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == pidfd:
                return
            if descriptor != heard.fileno():
                relay.move(descriptor, poll)
                continue
            numbers = _received(heard)
            if not numbers:
                poll.unregister(heard)
            for number in numbers or [signal.SIGKILL]:
                if number == signal.SIGWINCH:
                    relay.resize()
                else:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(pidfd, number)


def _received(heard: socket.socket) -> bytes:
    try:
        return heard.recv(64)
    except ConnectionResetError:
        return b""


class _Relay:
    """Between our own streams and a console; does nothing without one."""

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._before: list[object] | None = None

    def __enter__(self) -> "_Relay":
        if self._console is not None:
            # Only the process has the slave now: the master says so when it is closed.
            os.close(self._console.slave)
            if os.isatty(0):
                self._before = termios.tcgetattr(0)
                tty.setraw(0, termios.TCSADRAIN)  # what was typed ahead is for the guest
            self.resize()
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._before)  # type: ignore[arg-type]
        if self._console is not None:
            os.close(self._console.master)

    def register(self, poll: "select.poll") -> None:
        """Have `poll` tell of what is to be moved."""
        if self._console is not None:
            poll.register(self._console.master, select.POLLIN)
            poll.register(0, select.POLLIN)

    def resize(self) -> None:
        """Make the console as large as our own terminal."""
        if self._console is None or not os.isatty(0):
            return
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))
        if rows and columns:
            self._console.resize(rows, columns)

    def move(self, source: int, poll: "select.poll") -> None:
        """Move what there is at `source`, our stdin or the console."""
        if self._console is None:
            return
        piece = self._read(source)
        if piece:
            _write_all(1 if source == self._console.master else self._console.master, piece)
            return
        poll.unregister(source)
        if source == 0:
            _write_all(self._console.master, b"\x04")  # a terminal's end of file

    def drain(self) -> None:
        """Move what the process left in the console."""
        if self._console is None:
            return
        os.set_blocking(self._console.master, False)
        while piece := self._read(self._console.master):
            _write_all(1, piece)

    @staticmethod
    def _read(source: int) -> bytes:
        try:
            return os.read(source, _PIECE)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno != errno.EIO:  # nobody has the slave any more
                raise
            return b""


def _write_all(target: int, content: bytes) -> None:
    while content:
        content = content[os.write(target, content) :]
