"""Where shims send their events: the receiving side of containerd's events service."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple, Self

from wherry.shim.messages import EVENTS_SERVICE, TOPICS, ForwardRequest, TaskEvent
from wherry.shim.protobuf import Empty, InvalidMessage
from wherry.shim.ttrpc.server import Server

_QUEUE = 65536


class Event(NamedTuple):
    """An event of a shim: `time` in nanoseconds since the epoch, `namespace` as it says."""

    topic: str
    event: TaskEvent
    namespace: str
    time: int


class EventsServer:
    """Listens at a unix socket and yields what shims tell.

    async with EventsServer(path) as events:
        async for topic, event, namespace, time in events: …
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: asyncio.Queue[Event] = asyncio.Queue(_QUEUE)
        self._server = Server({EVENTS_SERVICE: {"Forward": self._forward}}, _to_stderr)

    @property
    def path(self) -> Path:
        """Where it listens."""
        return self._path

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def open(self) -> None:
        """Listen, in the place of whoever listened there before. Raises OSError."""
        # Bound beside its place and renamed into it: no shim ever meets a missing socket.
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        beside.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sock.bind(str(beside))
            beside.chmod(0o600)
            await self._server.listen(sock)
            beside.rename(self._path)
        except BaseException:
            sock.close()
            beside.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Stop listening. Shims keep what they could not send, for a while."""
        self._server.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        return await self._queue.get()

    async def _forward(self, payload: bytes) -> Empty:
        envelope = ForwardRequest.decode(payload).envelope
        if envelope is None or envelope.event is None:
            raise InvalidMessage("an envelope without an event")
        kind = TOPICS.get(envelope.topic)
        if kind is not None:
            event = kind.decode(envelope.event.value)
            at = envelope.timestamp
            await self._queue.put(Event(envelope.topic, event, envelope.namespace, at))
        return Empty()


def _to_stderr(line: str) -> None:
    print(f"events: {line}", file=sys.stderr)
