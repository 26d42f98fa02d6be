"""What a descriptor of the table is: a socket, or one of the guest's standard streams."""

import _socket
import contextlib
import os
import select
from collections.abc import Sequence

from wherry.runtime.wasi.errnos import AGAIN, INVAL, Failure

NONBLOCK = 1 << 2
"""The flag of `fdflags` that sockets know."""

UNKNOWN, CHARACTER_DEVICE, DIRECTORY, SOCKET_DGRAM, SOCKET_STREAM = 0, 2, 3, 5, 6
"""Kinds of file (`filetype`)."""

_READ, _SET_FLAGS, _WRITE = 1 << 1, 1 << 3, 1 << 6
_FILESTAT, _POLL, _SHUTDOWN, _ACCEPT = 1 << 21, 1 << 27, 1 << 28, 1 << 29
"""Rights of a descriptor (`rights`)."""


class Stream:
    """Standard input, output or error: the process's own descriptor of the same number.

    It is read and polled here and nowhere else: had wasmtime's standard input read ahead, a poll
    would wait for what has long arrived.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.flags = 0
        self.rights = (_WRITE if number else _READ) | _POLL | _SET_FLAGS | _FILESTAT
        self.kind = CHARACTER_DEVICE if os.isatty(number) else UNKNOWN

    def to_poll(self) -> Sequence[int]:
        """The host's descriptors that a poll looks at."""
        return (self.number,)

    def set_flags(self, flags: int) -> None:
        """Set `fdflags`. Raises Failure (INVAL) for those that streams do not know."""
        if flags & ~NONBLOCK:
            raise Failure(INVAL)
        # Not the host's flag: others share what these descriptors stand for.
        self.flags = flags

    def read(self, into: list[memoryview]) -> int:
        """Read as readv(2) does. Raises Failure, OSError."""
        while True:
            if self.flags:
                self._await(select.POLLIN)
            try:
                return os.readv(self.number, into)
            except BlockingIOError:  # others may have set the host's flag
                self._await(select.POLLIN)

    def write(self, data: list[memoryview]) -> int:
        """Write as writev(2) does. Raises Failure, OSError."""
        while True:
            if self.flags:
                self._await(select.POLLOUT)
            try:
                return os.writev(self.number, data)
            except BlockingIOError:
                self._await(select.POLLOUT)

    def _await(self, event: int) -> None:
        waiting = select.poll()
        waiting.register(self.number, event)
        if not waiting.poll(0 if self.flags else None):
            raise Failure(AGAIN)

    def close(self) -> None:
        """Nothing: the descriptor stays open for what the host has to say of the guest."""


class Socket:
    """A socket of the guest's. Once it listens, `others` may listen for it too."""

    def __init__(self, socket: _socket.socket, *, flags: int = 0) -> None:
        """Take over `socket`, whose blocking is set to be as `flags` has it."""
        self.socket = socket
        self.stream = socket.type == _socket.SOCK_STREAM
        self.others: Sequence[_socket.socket] = ()
        """Listening sockets on the host, of published ports: the guest sees one descriptor."""
        self.preopened = False
        """Whether the guest found it open when it began."""
        self.settled = False
        """Whether the guest has set or been told its flags."""
        self.flags = 0
        self.kind = SOCKET_STREAM if self.stream else SOCKET_DGRAM
        self._peer: tuple[str, int] | None = None
        self.rights = _READ | _WRITE | _SET_FLAGS | _FILESTAT | _POLL | _SHUTDOWN | _ACCEPT
        if flags:
            self.set_flags(flags)

    def to_poll(self) -> Sequence[int]:
        """The host's descriptors that a poll looks at."""
        number = self.socket.fileno()
        return (number, *(other.fileno() for other in self.others)) if self.others else (number,)

    def set_flags(self, flags: int) -> None:
        """Set `fdflags`. Raises Failure (INVAL) for those that sockets do not know."""
        if flags & ~NONBLOCK:
            raise Failure(INVAL)
        self.flags = flags
        # With several to listen on, none may block while another has a connection.
        self.socket.setblocking(not (flags or self.others))

    def settle(self) -> None:
        """The guest is about to be told the flags, which nobody has chosen if it was preopened.

        Rust's and C's libraries accept without asking, and must block; Go asks what it was given,
        and with a socket that blocks would stop all that goes on in the program.
        """
        if self.preopened and not self.settled:
            self.set_flags(NONBLOCK)
        self.settled = True

    def read(self, into: list[memoryview]) -> int:
        """Receive as recvmsg(2) does, without flags. Raises OSError."""
        if len(into) == 1:
            return self.socket.recv_into(into[0])
        return self.socket.recvmsg_into(into)[0]

    def write(self, data: list[memoryview]) -> int:
        """Send as sendmsg(2) does; whose peer is gone gets EPIPE. Raises OSError."""
        if len(data) == 1:
            return self.socket.send(data[0], _socket.MSG_NOSIGNAL)
        return self.socket.sendmsg(data, (), _socket.MSG_NOSIGNAL)

    def listen(self, backlog: int, others: Sequence[_socket.socket] = ()) -> None:
        """Listen, and so on `others`, which are given for as long as this is open. Raises OSError.

        Of one that listens already, only the backlog changes.
        """
        self.socket.listen(backlog)
        for other in others:
            other.setblocking(False)
            other.listen(backlog)
        if others:
            self.others = others
            self.set_flags(self.flags)

    def accept(self, flags: int) -> "Socket":
        """Accept a connection; the new socket has `flags`. Raises OSError."""
        if not self.others:
            return self._accept(self.socket, flags)
        waiting = select.poll()
        for number in self.to_poll():
            waiting.register(number, select.POLLIN)
        while True:
            for number, _ in waiting.poll(0 if self.flags else None):
                with contextlib.suppress(BlockingIOError):  # the peer may have thought better of it
                    return self._accept(self._at(number), flags)
            if self.flags:
                raise Failure(AGAIN)

    def _at(self, number: int) -> _socket.socket:
        return next(one for one in (self.socket, *self.others) if one.fileno() == number)

    def _accept(self, listening: _socket.socket, flags: int) -> "Socket":
        number, peer = listening._accept()  # type: ignore[attr-defined]
        family, proto = listening.family, listening.proto
        accepted = Socket(_socket.socket(family, listening.type, proto, number), flags=flags)
        accepted._peer = peer
        return accepted

    def peer(self) -> tuple[str, int]:
        """The peer's address and port. Raises OSError.

        That of an accepted connection is known even if its peer has reset it since: Go's servers
        end when they are told then that there is none.
        """
        name = self._peer or self.socket.getpeername()
        return name[0], name[1]

    def shut_down(self, how: int) -> None:
        """Shut down one half or both; of what listens, all. Raises OSError."""
        self.socket.shutdown(how)
        self._stop_others()

    def close(self) -> None:
        """Close it; others that listened for it stop to, and can be listened on again."""
        self._stop_others()
        self.socket.close()

    def _stop_others(self) -> None:
        for other in self.others:
            with contextlib.suppress(OSError):
                other.shutdown(_socket.SHUT_RD)  # it stays bound
        self.others = ()


Descriptor = Stream | Socket
