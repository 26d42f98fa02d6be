"""A client at the streams of a process, on a connection that was taken over from HTTP."""

import asyncio
from collections.abc import AsyncIterator
from enum import Enum
from typing import Protocol

from wherry.api.detach import DetachKeys
from wherry.api.frames import frame
from wherry.api.hijack import Hijacked
from wherry.engine.containers import Output

_PATIENCE = 1.0
"""Seconds for the last input of a client that has gone."""


class Streams(Protocol):
    """What the engine hands over: what the process writes, and the way to its stdin."""

    def __aiter__(self) -> AsyncIterator[Output]: ...

    async def write(self, data: bytes) -> None:
        """To its stdin."""

    async def close_stdin(self) -> None:
        """The client's input has ended."""


class Ending(Enum):
    """How a conversation came to its end."""

    OUTPUT_ENDED = "there is no more output"
    DETACHED = "the detach keys were typed"
    LOST = "the client has gone"


async def converse(
    connection: Hijacked, streams: Streams, *, framed: bool, keys: DetachKeys | None
) -> Ending:
    """Pass on what is written and typed until one of the endings; the connection stays open.

    With `framed` stdout and stderr are told apart; without, the client has a terminal, or what it
    takes for one. Input that ends is not the end.
    """
    sending = asyncio.create_task(_send(streams, connection, framed=framed))
    receiving = asyncio.create_task(_receive(connection, streams, keys))
    losing = asyncio.create_task(connection.lost.wait())
    tasks = (sending, receiving, losing)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done() and receiving.done() and not receiving.result():
            await asyncio.wait((sending, losing), return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            try:
                sending.result()
            except ConnectionError:
                return Ending.LOST
            return Ending.OUTPUT_ENDED
        if losing.done():
            # What it sent before it went still counts, if somebody takes it.
            await asyncio.wait((receiving,), timeout=_PATIENCE)
        if receiving.done() and receiving.result():
            return Ending.DETACHED
        return Ending.LOST
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _send(streams: Streams, connection: Hijacked, *, framed: bool) -> None:
    async for stream, _, data in streams:
        await connection.write(frame(stream, data) if framed else data)


async def _receive(connection: Hijacked, streams: Streams, keys: DetachKeys | None) -> bool:
    """Pass on what the client types; True when it asked to be detached."""
    while data := await connection.read():
        if keys:
            data = keys.feed(data)
        if data:
            await streams.write(data)
        if keys and keys.pressed:
            return True
    await streams.close_stdin()
    return False
