"""The network helper, seen from the engine.

It is started when it is first needed and lives on without its client. Each method may be called
again after a failure, and in any order.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from wherry import __version__
from wherry.network.errors import NetworkError, PortInUse
from wherry.network.messages import (
    Asking,
    Attach,
    Denied,
    Failed,
    FrameError,
    InUse,
    List,
    Listed,
    Release,
    RemoveNetwork,
    Reply,
    Request,
    Reserve,
    Reserved,
    Telling,
    encode,
    receive,
)
from wherry.network.model import Publication, Sandbox
from wherry.network.starting import Place

_PATIENCE = 60.0
_decoder = msgspec.json.Decoder(Telling)


class _Lost(Exception):
    """The helper ended before it answered."""


class NetworkClient:
    """A connection to the helper of a run folder, made when it is needed.

    Everything raises NetworkError.
    """

    def __init__(self, run: Path) -> None:
        self._place = Place(run)
        self._turn = asyncio.Lock()
        self._connection: _Connection | None = None
        self.lost = asyncio.Event()
        """Set when the helper has ended while this was connected, until there is one again: what
        was attached is then to be attached anew."""
        self.patience = _PATIENCE
        """Seconds for an answer; the first container of an ordinary user waits for a way out."""
        self.on_denied: Callable[[str, str], None] | None = None
        """Called with the id of a container whose rules of egress denied something, and a line
        without its end for its log."""

    @property
    def listeners(self) -> Path:
        """The socket at which containers fetch their published ports."""
        return self._place.listeners

    async def reserve(self, id: str, publications: Sequence[Publication]) -> list[Publication]:
        """Bind ports of the host for a container that is to be started, all or none.

        Returns them with the addresses and ports they have got: one that names no address may
        become two, of IPv4 and of IPv6. They are freed by `release`, and if this client goes before
        `attach`. Raises PortInUse, NetworkError.
        """
        reply = await self._ask(Reserve(id, list(publications)))
        if isinstance(reply, InUse):
            raise PortInUse(reply.publication, reply.holder)
        assert isinstance(reply, Reserved)
        return reply.publications

    async def attach(self, sandbox: Sandbox) -> None:
        """Make a container's network what `sandbox` says, whatever it was before.

        Also serves its names and ports, from now on until its process ends. Raises PortInUse if
        ports that were not reserved before are to be had no more, NetworkError.
        """
        reply = await self._ask(Attach(sandbox))
        if isinstance(reply, InUse):
            raise PortInUse(reply.publication, reply.holder)

    async def release(self, id: str) -> None:
        """Free what a container has: one that failed to start, or has ended. It need not be known.

        When this has returned, its names do not resolve and its ports may be had by others.
        """
        if self._place.is_served():
            await self._ask(Release(id))

    async def remove_network(self, id: str) -> None:
        """Remove the bridge of a network in which no container is. It need not exist."""
        await self._ask(RemoveNetwork(id))

    async def attached(self) -> list[str]:
        """The ids of the containers that are attached. Starts no helper."""
        if not self._place.is_served():
            return []
        reply = await self._ask(List())
        assert isinstance(reply, Listed)
        return reply.ids

    def close(self) -> None:
        """Let go of the helper, which goes on if it serves a container."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _ask(self, request: Request) -> Reply:
        # Whatever was asked may be asked again; one helper may be about to leave.
        for _ in range(3):
            with suppress(_Lost):
                connection = await self._connect()
                try:
                    async with asyncio.timeout(self.patience):
                        reply = await connection.ask(request)
                except TimeoutError:
                    raise NetworkError(
                        f"the network helper does not answer: see {self._place.log}; if it hangs, "
                        "end the process wherry-network: another one takes over"
                    ) from None
                if isinstance(reply, Failed):
                    raise NetworkError(reply.message)
                return reply
        raise NetworkError(f"the network helper does not stay: see {self._place.log}")

    async def _connect(self) -> "_Connection":
        async with self._turn:
            if self._connection is None or self._connection.ended:
                try:
                    listening = await asyncio.to_thread(self._place.connect)
                    reader, writer = await asyncio.open_unix_connection(sock=listening)
                except OSError as error:
                    raise NetworkError(
                        f"the network helper cannot be started: {error.strerror or error}"
                        f" (see {self._place.log})"
                    ) from None
                writer.write(encode(__version__))
                self._connection = _Connection(reader, writer, self._denied, self._end)
                self.lost.clear()
            return self._connection

    def _denied(self, denied: Denied) -> None:
        if self.on_denied is not None:
            self.on_denied(denied.id, denied.line)

    def _end(self, connection: "_Connection") -> None:
        if connection is self._connection:
            self._connection = None
            self.lost.set()


class _Connection:
    """One connection, until it ends."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_denied: Callable[[Denied], None],
        on_end: Callable[["_Connection"], None],
    ) -> None:
        self._reader, self._writer = reader, writer
        self._on_denied, self._on_end = on_denied, on_end
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Reply]] = {}
        self.ended = False
        self._reading = asyncio.create_task(self._read())

    async def ask(self, request: Request) -> Reply:
        """The reply. Raises _Lost, NetworkError if the request is too long."""
        number = next(self._numbers)
        try:
            frame = encode(Asking(number, request))
        except FrameError as error:
            raise NetworkError(str(error)) from None
        if self.ended:
            raise _Lost
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self._writer.write(frame)
            return await answer
        finally:
            del self._asked[number]

    def close(self) -> None:
        """End it; nothing is told of that."""
        self._reading.cancel()
        self._stop()

    async def _read(self) -> None:
        with suppress(FrameError, OSError):
            while (frame := await receive(self._reader, _decoder)) is not None:
                if isinstance(frame.reply, Denied):
                    self._on_denied(frame.reply)
                elif (answer := self._asked.get(frame.number)) is not None and not answer.done():
                    answer.set_result(frame.reply)
        self._stop()
        self._on_end(self)

    def _stop(self) -> None:
        self.ended = True
        self._writer.close()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(_Lost())
