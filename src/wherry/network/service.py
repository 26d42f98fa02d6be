"""All that the helper serves: what it is asked for by clients, and what containers' ends undo."""

import asyncio
import logging
import os
import resource
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from socket import socket

from wherry.network.container import Container, Tell
from wherry.network.denials import DeniedPacket
from wherry.network.dns.upstream import HostServers
from wherry.network.errors import NetworkError
from wherry.network.forwarding.sockets import DistantSockets, Sockets
from wherry.network.forwarding.tcp import TcpForwarder
from wherry.network.forwarding.udp import Room
from wherry.network.handover import Handover
from wherry.network.links import Links
from wherry.network.model import Publication, Sandbox
from wherry.network.names import Names
from wherry.network.ports import Ports
from wherry.network.starting import Place

_log = logging.getLogger(__name__)

_SPARE = 1024
"""Descriptors for all else than what is forwarded. A connection takes two, a client of UDP one;
they have half and a quarter of what is left, so that neither takes everything."""


@dataclass
class _Turn:
    """Who does something with one container, or waits to."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Service:
    """The containers of one engine. `tell` is called with lines for containers' logs."""

    def __init__(
        self, place: Place, *, rootless: bool, tell: Tell, idle: Callable[[], None]
    ) -> None:
        self._names = Names()
        self._ports = Ports()
        self._handover = Handover(place.listeners, place.state, self._ports)
        self._links = Links(place.run, rootless=rootless, on_denied=self._denied)
        self._sockets = DistantSockets(self._make_at_bridges) if rootless else Sockets()
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        room = max(64, limit - _SPARE)
        self._tcp = TcpForwarder(self._sockets, room // 4)
        self._udp = Room(room // 4)
        self._servers = HostServers()
        self._containers: dict[str, Container] = {}
        self._turns: dict[str, _Turn] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._tell, self._idle = tell, idle
        self._warned = False

    @property
    def busy(self) -> bool:
        """Whether there is anything to serve."""
        return bool(self._containers or self._ports or self._turns)

    @property
    def attached(self) -> list[str]:
        """The ids of the containers that are attached."""
        return list(self._containers)

    async def reserve(self, id: str, asked: Sequence[Publication]) -> list[Publication]:
        """As `NetworkClient.reserve`. Raises NetworkError."""
        async with self._turn(id):
            await self._drop(id)
            return self._ports.reserve(id, asked).publications

    async def attach(self, sandbox: Sandbox) -> None:
        """As `NetworkClient.attach`. Raises NetworkError; then nothing is left of the container."""
        async with self._turn(sandbox.id):
            # If it has fetched its listening sockets it keeps them, and may be attached yet.
            try:
                await self._attach(sandbox)
            except (ValueError, OSError) as error:
                await self._let_go(sandbox.id)
                raise NetworkError(
                    f"container {sandbox.id[:12]} cannot be attached: {error}"
                ) from error
            except BaseException:
                await self._let_go(sandbox.id)
                raise

    async def release(self, id: str) -> None:
        """As `NetworkClient.release`."""
        async with self._turn(id):
            await self._drop(id)

    async def release_unattached(self, id: str) -> None:
        """Free ports that were reserved for a container, unless it has come to be attached."""
        async with self._turn(id):
            if id not in self._containers:
                await self._drop(id)

    async def remove_network(self, id: str) -> None:
        """As `NetworkClient.remove_network`. Raises NetworkError."""
        await self._links.remove_network(id)

    async def close(self) -> None:
        """Serve nothing more. Links stay as they are if any container is attached."""
        idle = not self._containers
        for container in self._containers.values():
            container.close()
        self._containers.clear()
        self._tcp.close()
        self._sockets.close()
        self._handover.close()
        await self._links.close(idle=idle)

    async def _attach(self, sandbox: Sandbox) -> None:
        container = self._containers.get(sandbox.id)
        if container is not None and container.sandbox.pid != sandbox.pid:
            await self._drop(sandbox.id)
            container = None
        if container is None:
            container = self._open(sandbox)
            self._containers[sandbox.id] = container
        reservation = self._ports.get(sandbox.id)
        fetched = self._handover.fetched_by(sandbox.id)
        if fetched is not None and fetched != sandbox.pid:
            raise NetworkError(
                f"the published ports of container {sandbox.id[:12]} were fetched by another "
                f"process ({fetched}): start it again"
            )
        if reservation is None:
            # Of an earlier helper, which was killed: what the container has got it still has.
            handed = fetched is not None
            reservation = self._ports.reserve(sandbox.id, sandbox.publications, handed=handed)
        reservation.taken = True
        await self._links.attach(sandbox)
        if self._links.warning and not self._warned:
            self._warned = True
            _log.warning("%s", self._links.warning)
        container.update(sandbox)
        self._names.put(sandbox)
        await container.resolve()
        await container.publish(reservation, self._tcp, self._sockets, self._udp)

    def _open(self, sandbox: Sandbox) -> Container:
        try:
            pidfd = os.pidfd_open(sandbox.pid)
        except OSError:
            raise NetworkError(f"container {sandbox.id[:12]} has ended") from None
        try:
            container = Container(
                sandbox, pidfd, self._names, self._links, self._servers, self._tell
            )
        except BaseException:
            os.close(pidfd)
            raise
        asyncio.get_running_loop().add_reader(pidfd, self._ended, sandbox.id, pidfd)
        return container

    def _ended(self, id: str, pidfd: int) -> None:
        """The process of a container has ended: at once nobody finds it by its name."""
        asyncio.get_running_loop().remove_reader(pidfd)
        self._names.remove(id)
        task = asyncio.create_task(self._bury(id, pidfd))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _bury(self, id: str, pidfd: int) -> None:
        async with self._turn(id):
            container = self._containers.get(id)
            if container is not None and container.pidfd == pidfd:
                await self._drop(id)

    async def _drop(self, id: str) -> None:
        """Free all that a container has."""
        self._handover.forget(id)
        await self._let_go(id)

    async def _let_go(self, id: str) -> None:
        """Free what this process has for a container."""
        self._names.remove(id)
        if (container := self._containers.pop(id, None)) is not None:
            container.close()
        self._ports.release(id)
        try:
            await self._links.detach(id)
        except NetworkError as error:
            # With the namespace its interfaces go anyway.
            _log.warning("container %s: %s", id[:12], error)

    @asynccontextmanager
    async def _turn(self, id: str) -> AsyncIterator[None]:
        """What concerns one container is done in order."""
        turn = self._turns.setdefault(id, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[id]
            if not self.busy:
                self._idle()

    def _denied(self, id: str, denied: DeniedPacket) -> None:
        if (container := self._containers.get(id)) is not None:
            container.denied_packet(denied.address, denied.port)

    async def _make_at_bridges(self, work: Callable[[], list[socket]]) -> list[socket]:
        return await self._links.within(None, work)
