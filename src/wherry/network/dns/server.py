"""The sockets of a container's name server."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress

from wherry.network.dns.answers import Answers, Deny, Forward, Respond
from wherry.network.dns.question import MAX_QUERY, Question
from wherry.network.errors import NetworkError

ADDRESS = "127.0.0.11"
PORT = 53

_MOST = 128
"""Queries of one container that may wait, for others' answers or for rules to be changed."""
_CONNECTIONS = 32
_IDLE = 10.0
"""Seconds that a connection may be open without a query."""
_BURST = 32
_BACKLOG = 16
_IP_FREEBIND = 15

Ask = Callable[[Question], Awaitable[bytes | None]]
Allow = Callable[[Question, tuple[str, ...]], Awaitable[None]]
Denied = Callable[[str], None]


Pair = tuple[socket.socket, socket.socket]
"""The sockets for UDP and TCP."""


def sockets(address: str, port: int) -> Pair:
    """Those of a name server, of the network that the calling thread is in. Raises OSError.

    With port 0 each has a free one.
    """
    with ExitStack() as made:
        pair = []
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            each = made.enter_context(socket.socket(socket.AF_INET, kind))
            each.setblocking(False)
            # Ended connections are in nobody's way. With UDP, the container could have it as well.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
            each.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
            each.bind((address, port))
            pair.append(each)
        pair[1].listen(_BACKLOG)
        made.pop_all()
    return pair[0], pair[1]


class NameServer:
    """Serves one container until it is closed."""

    def __init__(
        self,
        answers: Answers,
        pair: Pair,
        ask: Ask,
        allow: Allow,
        denied: Denied,
    ) -> None:
        self.answers = answers
        self._datagrams, self._listener = pair
        self._ask, self._allow, self._denied = ask, allow, denied
        self._waiting: set[asyncio.Task[None]] = set()
        self._connections: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._datagrams, self._receive)
        loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Answer nothing more."""
        loop = asyncio.get_running_loop()
        for each in (self._datagrams, self._listener):
            loop.remove_reader(each)
            each.close()
        for task in (*self._waiting, *self._connections):
            task.cancel()

    def _receive(self) -> None:
        for _ in range(_BURST):
            try:
                wire, client = self._datagrams.recvfrom(MAX_QUERY + 1)
            except OSError:
                # There is none; or the kernel tells that an answer found nobody.
                return
            decision = self.answers.decide(wire)
            full = len(self._waiting) >= _MOST
            if full and isinstance(decision, Forward):
                decision = self.answers.check(decision.question, None)
            if isinstance(decision, Respond) and not decision.learned:
                self._send(decision, client)
            elif decision is not None and not full:  # who is not answered asks again
                task = asyncio.create_task(self._carry_out(decision, client))
                self._waiting.add(task)
                task.add_done_callback(self._waiting.discard)

    async def _carry_out(self, decision: Respond | Forward | Deny, client: tuple[str, int]) -> None:
        self._send(await self._settle(decision), client)

    async def _settle(self, decision: Respond | Forward | Deny) -> Respond:
        """The response, with all done that must be so before it is sent."""
        if isinstance(decision, Deny):
            self._denied(decision.question.name)
            return Respond(decision.question, decision.wire)
        if isinstance(decision, Forward):
            said = await self._ask(decision.question)
            decision = self.answers.check(decision.question, said)
        if decision.question is not None and decision.learned:
            try:
                await self._allow(decision.question, decision.learned)
            except NetworkError:  # too many addresses: as often as the guest likes, so unsaid
                return self.answers.check(decision.question, None)
        return decision

    def _send(self, response: Respond, client: tuple[str, int]) -> None:
        wire = response.wire
        if response.question is not None:
            wire = response.question.truncate(wire)
        with suppress(OSError):
            self._datagrams.sendto(wire, client)

    def _accept(self) -> None:
        with suppress(OSError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            if len(self._connections) >= _CONNECTIONS:
                connection.close()
                return
            task = asyncio.create_task(self._converse(connection))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _converse(self, connection: socket.socket) -> None:
        """Answer the queries of a connection, one after another."""
        loop = asyncio.get_running_loop()
        with connection, suppress(OSError, TimeoutError):
            while True:
                async with asyncio.timeout(_IDLE):
                    wire = await self._next(connection)
                if wire is None or (decision := self.answers.decide(wire)) is None:
                    return
                response = (await self._settle(decision)).wire
                async with asyncio.timeout(_IDLE):
                    await loop.sock_sendall(connection, struct.pack("!H", len(response)) + response)

    async def _next(self, connection: socket.socket) -> bytes | None:
        header = await _read(connection, 2)
        length = int.from_bytes(header)
        if len(header) < 2 or not 0 < length <= MAX_QUERY:
            return None
        return await _read(connection, length)


async def _read(connection: socket.socket, length: int) -> bytes:
    """So many bytes, or fewer at the end. Raises OSError."""
    loop = asyncio.get_running_loop()
    received = b""
    while len(received) < length:
        chunk = await loop.sock_recv(connection, length - len(received))
        if not chunk:
            break
        received += chunk
    return received
