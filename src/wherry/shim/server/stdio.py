"""A process's standard streams: what it is given, and what the shim does with the other end.

An address is empty (nothing), the path of a FIFO (containerd's, handed to the process itself),
`file:///path` (appended to) or `wherry-log:///path?stream=stdout` (read here and logged).
"""

import asyncio
import os
import stat
from urllib.parse import unquote

from wherry.shim.client.log import MESSAGE, STDERR, STDOUT
from wherry.shim.server.console import Console, UnpluggedConsole, set_size
from wherry.shim.server.logs import Log, Logs
from wherry.shim.server.pump import Drain

_LOG = "wherry-log://"
_FILE = "file://"


class StdioError(Exception):
    """A stream cannot be connected as asked. The message is one line."""


class Stdio:
    """The streams of one process: what they are to be, and once they are open, our end of them."""

    def __init__(self, stdin: str, stdout: str, stderr: str, terminal: bool) -> None:
        self.stdin_address = stdin
        self.stdout_address = stdout
        self.stderr_address = stderr
        self.terminal = terminal
        self.given: list[int] = []
        """The process's own descriptors: stdin, stdout, stderr. Closed by `handed_over`."""
        self._stdin_writer: int | None = None
        self._stdin_closed = False
        self._unplugged: UnpluggedConsole | None = None
        self._console: Console | None = None
        self._drains: list[Drain] = []
        self._log: Log | None = None

    def open(self, logs: Logs, size: tuple[int, int] = (0, 0)) -> None:
        """Connect the streams of a process to come; `size` is a terminal's columns and rows.

        Raises StdioError; then nothing is left open. Needs a running event loop.
        """
        asyncio.get_running_loop()
        try:
            if self.terminal:
                self._open_terminal(logs, *size)
            else:
                self._open_pipes(logs)
            if self._stdin_closed:
                self.close_stdin()
        except OSError as error:
            self.close()
            raise StdioError(f"{error.filename or 'its streams'}: {error.strerror}") from None
        except BaseException:
            self.close()
            raise

    def handed_over(self, terminal: int | None = None) -> None:
        """The process has its descriptors: close ours of them, and move its bytes.

        `terminal` is the master of the terminal that it made for itself, instead of the one given.
        """
        if terminal is not None and self._unplugged is None:
            os.close(terminal)
        if self._unplugged is not None:
            self._console = self._unplugged.plug_in(terminal)
            self._unplugged = None
            if self._stdin_closed:
                self._console.close_stdin()
        self._close_given()

    def _close_given(self) -> None:
        for descriptor in set(self.given):
            os.close(descriptor)
        self.given = []

    def close_stdin(self) -> None:
        """The process sees the end of its stdin when its other writers have closed it too.

        May be asked for before the streams are open.
        """
        self._stdin_closed = True
        if self._stdin_writer is not None:
            os.close(self._stdin_writer)
            self._stdin_writer = None
        if self._console is not None:
            self._console.close_stdin()

    def resize(self, width: int, height: int) -> None:
        """Set the size of the terminal, if there is one."""
        if self._console is not None:
            self._console.resize(width, height)

    def say(self, line: str) -> None:
        """Put a line of wherry's own where the process's stderr goes."""
        if self._log is not None:
            self._log.write(MESSAGE, line.encode())
            return
        address = self.stdout_address if self.terminal else self.stderr_address
        if address:
            _append_line(_file_path(address) or address, line)

    def drain(self) -> None:
        """The process has exited: take what it has written and nobody has read."""
        for drain in self._drains:
            drain.take_all()
        if self._console is not None:
            self._console.take_all()

    def close(self) -> None:
        """Give everything up; a log is told that its streams have ended."""
        self._close_given()
        self.close_stdin()
        if self._unplugged is not None:
            self._unplugged.close()
            self._unplugged = None
        for drain in self._drains:
            drain.close()
        if self._console is not None:
            self._console.close()
        if self._log is not None:
            self._log.close()
            self._log = None

    def _open_pipes(self, logs: Logs) -> None:
        self.given.append(self._open_stdin())
        for address, stream in ((self.stdout_address, STDOUT), (self.stderr_address, STDERR)):
            path = _log_path(address)
            if path is None:
                self.given.append(_open_output(address))
                continue
            log = self._open_log(logs, path)
            reader, writer = os.pipe2(os.O_CLOEXEC)
            self.given.append(writer)
            os.set_blocking(reader, False)
            self._drains.append(Drain(reader, log.sink(stream), log.ended(stream)))

    def _open_stdin(self) -> int:
        if not self.stdin_address:
            return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        reader = _open_fifo(self.stdin_address, os.O_RDONLY)
        # While this end is open the process does not take a client that has yet to come, or that
        # comes again, for the end of its input.
        self._stdin_writer = _open_fifo(self.stdin_address, os.O_WRONLY)
        os.set_blocking(reader, True)
        return reader

    def _open_terminal(self, logs: Logs, width: int, height: int) -> None:
        path = _log_path(self.stdout_address)
        master, slave = os.openpty()
        self.given = [slave] * 3
        self._unplugged = UnpluggedConsole(master, (width, height))
        if width and height:
            set_size(master, width, height)
        if self.stdin_address:
            # For writing too, so that clients may come and go.
            self._unplugged.keyboard = _open_fifo(self.stdin_address, os.O_RDWR)
        if path is None:
            output = _open_output(self.stdout_address)
            os.set_blocking(output, False)
            self._unplugged.output = output
        else:
            log = self._open_log(logs, path)
            self._unplugged.output = lambda screen: Drain(
                screen, log.sink(STDOUT), log.ended(STDOUT | STDERR)
            )

    def _open_log(self, logs: Logs, path: str) -> Log:
        if self._log is None:
            self._log = logs.open(path)
        return self._log


def _open_output(address: str) -> int:
    if not address:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    path = _file_path(address)
    if path is not None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(path, flags, 0o644)
    if "://" in address:
        raise StdioError(f"{address}: expected the path of a FIFO or file:///path")
    # For reading too, so that the process outlives its reader and meets another one: containerd's
    # clients come and go.
    output = _open_fifo(address, os.O_RDWR)
    os.set_blocking(output, True)
    return output


def _open_fifo(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StdioError(f"{path}: not a FIFO")
    return descriptor


def _file_path(address: str) -> str | None:
    return unquote(address.removeprefix(_FILE)) if address.startswith(_FILE) else None


def _log_path(address: str) -> str | None:
    if not address.startswith(_LOG):
        return None
    path = unquote(address.removeprefix(_LOG).partition("?")[0])
    if not path.startswith("/"):
        raise StdioError(f"{address}: expected wherry-log:///an/absolute/path")
    return path


def _append_line(path: str, line: str) -> None:
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags)
    except OSError:
        return  # Nobody reads there: the exit status tells it too.
    try:
        os.write(descriptor, line.encode())
    except OSError:
        return
    finally:
        os.close(descriptor)
