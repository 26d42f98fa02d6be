"""Starting wherryd when nobody listens yet: the client binds the socket and the daemon inherits it.

The client connects at once; the kernel queues the connection until wherryd accepts it. So nothing
polls, and two clients that start together get one daemon (a lock file decides which starts it).
"""

from __future__ import annotations

import _socket
import fcntl
import os
import sys

from wherry.client.connection import open_socket
from wherry.client.errors import DaemonUnreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.client.address import Address

_BACKLOG = 512
_LAST_WORDS = 4096


def start_daemon(address: Address) -> _socket.socket:
    """A socket connected to a wherryd started now, or meanwhile by somebody else.

    Raises:
        DaemonUnreachable: the folder of the socket is not ours, or wherryd cannot be started.
    """
    directory = os.path.dirname(address.path)
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        if os.stat(directory).st_uid != os.geteuid():
            raise DaemonUnreachable(f"{directory} belongs to somebody else; set WHERRY_RUN")
        lock = os.open(f"{directory}/wherryd.start.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise DaemonUnreachable(
            f"cannot start the engine: {error.filename}: {error.strerror}"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return open_socket(address)
        except (FileNotFoundError, ConnectionRefusedError):
            listener = _listen(address.path)
        try:
            _spawn(directory, listener.fileno())
            return open_socket(address)
        finally:
            listener.close()
    except OSError as error:
        raise DaemonUnreachable(f"cannot start the engine: {error.strerror or error}") from error
    finally:
        os.close(lock)


def last_words(address: Address) -> str:
    """Why a wherryd that was just started is gone: the last line of its log, or empty."""
    try:
        with open(f"{os.path.dirname(address.path)}/wherryd.log", "rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - _LAST_WORDS))
            lines = log.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f"the engine went away: {lines[-1]}" if lines else ""


def _listen(path: str) -> _socket.socket:
    if os.path.lexists(path):
        os.unlink(path)
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(mask)
    listener.listen(_BACKLOG)
    return listener


def _spawn(directory: str, listener: int) -> None:
    environment = {**os.environ, "LISTEN_FDS": "1"}
    environment.pop("LISTEN_PID", None)
    os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", "wherry.api.daemon"],
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (
                os.POSIX_SPAWN_OPEN,
                1,
                f"{directory}/wherryd.log",
                os.O_WRONLY | os.O_CREAT | os.O_APPEND,
                0o600,
            ),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            # dup2 onto itself clears the close-on-exec flag, as POSIX asks of posix_spawn.
            (os.POSIX_SPAWN_DUP2, listener, 3),
        ],
        setsid=True,
    )
