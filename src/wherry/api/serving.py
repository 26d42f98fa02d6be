"""The daemon's life once it has its socket: open the engine, serve, leave."""

import asyncio
import signal
import socket
import sys

from wherry.api.door import Door
from wherry.api.lock import DaemonLock
from wherry.api.places import Places
from wherry.api.server import Server
from wherry.engine import Engine, EngineError


def run(places: Places, listener: socket.socket, lock: DaemonLock, *, idle_timeout: float) -> int:
    """Serve on `listener` until idle for `idle_timeout` seconds (0: for ever) or told to end."""
    try:
        asyncio.run(_serve(places, listener, lock, idle_timeout))
    except EngineError as error:
        print(f"wherryd: {error.message}", file=sys.stderr)
        return 1
    return 0


async def _serve(
    places: Places, listener: socket.socket, lock: DaemonLock, idle_timeout: float
) -> None:
    loop = asyncio.get_running_loop()
    leave = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave.set)
    door = Door(listener, places.socket)
    opening = loop.create_task(Engine.open(places.root, places.run))
    idle = Idleness(idle_timeout)
    server = Server(opening, activity=idle.over)
    listening = await loop.create_unix_server(server.http, sock=listener)
    leaving = loop.create_task(leave.wait())
    try:
        engine = await opening
        while not leave.is_set():
            sleeping = loop.create_task(idle.come())
            await asyncio.wait((sleeping, leaving), return_when=asyncio.FIRST_COMPLETED)
            sleeping.cancel()
            if not leave.is_set() and not engine.busy and not server.connections and door.shut():
                leave.set()
    finally:
        leaving.cancel()
        lock.leaving()
        door.remove()
        listening.close()
        await server.close()
        if not opening.cancelled() and opening.exception() is None:
            await opening.result().close()


class Idleness:
    """Comes when nothing has happened for some time."""

    def __init__(self, seconds: float) -> None:
        """0 seconds: it never comes."""
        self._seconds = seconds
        self._since = asyncio.get_running_loop().time()

    def over(self) -> None:
        """Something has happened."""
        self._since = asyncio.get_running_loop().time()

    async def come(self) -> None:
        """Wait until nothing has happened for so long; the next time is counted from then."""
        loop = asyncio.get_running_loop()
        if not self._seconds:
            await asyncio.Event().wait()
        while (left := self._since + self._seconds - loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left)
        self._since = loop.time()
