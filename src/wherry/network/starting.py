"""Where the helper of a run folder is, and how it is started.

Whoever holds the lock is the helper, or about to start it. Who gets the lock makes the listening
socket and starts a helper that inherits both: so there is one at most, whoever connects meanwhile
waits in the socket's queue, and the kernel frees the lock whatever way the helper ends.
"""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wherry.interpreter import command
from wherry.locks import is_locked, try_lock

LISTENER, LOCK = 3, 4
"""The helper's descriptors."""

_BACKLOG = 128
_PATIENCE = 10.0
"""Seconds for what takes less than one thousandth: somebody else is starting it, or it leaves."""
_ENVIRONMENT = ("PATH", "TMPDIR", "WHERRY_ROOT", "WHERRY_RUN")


class Place:
    """The files of a run folder's helper."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.socket = run / "network.sock"
        self.listeners = run / "listeners.sock"
        """Where containers fetch their listening sockets."""
        self.lock = run / "network.lock"
        self.log = run / "network.log"
        self.state = run / "network"
        """A folder for what the helper remembers of containers that are alive."""

    def is_served(self) -> bool:
        """Whether there is a helper, maybe one that is about to leave."""
        return is_locked(self.lock)

    def connect(self) -> socket.socket:
        """A connection to the helper, which is started if there is none. Raises OSError."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            lock = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if try_lock(lock):
                    self._start(lock)
            finally:
                os.close(lock)
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                with short_path(self.socket) as path:
                    connection.connect(path)
                return connection
            except (FileNotFoundError, ConnectionRefusedError):
                # Whoever holds the lock has not bound the socket yet, or is leaving.
                connection.close()
                os.sched_yield()
            except BaseException:
                connection.close()
                raise
        raise ConnectionRefusedError(errno.ECONNREFUSED, "it does not answer")

    def _start(self, lock: int) -> None:
        """Start a helper that takes over `lock`, which is held."""
        with bind(self.socket, socket.SOCK_STREAM) as listener:
            listener.listen(_BACKLOG)
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            try:
                _spawn(self.run, listener.fileno(), lock, log)
            finally:
                os.close(log)


def bind(place: Path, kind: int) -> socket.socket:
    """A unix socket at `place` for its owner alone, instead of what was left there."""
    bound = socket.socket(socket.AF_UNIX, kind)
    try:
        place.unlink(missing_ok=True)
        with short_path(place) as path:
            # The mode is that of the socket's inode; a umask would be the whole process's.
            os.fchmod(bound.fileno(), 0o600)
            bound.bind(path)
    except BaseException:
        bound.close()
        raise
    return bound


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name for `path` that fits into the address of a unix socket (107 bytes)."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _spawn(run: Path, listener: int, lock: int, log: int) -> None:
    """Start the helper. A shell stands between, so that it is no child of this process."""
    # Numbers that none of the targets has, or one would overwrite another.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in (log, log, listener, lock)]
    try:
        shell = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", '"$@" & ', "sh", *command("wherry.network.server", str(run))],
            {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                *((os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(high, 1)),
            ],
            setsid=True,
        )
        os.waitpid(shell, 0)
    finally:
        for fd in high:
            os.close(fd)
