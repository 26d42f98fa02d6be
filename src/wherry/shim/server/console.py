"""The shim's side of a terminal."""

import fcntl
import os
import struct
import termios
from collections.abc import Callable

from wherry.shim.server.pump import Drain, Pump

_LARGEST = 0xFFFF


class Console:
    """A pseudoterminal: where its output goes, where its input comes from, and its size."""

    def __init__(self, output: Drain | Pump, keyboard: Pump | None) -> None:
        self._output = output
        self._keyboard = keyboard

    def resize(self, width: int, height: int) -> None:
        """Set columns and rows; the kernel tells the process by SIGWINCH."""
        if self._output.source is not None:
            set_size(self._output.source, width, height)

    def close_stdin(self) -> None:
        """Type no more."""
        if self._keyboard is not None:
            self._keyboard.close()

    def take_all(self) -> None:
        """Take the output there is now."""
        self._output.take_all()

    def close(self) -> None:
        """Hang up."""
        self.close_stdin()
        self._output.close()


class UnpluggedConsole:
    """A console to be: nothing is moved yet, for the process may bring a terminal of its own.

    `keyboard` is a FIFO; `output` a descriptor, or what makes a drain of the terminal. All are its
    own, and not blocking.
    """

    def __init__(self, master: int, size: tuple[int, int]) -> None:
        """`size` is columns and rows, for a terminal that the process brings."""
        self.keyboard: int | None = None
        self.output: int | Callable[[int], Drain] | None = None
        self._master = master
        self._size = size

    def plug_in(self, other: int | None) -> Console:
        """The console of the terminal, or of that whose master is `other`."""
        assert self.output is not None
        if other is not None:
            os.close(self._master)
            self._master = other
            if all(self._size):
                set_size(other, *self._size)
        master = self._master
        os.set_blocking(master, False)
        keyboard = None if self.keyboard is None else Pump(self.keyboard, os.dup(master))
        if isinstance(self.output, int):
            return Console(Pump(master, self.output), keyboard)
        return Console(self.output(master), keyboard)

    def close(self) -> None:
        """It is not to be."""
        for descriptor in (self._master, self.keyboard, self.output):
            if isinstance(descriptor, int):
                os.close(descriptor)


def set_size(terminal: int, width: int, height: int) -> None:
    """Set the columns and rows of the terminal behind a descriptor."""
    size = struct.pack("HHHH", min(height, _LARGEST), min(width, _LARGEST), 0, 0)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
