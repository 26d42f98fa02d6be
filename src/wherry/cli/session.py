"""One run of the command line: the engine it talks to, where it writes, what it asks."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import sys

from wherry.cli.errors import CommandError
from wherry.client import Client, ClientError, DaemonError, default_address, parse_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wherry.client import Address

_PATIENCE = 1.0
"""Seconds that a start may take before it is explained."""
_COMPILING = "still starting (a WebAssembly program is compiled when it is first run)"


class Session:
    """Commands get one; the connection to the engine is made when the first of them needs it."""

    def __init__(self, host: str = "") -> None:
        self._host = host
        self._client: Client | None = None

    @property
    def address(self) -> Address:
        """The engine's address: `--host`, else `WHERRY_HOST`, else this user's own wherryd."""
        return parse_address(self._host) if self._host else default_address()

    @property
    def client(self) -> Client:
        """The connection to the engine, made when it is first wanted."""
        if self._client is None:
            self._client = Client(self.address, _interrupts())
        return self._client

    def another_client(self) -> Client:
        """A client of its own for another thread or a signal handler."""
        return Client(self.address)

    def start(self, container: str) -> None:
        """Start a container; a person at the terminal who waits for it is told why."""
        told = os.isatty(2)
        if told:
            _signal.signal(_signal.SIGALRM, lambda *_: print_error(_COMPILING))
            _signal.setitimer(_signal.ITIMER_REAL, _PATIENCE)
        try:
            self.client.post(f"/containers/{container}/start")
        finally:
            if told:
                _signal.setitimer(_signal.ITIMER_REAL, 0)

    def write(self, text: str) -> None:
        """Text for stdout."""
        sys.stdout.write(text)

    def write_line(self, text: str) -> None:
        """A line for stdout."""
        sys.stdout.write(text + "\n")

    def complain(self, message: str) -> None:
        """One line for stderr, after what stdout was told before."""
        sys.stdout.flush()
        print_error(message)

    def for_each(self, words: Iterable[str], act: Callable[[str], None]) -> int:
        """Does the same to several objects, tells each failure, and goes on; the exit code."""
        code = 0
        for word in words:
            try:
                act(word)
            except CommandError as error:
                self.complain(str(error))
                code = error.exit_code
            except ClientError as error:
                self.complain(self.explain(error))
                code = 1
        return code

    def explain(self, error: ClientError, *, needed: bool = False) -> str:
        """What the error says; with what may have been meant, when something is not there.

        `needed` is what a container is to be run with.
        """
        if not isinstance(error, DaemonError) or error.status not in (400, 404):
            return str(error)
        from wherry.cli.missing import hint

        return f"{error}{hint(self.client, error.message, needed=needed)}"

    def confirm(self, warning: str) -> bool:
        """Asks a person at the terminal, who must say yes; an end of input is a no."""
        from wherry.cli.prompt import read_line

        self.write(f"{warning}\nAre you sure you want to continue? [y/N] ")
        sys.stdout.flush()
        return read_line().strip().lower() in ("y", "yes")


def _interrupts() -> int:
    """A pipe that gets a byte with every signal that has a handler. For the main thread."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def print_error(message: str) -> None:
    """`wherry: MESSAGE` as one line on stderr, without what would steer a terminal."""
    from wherry.cli.printable import printable

    line = "; ".join(part.strip() for part in message.strip().splitlines() if part.strip())
    os.write(2, f"wherry: {printable(line)}\n".encode(errors="replace"))
