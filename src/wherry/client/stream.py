"""A connection that left HTTP behind: the standard streams of a container, both ways."""

from __future__ import annotations

import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.client.connection import Connection, Response


class Stream:
    """What `attach` hands over. One thread may read while another writes."""

    def __init__(self, connection: Connection, response: Response) -> None:
        self._connection = connection
        self._early = response.early()

    def receive(self) -> bytes:
        """The next bytes from the container; empty at the end."""
        if self._early:
            early, self._early = self._early, b""
            return early
        return self._connection.receive()

    def send(self, data: bytes) -> bool:
        """Bytes for the container's stdin; False once nobody takes them any more."""
        try:
            self._connection.socket.sendall(data, _socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def close_write(self) -> None:
        """No more input: the container's stdin ends, its output goes on."""
        self._shut(_socket.SHUT_WR)

    def abort(self) -> None:
        """Ends both directions; a `receive` that waits in another thread returns empty."""
        self._shut(_socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def _shut(self, how: int) -> None:
        try:
            self._connection.socket.shutdown(how)
        except OSError:
            return
