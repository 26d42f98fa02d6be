"""What `ps` and `docker top` show of a container's process: its guest's command line."""

import ctypes
from collections.abc import Sequence

_ARG_START = 48 - 3
"""Where proc_pid_stat(5) has the address of the command line, counted from behind the name."""


class Title:
    """The memory in which this process, and each one forked from it, has its command line."""

    def __init__(self) -> None:
        """Raises OSError."""
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
        self._start, end = (int(field) for field in fields[_ARG_START : _ARG_START + 2])
        self._size = max(0, end - self._start)

    def show(self, arguments: Sequence[str]) -> None:
        """Put `arguments` in the place of this process's own, as far as they fit in there."""
        if not self._start or not self._size:
            return  # the kernel does not tell
        text = "\0".join(arguments).encode("utf-8", "surrogateescape")[: self._size - 1]
        ctypes.memmove(self._start, text.ljust(self._size, b"\0"), self._size)
