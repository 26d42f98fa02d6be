"""A folder for what a runtime hands back: a pid, the master of a terminal."""

import array
import os
import shutil
import socket
import tempfile

from wherry.runtime.exits import LaunchError

_ROOM = 4096


class Scratch:
    """A folder in a bundle, for one call of a runtime. Use it as a context manager."""

    def __init__(self, bundle: str) -> None:
        self._folder = tempfile.mkdtemp(prefix="wherry-linux.", dir=bundle)
        self._descriptor = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._listener: socket.socket | None = None

    def __enter__(self) -> "Scratch":
        return self

    def __exit__(self, *_: object) -> None:
        if self._listener is not None:
            self._listener.close()
        os.close(self._descriptor)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid_file(self) -> str:
        """Where the runtime is to write the process's pid."""
        return f"{self._folder}/pid"

    def read_pid(self) -> int:
        """The pid. Raises LaunchError."""
        try:
            with open(self.pid_file) as file:
                return int(file.read(64))
        except (OSError, ValueError) as error:
            raise LaunchError(f"the Linux runtime told no pid: {error}") from None

    def listen_for_terminal(self) -> str:
        """Expect a terminal; the path of the socket (the runtime's `--console-socket`)."""
        self._listener = socket.socket(socket.AF_UNIX)
        # By way of the descriptor, for a bundle's path may be longer than an address can be.
        beneath = f"{self._descriptor}/terminal"
        self._listener.bind(f"/proc/self/fd/{beneath}")
        self._listener.listen(1)
        self._listener.setblocking(False)
        return f"/proc/{os.getpid()}/fd/{beneath}"

    def take_terminal(self) -> int:
        """The master of the terminal, once the runtime has ended: it was sent before.

        Raises LaunchError.
        """
        assert self._listener is not None
        received = array.array("i")
        try:
            connection, _ = self._listener.accept()
            with connection:
                connection.setblocking(False)
                room = socket.CMSG_SPACE(received.itemsize)
                _, ancillary, _, _ = connection.recvmsg(_ROOM, room, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise LaunchError(f"the Linux runtime sent no terminal: {error.strerror}") from None
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                received.frombytes(data[: received.itemsize])
        if not received:
            raise LaunchError("the Linux runtime sent no terminal")
        os.set_blocking(received[0], False)
        return received[0]
