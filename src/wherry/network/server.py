"""The network helper: its process, its lock, its clients.

`main` is run by `wherry.network.starting`, with the listening socket and the lock as descriptors.
It stays as long as it serves a container or anybody is connected.
"""

import asyncio
import ctypes
import fcntl
import logging
import os
import resource
import signal
import socket
import struct
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path

import msgspec

from wherry import __version__
from wherry.network.errors import NetworkError, PortInUse
from wherry.network.messages import (
    Asking,
    Attach,
    Denied,
    Done,
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
from wherry.network.service import Service
from wherry.network.starting import LISTENER, LOCK, Place

_log = logging.getLogger(__name__)

_PATIENCE = 10.0
"""Seconds within which its first client must have come."""
_UNTOLD = 1000
"""Lines for containers' logs that are kept while nobody is connected."""
_REQUESTS = 64
"""Of one client, at a time."""
_MOST_UNSENT = 8 << 20
"""Bytes that a client may leave unread before it is let go."""

_NS_GET_USERNS = 0xB701
_PR_SET_NAME = 15
_PEER = struct.Struct("3i")
_decoder = msgspec.json.Decoder(Asking)
_version_decoder = msgspec.json.Decoder(str)


def main(arguments: list[str]) -> None:
    """Serve the run folder that is named."""
    (run,) = arguments
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    for descriptor in (LISTENER, LOCK):
        os.set_inheritable(descriptor, False)
    os.chdir("/")
    os.umask(0o077)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, b"wherry-network", 0, 0, 0)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(Server(Place(Path(run))).run())
    # Not by way of the interpreter's end: who waits for the lock waits no longer.
    sys.stderr.flush()
    os._exit(0)


class Server:
    """The helper's process."""

    def __init__(self, place: Place, patience: float = _PATIENCE) -> None:
        self._place, self._patience = place, patience
        self._peers: set[_Peer] = set()
        self._untold: deque[Denied] = deque(maxlen=_UNTOLD)
        self._met = False
        self._end = asyncio.Event()

    async def run(self) -> None:
        """Serve until there is nothing to serve, or told to end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end.set)
        self._service = Service(
            self._place, rootless=_is_rootless(), tell=self._tell, idle=self._consider
        )
        listener = socket.socket(fileno=LISTENER)
        server = await asyncio.start_unix_server(self._welcome, sock=listener)
        loop.call_later(self._patience, self._give_up)
        await self._end.wait()
        # From here on nobody gets in; who has got in is let go, and comes again.
        self._place.socket.unlink(missing_ok=True)
        server.close()
        for peer in list(self._peers):
            peer.close()
        await self._service.close()
        with suppress(OSError):
            fcntl.flock(LOCK, fcntl.LOCK_UN)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        _, user, _ = _PEER.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        )
        if user != os.geteuid():
            writer.close()
            return
        peer = _Peer(self._service, reader, writer)
        self._peers.add(peer)
        self._met = True
        if not await self._is_of_this_version(reader):
            self._peers.discard(peer)
            peer.close()
            self._consider()
            return
        while self._untold:
            peer.tell(self._untold.popleft())
        try:
            await peer.serve()
        except FrameError as error:
            _log.warning("a client is let go: %s", error)
        finally:
            self._peers.discard(peer)
            peer.close()
            await peer.forget()
            self._consider()

    async def _is_of_this_version(self, reader: asyncio.StreamReader) -> bool:
        """Whether a client is to be served; for one of another version this helper makes room."""
        try:
            version = await receive(reader, _version_decoder)
        except (FrameError, OSError) as error:
            _log.warning("a client is let go: %s", error)
            return False
        if version not in (None, __version__):
            # What is served is attached anew by the helper that comes after this one.
            self._end.set()
        return version == __version__

    def _tell(self, id: str, line: str) -> None:
        """A line for a container's log goes to whoever is connected, or waits for who comes."""
        denied = Denied(id, line)
        if not self._peers:
            self._untold.append(denied)
        for peer in self._peers:
            peer.tell(denied)

    def _consider(self) -> None:
        """Leave if there is nothing to serve."""
        if self._met and not self._peers and not self._service.busy:
            self._end.set()

    def _give_up(self) -> None:
        """Who started this helper has not come."""
        self._met = True
        self._consider()


class _Peer:
    """One client. What it reserved and did not attach goes with it."""

    def __init__(
        self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._service, self._reader, self._writer = service, reader, writer
        self._reserved: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(_REQUESTS)

    async def serve(self) -> None:
        """Answer until it goes. Raises FrameError."""
        with suppress(OSError):
            while (asking := await receive(self._reader, _decoder)) is not None:
                await self._room.acquire()
                task = asyncio.create_task(self._answer(asking))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def tell(self, denied: Denied) -> None:
        """Tell something that it did not ask for."""
        self._send(Telling(0, denied))

    def close(self) -> None:
        """Let go of it. What it has asked for is done nevertheless."""
        self._writer.close()

    async def forget(self) -> None:
        """Undo what it had begun and nobody will finish."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        for id in self._reserved:
            await self._service.release_unattached(id)

    async def _answer(self, asking: Asking) -> None:
        try:
            reply = await self._do(asking.request)
        except PortInUse as error:
            reply = InUse(error.publication, error.holder)
        except NetworkError as error:
            reply = Failed(str(error))
        except Exception as error:
            _log.exception("a request failed")
            reply = Failed(f"the network helper failed: {type(error).__name__}: {error}")
        finally:
            self._room.release()
        self._send(Telling(asking.number, reply))

    async def _do(self, request: Request) -> Reply:
        match request:
            case Reserve(id, publications):
                self._reserved.add(id)
                return Reserved(await self._service.reserve(id, publications))
            case Attach(sandbox):
                await self._service.attach(sandbox)
                self._reserved.discard(sandbox.id)
            case Release(id):
                await self._service.release(id)
                self._reserved.discard(id)
            case RemoveNetwork(id):
                await self._service.remove_network(id)
            case List():
                return Listed(self._service.attached)
        return Done()

    def _send(self, telling: Telling) -> None:
        if not self._writer.is_closing():
            if self._writer.transport.get_write_buffer_size() > _MOST_UNSENT:
                self._writer.transport.abort()
                return
            self._writer.write(encode(telling))


def _is_rootless() -> bool:
    """Whether the network that this process is in belongs to another user namespace than its own.

    Then it may not be changed (network_namespaces(7), NS_GET_USERNS of ioctl_ns(2)).
    """
    try:
        with open("/proc/self/ns/net") as network, open("/proc/self/ns/user") as own:
            owner = fcntl.ioctl(network, _NS_GET_USERNS)
            try:
                return not os.path.samestat(os.fstat(owner), os.fstat(own.fileno()))
            finally:
                os.close(owner)
    except OSError:
        return True
