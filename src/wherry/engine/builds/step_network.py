"""The network of a build's step: an address in the predefined network for as long as it runs.

The step is no container that anybody sees, so nothing of it is remembered: what the helper has of
steps whose engine was killed is released when the next engine starts, with that of other strangers.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from wherry.engine.config import ContainerConfig, EndpointAddresses, HostConfig
from wherry.engine.containers.networking.files import (
    write_hostname,
    write_hosts,
    write_resolv_conf,
)
from wherry.engine.errors import EngineError
from wherry.engine.networks import BRIDGE
from wherry.engine.privileges import may_make_namespaces
from wherry.network import Attachment, NetworkClient, NetworkError, Sandbox
from wherry.network.addresses import mac_of, parse_address

if TYPE_CHECKING:
    from wherry.build import Network
    from wherry.engine.networks import Networks

HOSTNAME = "build"
"""What every step calls its machine, so that no result depends on it."""

FILES = ("hostname", "hosts", "resolv.conf")
"""What is mounted in /etc."""

_ALONE = "127.0.1.1"
_INTERFACE = "eth0"
_AGAIN = 1.0
"""Seconds between tries while the helper cannot be had."""


class StepNetwork:
    """The network of the step `id`."""

    def __init__(
        self, id: str, wanted: "Network", networks: "Networks", client: NetworkClient
    ) -> None:
        self._id = id
        self._wanted = wanted
        self._networks = networks
        self._client = client
        self._taken = ("", "")

    @property
    def is_host(self) -> bool:
        """Whether the step lives in the network of the machine."""
        return self._wanted == "host"

    def plug(self, folder: Path) -> None:
        """Take addresses, and write the files for /etc into `folder`. Raises EngineError."""
        if not self.is_host and not may_make_namespaces():
            raise EngineError(
                "a network of its own needs namespaces, which cannot be made here: use --network "
                "host (why: the first lines of wherryd.log)"
            )
        own = [] if self.is_host else [_ALONE]
        if self._wanted == "default":
            record = self._networks.get(BRIDGE)
            self._taken = self._networks.leases.lease(record, EndpointAddresses(), ())
            self._networks.used(record)
            own = [text.partition("/")[0] for text in self._taken if text]
        config = ContainerConfig(hostname=HOSTNAME)
        write_hostname(folder, config)
        write_hosts(folder, config, own, ())
        write_resolv_conf(folder, HostConfig(), internal=self._wanted == "default")

    @asynccontextmanager
    async def attached(self, pid: int) -> AsyncGenerator[None, None]:
        """Have the interface in place for the step's process, whatever becomes of the helper.

        Raises EngineError.
        """
        if self._wanted != "default":
            yield
            return
        # From the beginning, so that no death of the helper passes unnoticed.
        mending = asyncio.create_task(self._mend(pid))
        try:
            try:
                await self._attach(pid)
            except NetworkError as error:
                raise EngineError(f"the step cannot be connected: {error}") from None
            yield
        finally:
            mending.cancel()
            await asyncio.gather(mending, return_exceptions=True)

    async def _mend(self, pid: int) -> None:
        """Attach again whenever a helper has died: the next one knows nothing of the step."""
        while True:
            await self._client.lost.wait()
            try:
                await self._attach(pid)
            except NetworkError:
                await asyncio.sleep(_AGAIN)

    async def _attach(self, pid: int) -> None:
        addresses = [text for text in self._taken if text]
        attachment = Attachment(
            network=self._networks.wiring(self._networks.get(BRIDGE)),
            interface=_INTERFACE,
            mac=mac_of(parse_address(addresses[0].partition("/")[0])),
            addresses=addresses,
            default_route=True,
        )
        await self._client.attach(
            Sandbox(id=self._id, pid=pid, name=HOSTNAME, attachments=[attachment])
        )

    async def unplug(self) -> None:
        """Give everything back."""
        if any(self._taken):
            self._networks.leases.free(self._networks.get(BRIDGE).id, *self._taken)
            self._taken = ("", "")
            with suppress(NetworkError):  # a helper that has died holds nothing
                await self._client.release(self._id)
