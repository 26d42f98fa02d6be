"""The shim's side of a terminal."""

import fcntl
import struct
import termios

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


def set_size(terminal: int, width: int, height: int) -> None:
    """Set the columns and rows of the terminal behind a descriptor."""
    size = struct.pack("HHHH", min(height, _LARGEST), min(width, _LARGEST), 0, 0)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
