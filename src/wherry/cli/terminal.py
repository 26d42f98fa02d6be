"""The person's terminal: raw while a container has it, its size, the keys that let go of it."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import select

from wherry.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DETACH_KEYS = "ctrl-p,ctrl-q"


def write_all(descriptor: int, data: bytes) -> None:
    """Writes everything, also to a descriptor that somebody else has made non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()


def can_redraw(descriptor: int) -> bool:
    """Whether it is a terminal on which lines that were written can be written again."""
    return os.isatty(descriptor) and os.environ.get("TERM", "dumb") != "dumb"


def window_size(descriptor: int = 1) -> tuple[int, int]:
    """Rows and columns, (0, 0) when nobody knows."""
    try:
        size = os.get_terminal_size(descriptor)
    except OSError:
        return 0, 0
    return size.lines, size.columns


class RawMode:
    """Every key goes to the container, as long as this context lasts, even when it is killed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._saved: list[Any] | None = None

    def __enter__(self) -> None:
        import termios  # which is loaded from a file: 0.2 ms of every command

        self._saved = saved = termios.tcgetattr(self._descriptor)
        raw = list(saved)
        raw[0] &= ~(
            termios.BRKINT | termios.ICRNL | termios.INLCR | termios.IGNCR
            | termios.INPCK | termios.ISTRIP | termios.IXON | termios.PARMRK | termios.IGNBRK
        )  # fmt: skip
        raw[1] &= ~termios.OPOST
        raw[2] = (raw[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
        raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.IEXTEN | termios.ISIG)
        raw[6] = [*raw[6]]
        raw[6][termios.VMIN] = 1
        raw[6][termios.VTIME] = 0
        termios.tcsetattr(self._descriptor, termios.TCSANOW, raw)
        for number in (_signal.SIGTERM, _signal.SIGHUP):
            _signal.signal(number, self._killed)

    def __exit__(self, *_: object) -> None:
        if self._saved is not None:
            import termios

            termios.tcsetattr(self._descriptor, termios.TCSANOW, self._saved)
            self._saved = None

    def _killed(self, number: int, _frame: object) -> None:
        self.__exit__()
        os._exit(128 + number)


class DetachKeys:
    """Watches what is typed for the sequence that lets go of a container."""

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What is for the container, and whether the sequence has been completed.

        The start of the sequence is held back until it is clear that it is none.
        """
        out = bytearray()
        for byte in data:
            self._held += bytes((byte,))
            while not self._sequence.startswith(self._held):
                out.append(self._held[0])
                self._held = self._held[1:]
            if self._held == self._sequence:
                return bytes(out), True
        return bytes(out), False


def parse_keys(text: str) -> bytes:
    """The bytes of keys like `ctrl-p,ctrl-q` or `q`. Raises `CommandError`."""
    out = bytearray()
    for key in text.split(","):
        letter = key[5:] if key.startswith("ctrl-") else ""
        if len(key) == 1 and key.isascii():
            out.append(ord(key))
        elif len(letter) == 1 and (letter.isascii() and letter.islower()):
            out.append(ord(letter) - ord("a") + 1)
        elif letter in ("@", "[", "\\", "]", "^", "_"):
            out.append(ord(letter) - ord("@"))
        else:
            raise CommandError(f"unknown key '{key}' in --detach-keys, write ctrl-p,ctrl-q", 125)
    return bytes(out)
