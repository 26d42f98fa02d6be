"""Where containers fetch the listening sockets of their published ports.

A container's process asks while it is being created, before its guest runs; what it has fetched it
serves itself, with nothing between. It says its id over a SOCK_SEQPACKET socket and is answered by
packets of JSON, `[{"port": 8080, "address": "0.0.0.0", "host_port": 8080}, …]`, each with as many
descriptors; an empty packet is the end.

The socket is in the run folder, which no container sees, and only the engine's own user is
answered. An id is answered once, and not any more when its container is attached. Who asked is
known by its pid: `wherry.network.service` compares it with the container's.
"""

import asyncio
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path

import msgspec

from wherry.network.model import Publication
from wherry.network.ports import Ports, Reservation
from wherry.network.starting import bind
from wherry.pids import process_start

_PATIENCE = 5.0
"""Seconds to say an id."""
_MAX_ID = 128
_IN_ONE_PACKET = 64
_BACKLOG = 128
_PEER = struct.Struct("3i")


class _Listener(msgspec.Struct):
    port: int
    address: str
    host_port: int


class Handover:
    """The socket, and who has fetched. `folder` remembers that for another helper."""

    def __init__(self, path: Path, folder: Path, ports: Ports) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder, self._ports = folder, ports
        self._path = path
        self._fetched: dict[str, int] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._sweep()
        self._listener = bind(path, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        self._listener.listen(_BACKLOG)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Answer nobody any more."""
        asyncio.get_running_loop().remove_reader(self._listener)
        self._path.unlink(missing_ok=True)
        self._listener.close()
        for task in self._serving:
            task.cancel()

    def fetched_by(self, id: str) -> int | None:
        """The pid of the process that has fetched the sockets of `id`, now or for an earlier
        helper; None if nobody has.
        """
        if id in self._fetched:
            return self._fetched[id]
        pid, start = self._remembered(id)
        return pid if start and process_start(pid) == start else None

    def forget(self, id: str) -> None:
        """The container has ended, or its ports are bound anew."""
        self._fetched.pop(id, None)
        with suppress(OSError, ValueError):
            (self._folder / id).unlink()

    def _accept(self) -> None:
        with suppress(OSError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            task = asyncio.create_task(self._serve(connection))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, TimeoutError, UnicodeDecodeError):
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
            pid, user, _ = _PEER.unpack(peer)
            if user != os.geteuid():
                return
            async with asyncio.timeout(_PATIENCE):
                said = await asyncio.get_running_loop().sock_recv(connection, _MAX_ID + 1)
            id = said.decode()
            reservation = self._ports.get(id)
            if reservation is not None and not reservation.taken and self.fetched_by(id) is None:
                await self._give(connection, id, pid, reservation)
            connection.send(b"")

    async def _give(
        self, connection: socket.socket, id: str, pid: int, reservation: Reservation
    ) -> None:
        given = [bound for bound in reservation.sockets if bound.protocol == "tcp"]
        if not given:
            return
        for bound in given:
            reservation.sockets[bound].setblocking(True)  # as a socket is at first
        # First remembered: what was given must not be bound again.
        self._remember(id, pid)
        self._fetched[id] = pid
        for at in range(0, len(given), _IN_ONE_PACKET):
            some = given[at : at + _IN_ONE_PACKET]
            packet = msgspec.json.encode([_describe(bound) for bound in some])
            descriptors = [reservation.sockets[bound].fileno() for bound in some]
            await _send(connection, packet, descriptors)
        for bound in given:
            reservation.sockets.pop(bound).close()

    def _remember(self, id: str, pid: int) -> None:
        fresh = self._folder / f".{id}"
        fresh.write_text(f"{pid} {process_start(pid)}")
        fresh.rename(self._folder / id)

    def _remembered(self, id: str) -> tuple[int, str]:
        try:
            pid, start = (self._folder / id).read_text().split()
            return int(pid), start
        except (OSError, ValueError):
            return 0, ""

    def _sweep(self) -> None:
        """Forget who has ended while nobody looked."""
        for file in self._folder.iterdir():
            pid, start = self._remembered(file.name)
            if not start or process_start(pid) != start:
                file.unlink(missing_ok=True)


def _describe(bound: Publication) -> _Listener:
    return _Listener(bound.container_port, bound.host_ip, bound.host_port)


async def _send(connection: socket.socket, packet: bytes, descriptors: list[int]) -> None:
    """Raises OSError, TimeoutError."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            socket.send_fds(connection, [packet], descriptors)
            return
        except BlockingIOError:
            writable = loop.create_future()
            loop.add_writer(connection, _wake, writable)
            try:
                async with asyncio.timeout(_PATIENCE):
                    await writable
            finally:
                loop.remove_writer(connection)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
