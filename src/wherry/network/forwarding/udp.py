"""Datagrams to published ports, carried to containers, and the answers back.

Each client has a socket of its own towards the container, so that answers are told apart. The
address that a client sent to is the one that it is answered from, whichever of the host's it was.
"""

import asyncio
import socket
import struct
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from wherry.network.forwarding.sockets import Sockets
from wherry.network.forwarding.tcp import Target

IDLE = 90.0
"""Seconds without a datagram after which a client is forgotten."""
_CLIENTS = 1024
"""Of one port; who was silent for longest makes room."""
_WAITING = 16
"""Datagrams of a client that may wait for its socket."""
_BURST = 64
_MAX_DATAGRAM = 65535
_IP_PKTINFO = 8
_IPV6_RECVPKTINFO, _IPV6_PKTINFO = 49, 50
_ANCILLARY = socket.CMSG_SPACE(32)

_Key = tuple[Any, bytes]
"""A client's address, and the host's one that it sent to (as ancillary data, to answer from)."""


@dataclass(eq=False)
class _Client:
    key: _Key
    heard: float
    socket: "socket.socket | None" = None
    waiting: list[bytes] = field(default_factory=list)
    opening: "asyncio.Task[None] | None" = None


@dataclass
class Room:
    """How many clients all ports together may have: each has a descriptor."""

    most: int
    taken: int = 0


class UdpForwarder:
    """Carries the datagrams of one bound socket, until it is closed; the socket stays open."""

    def __init__(
        self,
        port: socket.socket,
        target: Target,
        sockets: Sockets,
        room: Room,
        idle: float = IDLE,
    ) -> None:
        self._port, self._target, self._sockets, self._idle = port, target, sockets, idle
        self._room = room
        self._clients: OrderedDict[_Key, _Client] = OrderedDict()
        self._loop = asyncio.get_running_loop()
        self._forgetting: asyncio.TimerHandle | None = None
        self._ipv6 = port.family == socket.AF_INET6
        if self._ipv6:
            port.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        else:
            port.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        self._loop.add_reader(port, self._receive)

    def close(self) -> None:
        """Carry nothing more."""
        self._loop.remove_reader(self._port)
        if self._forgetting is not None:
            self._forgetting.cancel()
        while self._clients:
            self._forget(next(iter(self._clients.values())))

    @property
    def _is_full(self) -> bool:
        return len(self._clients) >= _CLIENTS

    def _receive(self) -> None:
        for _ in range(_BURST):
            try:
                data, ancillary, _, address = self._port.recvmsg(_MAX_DATAGRAM, _ANCILLARY)
            except OSError:
                # There is none; or an answer of before could not be delivered.
                return
            self._carry((address, self._sent_to(ancillary)), data)

    def _carry(self, key: _Key, data: bytes) -> None:
        client = self._clients.get(key)
        if client is None:
            if self._clients and (self._room.taken >= self._room.most or self._is_full):
                self._forget(next(iter(self._clients.values())))
            if self._room.taken >= self._room.most:
                return
            client = self._clients[key] = _Client(key, 0.0)
            self._room.taken += 1
            client.opening = asyncio.create_task(self._open(client))
        self._clients.move_to_end(key)
        client.heard = self._loop.time()
        if self._forgetting is None:
            self._forgetting = self._loop.call_later(self._idle, self._forget_silent)
        if client.socket is None:
            if len(client.waiting) < _WAITING:
                client.waiting.append(data)
        else:
            with suppress(OSError):
                client.socket.send(data)

    async def _open(self, client: _Client) -> None:
        target = self._target()
        if target is None:
            client.opening = None
            self._forget(client)
            return
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        try:
            made = await self._sockets.datagrams(family)
        except OSError:
            client.opening = None
            self._forget(client)
            return
        if self._clients.get(client.key) is not client:
            made.close()
            return
        client.socket = made
        with suppress(OSError):
            made.connect(target)
            for data in client.waiting:
                made.send(data)
        client.waiting.clear()
        self._loop.add_reader(made, self._answer, client)

    def _answer(self, client: _Client) -> None:
        assert client.socket is not None
        address, origin = client.key
        if self._ipv6:
            ancillary = [(socket.IPPROTO_IPV6, _IPV6_PKTINFO, origin)]
        else:
            ancillary = [(socket.IPPROTO_IP, _IP_PKTINFO, origin)]
        for _ in range(_BURST):
            try:
                data = client.socket.recv(_MAX_DATAGRAM)
            except OSError:
                # There is none; or nobody listens in the container.
                return
            client.heard = self._loop.time()
            self._clients.move_to_end(client.key)
            with suppress(OSError):
                self._port.sendmsg([data], ancillary, 0, address)

    def _sent_to(self, ancillary: list[tuple[int, int, bytes]]) -> bytes:
        """What makes an answer come from the address that the datagram was sent to."""
        for level, kind, value in ancillary:
            if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO) and len(value) >= 12:
                return struct.pack("I4s4s", 0, value[4:8], bytes(4))
            if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO) and len(value) >= 20:
                return value[:20]
        return bytes(20 if self._ipv6 else 12)

    def _forget_silent(self) -> None:
        self._forgetting = None
        now = self._loop.time()
        while self._clients:
            longest = next(iter(self._clients.values()))
            left = longest.heard + self._idle - now
            if left > 0:
                self._forgetting = self._loop.call_later(left, self._forget_silent)
                return
            self._forget(longest)

    def _forget(self, client: _Client) -> None:
        if self._clients.pop(client.key, None) is not None:
            self._room.taken -= 1
        if client.opening is not None and client.socket is None:
            client.opening.cancel()
        if client.socket is not None:
            self._loop.remove_reader(client.socket)
            client.socket.close()
            client.socket = None
