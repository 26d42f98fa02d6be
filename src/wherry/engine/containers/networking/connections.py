"""`network connect` and `disconnect`: a container's networks change, also while it runs."""

from contextlib import suppress

from wherry.engine.config import EndpointConfig
from wherry.engine.containers.container import Container
from wherry.engine.containers.context import Context
from wherry.engine.containers.networking.plan import ALONE, PRIVATE, SHARED, check_endpoint
from wherry.engine.containers.networking.plugging import Networking
from wherry.engine.errors import Conflict, EngineError, Forbidden, InvalidRequest, NotFound
from wherry.engine.networks import HOST, NONE
from wherry.engine.record import NetworkRecord

_HOST_IS_ALONE = "container cannot be disconnected from host network or connected to host network"


class Connections:
    """Puts containers into networks and takes them out."""

    def __init__(self, context: Context, networking: Networking) -> None:
        self._context = context
        self._networking = networking

    async def connect(
        self, container: Container, network: NetworkRecord, asked: EndpointConfig
    ) -> None:
        """Raises InvalidRequest, Forbidden (is in it already, address in use), Conflict."""
        async with container.lock:
            record = container.record
            self._check(container)
            if network.name in record.networks:
                raise Forbidden(
                    f"endpoint with name {container.name} already exists in network {network.name}"
                )
            if network.name == HOST:
                raise InvalidRequest(_HOST_IS_ALONE)
            if NONE in record.networks or (network.name == NONE and record.networks):
                raise InvalidRequest(PRIVATE)
            if container.host.network_mode == HOST or container.host.network_mode.startswith(
                SHARED
            ):
                raise InvalidRequest(ALONE)
            check_endpoint(self._context, network, asked)
            await self._check_wired(container)
            record.networks[network.name] = asked
            try:
                if container.life.plugged is not None:
                    await self._join(container, network)
                self._context.state.save_record(record)
            except BaseException:
                del record.networks[network.name]
                await self._undo(container, network.name)
                raise

    async def disconnect(self, container: Container, reference: str) -> None:
        """Raises InvalidRequest, EngineError (is not in it), NotFound.

        A network that was removed while the container was stopped may be named, too.
        """
        async with container.lock:
            record = container.record
            self._check(container)
            gone = reference in record.networks and not self._context.networks.has(reference)
            name = reference if gone else self._context.networks.get(reference).name
            if name == HOST:
                raise InvalidRequest(_HOST_IS_ALONE)
            if name not in record.networks:
                raise EngineError(f"container {container.id} is not connected to network {name}")
            asked = record.networks.pop(name)
            try:
                self._context.state.save_record(record)
            except BaseException:
                record.networks[name] = asked
                raise
            self._networking.leave(container, name)
            try:
                self._context.save(container)
            finally:
                await self._networking.update(container)

    async def _join(self, container: Container, network: NetworkRecord) -> None:
        self._networking.join(container, network)
        self._context.save(container)
        await self._networking.update(container)
        self._context.networks.tell(network, "connect", container=container.id)

    async def _undo(self, container: Container, network: str) -> None:
        """What it had before is put in place again: who fails to connect it lets go of all."""
        self._networking.leave(container, network)
        with suppress(EngineError):
            self._context.save(container)
        with suppress(EngineError):
            await self._networking.update(container)

    def _check(self, container: Container) -> None:
        if container.removed:
            raise NotFound(f"No such container: {container.id}")
        if container.state.restarting:
            raise Conflict(
                f"Container {container.id} is restarting, wait until the container is running"
            )

    async def _check_wired(self, container: Container) -> None:
        """A running container that has no network namespace of its own cannot get interfaces."""
        if (
            container.state.running
            and container.life.plugged is None
            and await self._networking.wants_network(container)
        ):
            raise Conflict(
                f"container {container.name} was started without a network: restart it after "
                "it was stopped and connected"
            )
