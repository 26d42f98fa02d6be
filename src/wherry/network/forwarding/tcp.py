"""TCP connections to published ports, carried to containers.

One epoll for all of them, itself watched by the event loop, so that a burst of events costs one
callback. It is edge-triggered: a socket is registered once, and what it is ready for is remembered.
Bytes go through one buffer that all connections share; only what the other side does not take at
once is kept, and then nothing more is read until it has gone. So a connection at rest costs no
memory but its sockets, and one that is slow no more than a buffer. When much is kept for all of
them together, who is slow has a small one.
"""

import asyncio
import errno
import select
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from wherry.network.forwarding.sockets import Sockets

BUFFER = 256 << 10
"""Bytes; also how much one connection may keep for each direction."""

_MUCH = 64 << 20
"""Bytes that are kept for all connections; from then on little is read at a time."""
_LITTLE = 8 << 10

_BACKLOG = 4096
_RETRY = 1.0
"""Seconds until something is accepted again when the host has no more sockets to give."""
_ACCEPTS = 64
"""Connections accepted at once, before others are served."""
_EVENTS = 512
_ROUNDS = 8
"""Buffers that one connection may move at once, before others are served."""

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_GONE = select.EPOLLHUP | select.EPOLLERR
_ENDING = select.EPOLLRDHUP | select.EPOLLHUP
_INTEREST = _IN | _OUT | select.EPOLLRDHUP | select.EPOLLET
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))
_RESET = struct.pack("ii", 1, 0)
_SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Target = Callable[[], tuple[str, int] | None]
"""Where connections go, asked for each."""


class _End:
    """One socket of a connection that is carried."""

    __slots__ = (
        "carried",
        "ending",
        "fd",
        "finished",
        "other",
        "pending",
        "readable",
        "sock",
        "writable",
    )

    other: "_End"

    def __init__(self, sock: socket.socket, carried: "_Carried") -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.carried = carried
        self.readable = self.writable = False
        self.ending = False
        """Its peer has sent the end, which may not have been read yet."""
        self.finished = False
        """It has sent all that it will; told to the other one."""
        self.pending: memoryview | None = None
        """Read from it and not yet taken by the other one: what is left of a buffer of its own."""


class _Carried:
    """A connection and what it is carried to."""

    __slots__ = ("client", "connecting", "container", "listening")

    def __init__(
        self, client: socket.socket, container: socket.socket, listening: "_Listening"
    ) -> None:
        self.client, self.container = _End(client, self), _End(container, self)
        self.client.other, self.container.other = self.container, self.client
        self.connecting = True
        self.listening = listening


class _Listening:
    """A listening socket and where its connections go."""

    __slots__ = ("carried", "listener", "paused", "target")

    def __init__(self, listener: socket.socket, target: Target) -> None:
        self.listener, self.target = listener, target
        self.carried: set[_Carried] = set()
        self.paused = False


class TcpForwarder:
    """Carries the connections of all listening sockets that it is given.

    `most` is how many there may be at a time; others wait in their queues.
    """

    def __init__(self, sockets: Sockets, most: int) -> None:
        self._sockets = sockets
        self._most = most
        self._count = 0
        self._epoll = select.epoll()
        self._listening: dict[int, _Listening] = {}
        self._ends: dict[int, _End] = {}
        self._buffer = memoryview(bytearray(BUFFER))
        self._kept = 0
        self._again: deque[_End] = deque()
        self._paused: set[_Listening] = set()
        self._ended: list[socket.socket] = []
        """Closed after all events of a turn: before, their numbers could become others'."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll, self._run)

    def serve(self, listener: socket.socket, target: Target) -> None:
        """Listen on a socket that is bound, from now on. Raises OSError."""
        # What connections have of their listener: so none has to be told. The container's side is
        # watched by its process, and needs nothing to find that it has gone.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
        listener.listen(_BACKLOG)
        listening = _Listening(listener, target)
        self._listening[listener.fileno()] = listening
        self._epoll.register(listener, _IN)

    def stop(self, listener: socket.socket) -> None:
        """Carry nothing more for a listening socket, and end what is carried; it stays open."""
        listening = self._listening.pop(listener.fileno(), None)
        if listening is None:
            return
        if not listening.paused:
            self._epoll.unregister(listener)
        self._paused.discard(listening)
        for carried in list(listening.carried):
            self._close(carried, reset=True)
        self._bury()

    def close(self) -> None:
        """End everything."""
        for listening in list(self._listening.values()):
            self.stop(listening.listener)
        self._loop.remove_reader(self._epoll)
        self._epoll.close()

    # Events

    def _run(self) -> None:
        for fd, events in self._epoll.poll(0, _EVENTS):
            end = self._ends.get(fd)
            if end is None:
                listening = self._listening.get(fd)
                if listening is not None:
                    self._accept(listening)
                continue
            if events & _GONE and (end.carried.connecting or events & select.EPOLLERR):
                self._close(end.carried, reset=True)
                continue
            if events & ~_OUT:
                end.readable = True
                if events & _ENDING:
                    end.ending = True
            if events & _OUT:
                end.writable = True
                if end.carried.connecting and end is end.carried.container:
                    end.carried.connecting = False
            self._serve(end)
        for _ in range(len(self._again)):
            end = self._again.popleft()
            if self._ends.get(end.fd) is end:
                self._serve(end)
        if self._again:
            self._loop.call_soon(self._run)
        self._bury()

    def _bury(self) -> None:
        for sock in self._ended:
            sock.close()
        self._ended.clear()

    def _serve(self, end: _End) -> None:
        """Do all that can be done now that `end` is ready for something."""
        if end.carried.connecting:
            return
        try:
            if end.readable or end.pending is not None:
                self._move(end)
            other = end.other
            if end.writable and (other.readable or other.pending is not None):
                self._move(other)
        except OSError:
            self._close(end.carried, reset=True)
            return
        if end.finished and end.other.finished:
            self._close(end.carried)

    def _move(self, source: _End) -> None:
        """Move bytes from `source` to the other one, until one of them is not ready."""
        sink = source.other
        if source.finished:
            source.readable = False
            return
        for _ in range(_ROUNDS):
            if source.pending is not None:
                rest = self._send(sink, source.pending)
                if rest is not None:
                    source.pending = rest
                    return
                self._drop(source)
            if not source.readable or not sink.writable:
                return
            buffer = self._buffer if self._kept < _MUCH else self._buffer[:_LITTLE]
            try:
                count = source.sock.recv_into(buffer)
            except BlockingIOError:
                source.readable = False
                return
            if not count:
                source.finished, source.readable = True, False
                with suppress(OSError):
                    sink.sock.shutdown(socket.SHUT_WR)
                return
            if count < len(buffer) and not source.ending:
                source.readable = False  # that was all: for more there will be another event
            rest = self._send(sink, buffer[:count])
            if rest is not None:
                source.pending = memoryview(bytes(rest))
                self._kept += source.pending.nbytes
                return
        self._again.append(source)

    def _drop(self, source: _End) -> None:
        """Keep nothing for `source` any more."""
        if source.pending is not None:
            self._kept -= memoryview(source.pending.obj).nbytes
            source.pending = None

    def _send(self, sink: _End, data: memoryview) -> memoryview | None:
        """What `sink` does not take now, if anything."""
        if not sink.writable:
            return data
        while True:
            try:
                sent = sink.sock.send(data)
            except BlockingIOError:
                sink.writable = False
                return data
            if sent == len(data):
                return None
            data = data[sent:]

    # Beginning and end

    def _accept(self, listening: _Listening) -> None:
        for _ in range(_ACCEPTS):
            if self._count >= self._most:
                self._pause(listening)
                return
            target = listening.target()
            family = socket.AF_INET6 if target and ":" in target[0] else socket.AF_INET
            client = container = None
            try:
                container = self._sockets.take(family)
                if container is None:
                    self._pause(listening)
                    self._sockets.wait(self._resume)
                    return
                client, _ = listening.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _SCARCE:
                    self._pause(listening)
                    # Others may have what is scarce, and no connection of ours that could end.
                    self._loop.call_later(_RETRY, self._resume)
                    return
                continue  # that connection has gone again
            finally:
                if client is None and container is not None:
                    container.close()
            assert container is not None
            if target is None:
                container.close()
                _reset(client)
            else:
                self._carry(client, container, target, listening)

    def _carry(
        self,
        client: socket.socket,
        container: socket.socket,
        target: tuple[str, int],
        listening: _Listening,
    ) -> None:
        client.setblocking(False)
        container.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = container.connect_ex(target)
        if code not in (0, errno.EINPROGRESS):
            container.close()
            _reset(client)
            return
        carried = _Carried(client, container, listening)
        listening.carried.add(carried)
        self._count += 1
        for end in (carried.client, carried.container):
            self._ends[end.fd] = end
            self._epoll.register(end.fd, _INTEREST)

    def _close(self, carried: _Carried, *, reset: bool = False) -> None:
        """End both connections; `reset` tells both sides that it is no orderly end."""
        for end in (carried.client, carried.container):
            self._ends.pop(end.fd, None)
            self._drop(end)
            if reset:
                _reset_on_close(end.sock)
            self._ended.append(end.sock)
        carried.listening.carried.discard(carried)
        self._count -= 1
        self._resume()

    def _pause(self, listening: _Listening) -> None:
        if not listening.paused:
            listening.paused = True
            self._epoll.unregister(listening.listener)
            self._paused.add(listening)

    def _resume(self) -> None:
        """Accept again, where that was paused."""
        while self._paused:
            listening = self._paused.pop()
            listening.paused = False
            self._epoll.register(listening.listener, _IN)


def _reset(sock: socket.socket) -> None:
    _reset_on_close(sock)
    sock.close()


def _reset_on_close(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
