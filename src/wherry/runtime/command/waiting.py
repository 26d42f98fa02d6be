"""The socket on which a created container's process waits for `start`.

It is a datagram socket bound in the container's folder, and the process holds it: so the process
can be told from another mount and network namespace, costs nothing while it waits, and when it is
gone so is the socket's other end.
"""

import socket

from wherry.runtime.command.record import FAILED, Record
from wherry.runtime.exits import LaunchError

_GO = b"go"
"""Whatever is said there means that: `messages`, with the decoder of all that is said elsewhere,
would cost `start` more than all else that it does.
"""


def listen(record: Record) -> socket.socket:
    """Make the socket of a container being made; its process inherits it. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(record.path("start"))
    return listener


def let_go(record: Record) -> None:
    """Tell the process of a created container to go on. Raises LaunchError if it is gone."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(record.path("start"))
            # From here on it counts as started, for nobody may start it twice.
            record.remove("start")
            sender.send(_GO)
    except OSError as error:
        raise LaunchError(
            f"cannot start container {record.id}: its process is gone ({error.strerror})", FAILED
        ) from None
