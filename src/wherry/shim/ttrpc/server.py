"""A ttrpc server on asyncio."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

from wherry.shim.protobuf import InvalidMessage, Message
from wherry.shim.ttrpc.connection import Call, ServerConnection
from wherry.shim.ttrpc.status import CallError, Code

Handler = Callable[[bytes], Awaitable[Message]]
"""Answers one method; raises CallError, or InvalidMessage for a payload it cannot read."""

Services = Mapping[str, Mapping[str, Handler]]
"""Handlers by service and method."""


class Server:
    """Serves `services` on a listening unix socket until closed.

    `report` gets a line about each defect met; `changed` is called when a connection comes or goes.
    """

    def __init__(
        self,
        services: Services,
        report: Callable[[str], None],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._services = services
        self._report = report
        self._changed = changed
        self._connections: set[_Connection] = set()
        self._listener: asyncio.Server | None = None

    async def listen(self, sock: socket.socket) -> None:
        """Accept connections at `sock`, which is bound already."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_unix_server(self._accept, sock=sock, backlog=1024)

    def close(self) -> None:
        """Stop listening and drop all connections, after what has been written is sent."""
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._connections):
            connection.close()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def _accept(self) -> "_Connection":
        connection = _Connection(self._services, self._report, self._gone)
        self._connections.add(connection)
        self._changed()
        return connection

    def _gone(self, connection: "_Connection") -> None:
        self._connections.discard(connection)
        self._changed()


class _Connection(asyncio.Protocol):
    def __init__(
        self,
        services: Services,
        report: Callable[[str], None],
        gone: "Callable[[_Connection], None]",
    ) -> None:
        self._services = services
        self._report = report
        self._gone = gone
        self._machine = ServerConnection()
        self._calls: set[asyncio.Task[None]] = set()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._gone(self)

    def data_received(self, data: bytes) -> None:
        for event in self._machine.receive(data):
            if isinstance(event, bytes):
                self._send(event)
            else:
                call = asyncio.get_running_loop().create_task(self._serve(event))
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def _serve(self, call: Call) -> None:
        methods = self._services.get(call.service)
        handler = None if methods is None else methods.get(call.method)
        try:
            if methods is None:
                raise CallError(Code.UNIMPLEMENTED, f"service {call.service} is not served")
            if handler is None:
                raise CallError(Code.UNIMPLEMENTED, f"{call.method} is not implemented")
            answer = await handler(call.payload)
            response = self._machine.answer(call.stream, answer.encode())
        except CallError as error:
            response = self._machine.fail(call.stream, error)
        except InvalidMessage as error:
            failure = CallError(Code.INVALID_ARGUMENT, f"{call.method}: {error}")
            response = self._machine.fail(call.stream, failure)
        except Exception as error:
            # A defect in one call must not take the tasks of all other callers with it.
            self._report(f"{call.method}: {type(error).__name__}: {error}")
            failure = CallError(Code.INTERNAL, f"{call.method}: {type(error).__name__}: {error}")
            response = self._machine.fail(call.stream, failure)
        self._send(response)

    def _send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
