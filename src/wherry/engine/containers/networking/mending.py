"""Networks that are put right again: after an engine that was killed, or a helper that was."""

import asyncio
import sys
from contextlib import suppress

from wherry.engine.containers.container import Container
from wherry.engine.containers.context import Context
from wherry.engine.containers.networking.plugging import Networking
from wherry.network import NetworkError, PortInUse
from wherry.shim.client.log import note

_AT_ONCE = 16
_FIRST, _LONGEST = 1.0, 60.0
"""Seconds between tries while the helper cannot be had."""


class Mending:
    """Watches over the helper for as long as the engine lives."""

    def __init__(self, context: Context, networking: Networking) -> None:
        self._context = context
        self._networking = networking
        self._client = context.network_client
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Put right what the last engine left, and whatever happens from here on."""
        self._client.on_denied = self._denied
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Let go of the helper, which goes on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._client.close()

    def _denied(self, id: str, line: str) -> None:
        """The network did not let a container reach something: its log tells."""
        if id in self._context.index:
            note(self._context.log(self._context.index.get(id)), f"{line}\n")

    async def _keep(self) -> None:
        with suppress(NetworkError):
            await self._release_strangers()
        while True:
            self._client.lost.clear()
            delay = _FIRST
            while not await self._mend():
                await asyncio.sleep(delay)
                delay = min(2 * delay, _LONGEST)
            await self._client.lost.wait()

    async def _release_strangers(self) -> None:
        """What the helper has of containers that do not run: their engine was killed meanwhile."""
        for id in await self._client.attached():
            if id not in self._context.index:
                await self._client.release(id)
                continue
            container = self._context.index.get(id)
            async with container.lock:
                if container.life.plugged is None:
                    await self._client.release(id)

    async def _mend(self) -> bool:
        """Attach all that run; whether that could be done."""
        plugged = [each for each in self._context.index if each.life.plugged is not None]
        return all(await asyncio.gather(*(self._attach(container) for container in plugged)))

    async def _attach(self, container: Container) -> bool:
        async with self._turns, container.lock:
            while container.state.running and container.life.plugged is not None:
                try:
                    await self._networking.attach_again(container)
                except PortInUse as error:
                    # Another program took it while there was no helper: the rest goes on.
                    _say(container, f"{error}: it is published no more")
                    gone = error.publication
                    container.life.plugged.published = [
                        each
                        for each in container.life.plugged.published
                        if (each.host_ip, each.host_port, each.protocol)
                        != (gone.host_ip, gone.host_port, gone.protocol)
                    ]
                    self._context.note(container)
                except NetworkError as error:
                    _say(container, str(error))
                    return False
                else:
                    break
        return True


def _say(container: Container, message: str) -> None:
    sys.stderr.write(f"wherryd: container {container.name}: {message}\n")
