"""Networks: what they are, and which containers are in them.

A network is a row in the engine's file. Its bridge is made when the first container is attached and
goes before the row does, so that none is ever left without one. Addresses in use are those of
running containers, which remember their own.
"""

import time
from collections.abc import Iterable
from ipaddress import ip_network
from secrets import token_hex
from typing import TYPE_CHECKING

from wherry.engine.clock import timestamp
from wherry.engine.errors import Conflict, EngineError, Forbidden, InvalidRequest, NotFound
from wherry.engine.events import Events
from wherry.engine.filters import Filters
from wherry.engine.networks import options
from wherry.engine.networks.inspection import (
    NetworkContainer,
    NetworkCreated,
    NetworkInspect,
    NetworkPruneReport,
)
from wherry.engine.networks.leases import Leases
from wherry.engine.networks.request import Ipam, IpamConfig, NetworkRequest
from wherry.engine.networks.subnets import overlap, plan_subnets
from wherry.engine.record import Endpoint, NetworkRecord
from wherry.engine.state import State
from wherry.network import Network, NetworkClient, NetworkError, Subnet
from wherry.network.addresses import IPNetwork
from wherry.network.host import networks as host_networks

if TYPE_CHECKING:
    from wherry.engine.containers.container import Container

BRIDGE, HOST, NONE = "bridge", "host", "none"
PREDEFINED = frozenset({BRIDGE, HOST, NONE})
"""The networks that are always there."""

_RESERVED = PREDEFINED | {"default"}
_BRIDGE_INTERFACE = "wherry0"
_LONGEST_NAME = 255
_LEAST_PREFIX = 4
_SHOWN = 5
"""Names in a message."""
_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
_DRIVERS = {"": "bridge", "bridge": "bridge"}

# Within the class, `list` is a method.
_Networks = list[NetworkInspect]
_Members = list[tuple["Container", Endpoint]]
_IPNetworks = list[IPNetwork]


class Networks:
    """All networks of the engine. Errors are those of `wherry.engine.errors`.

    `containers` are the engine's, whichever there are when it is asked.
    """

    def __init__(
        self,
        state: State,
        events: Events,
        client: NetworkClient,
        containers: "Iterable[Container]",
    ) -> None:
        self._state = state
        self._events = events
        self._client = client
        self._containers = containers
        self._by_id: dict[str, NetworkRecord] = {}
        self._by_name: dict[str, NetworkRecord] = {}
        self.leases = Leases()
        """The addresses of running containers."""

    def recover(self, *, rebooted: bool = False) -> None:
        """Read what is there; the predefined networks are made the first time.

        Once the machine has `rebooted`, with nothing in it, `bridge` gives way to the host's own
        networks, which may be others than before.
        """
        for record in sorted(self._state.networks(), key=lambda record: record.created):
            self._put(record)
        for name, driver in ((BRIDGE, "bridge"), (HOST, "host"), (NONE, "null")):
            if name in self._by_name:
                continue
            record = NetworkRecord(
                id=token_hex(32), name=name, created=time.time_ns(), driver=driver
            )
            if name == BRIDGE:
                record.pools = plan_subnets(name, (), self._subnets(), ipv6=False)
                record.options = {options.DEFAULT_BRIDGE: "true", options.NAME: _BRIDGE_INTERFACE}
            self._state.save_network(record)
            self._put(record)
        if rebooted:
            self._give_way(self._by_name[BRIDGE])

    def _give_way(self, record: NetworkRecord) -> None:
        theirs = host_networks()
        mine = [ip_network(pool.subnet) for pool in record.pools]
        if any(overlap(one, other) for one in mine for other in theirs):
            others = [subnet for subnet in self._subnets() if subnet not in mine]
            record.pools = plan_subnets(record.name, (), others, ipv6=record.ipv6)
            self._state.save_network(record)

    def get(self, reference: str) -> NetworkRecord:
        """The network of that name, id, or beginning of an id. Raises NotFound, InvalidRequest."""
        found = self._by_id.get(reference) or self._by_name.get(reference)
        if found is not None:
            return found
        matching = [id for id in self._by_id if id.startswith(reference)]
        if len(reference) < _LEAST_PREFIX or not matching:
            raise NotFound(f"network {reference} not found")
        if len(matching) > 1:
            raise InvalidRequest(
                f"network {reference} is ambiguous ({len(matching)} matches found based on ID "
                "prefix)"
            )
        return self._by_id[matching[0]]

    def has(self, name: str) -> bool:
        """Whether there is a network of that name."""
        return name in self._by_name

    def by_id(self, id: str) -> NetworkRecord | None:
        """The network of that whole id, if it is there."""
        return self._by_id.get(id)

    def create(self, request: NetworkRequest) -> NetworkCreated:
        """Raises Conflict (the name), Forbidden, InvalidRequest, NotFound (no such driver)."""
        name = request.name
        self._check(request)
        wanted = options.parse_options(request.options)
        for other in self._by_id.values():
            if wanted.name and wanted.name == _interface(other):
                raise Forbidden(
                    f"cannot create network {name}: conflicts with network {other.name}: networks "
                    f"have same bridge name ({wanted.name})"
                )
        record = NetworkRecord(
            id=token_hex(32),
            name=name,
            created=time.time_ns(),
            driver=_DRIVERS[request.driver],
            pools=plan_subnets(
                name, request.ipam.config, self._subnets(), ipv6=request.enable_ipv6
            ),
            chosen=not request.ipam.config,
            ipv6=request.enable_ipv6,
            internal=request.internal,
            attachable=request.attachable,
            options=request.options,
            labels=request.labels,
            ipam_options=request.ipam.options,
        )
        self._state.save_network(record)
        self._put(record)
        self.tell(record, "create")
        return NetworkCreated(id=record.id)

    async def remove(self, record: NetworkRecord) -> None:
        """Raises Forbidden (predefined, in use), EngineError."""
        if record.name in PREDEFINED:
            raise Forbidden(f"{record.name} is a pre-defined network and cannot be removed")
        if members := self.members(record):
            names = [container.name for container, _ in members]
            shown = ", ".join([*names[:_SHOWN], *["…"] * (len(names) > _SHOWN)])
            raise Forbidden(
                f"error while removing network: network {record.name} has active endpoints "
                f"({shown}); stop or disconnect them first"
            )
        # Nobody joins it from here on, and its name is free again when it has gone.
        if self._by_id.pop(record.id, None) is None:
            raise NotFound(f"network {record.name} not found")
        try:
            if record.made:
                await self._client.remove_network(record.id)
        except NetworkError as error:
            self._by_id[record.id] = record
            raise EngineError(f"error while removing network {record.name}: {error}") from None
        self._state.remove_network(record.id)
        del self._by_name[record.name]
        self.tell(record, "destroy")

    async def prune(self, filters: Filters | None = None) -> NetworkPruneReport:
        """Remove all in which no container runs. Filters: until, label, label!."""
        filters = filters or Filters()
        filters.check(("until", "label", "label!"))
        until = filters.until()
        removed: list[str] = []
        for record in tuple(self._by_id.values()):
            if (
                record.name in PREDEFINED
                or self.members(record)
                or not filters.accepts_labels(record.labels)
                or filters.rejects_labels(record.labels)
                or (until is not None and record.created >= until.timestamp() * 1e9)
            ):
                continue
            try:
                await self.remove(record)
            except EngineError:
                continue  # somebody joined or removed it just now, or it could not go
            removed.append(record.name)
        self._events.publish("network", "prune", "", {"reclaimed": "0"})
        return NetworkPruneReport(networks_deleted=removed or None)

    def list(self, filters: Filters | None = None) -> _Networks:
        """By creation. Raises InvalidRequest."""
        filters = filters or Filters()
        filters.check(_FILTERS)
        for kind in filters.get("type"):
            if kind not in ("builtin", "custom"):
                raise InvalidRequest(f"invalid filter: 'type'='{kind}'")
        dangling = filters.flag("dangling")
        return [
            _describe(record)
            for record in self._by_id.values()
            if filters.accepts("driver", record.driver)
            and filters.accepts("scope", "local")
            and filters.accepts("type", "builtin" if record.name in PREDEFINED else "custom")
            and filters.accepts_labels(record.labels)
            and _matches(filters.get("name"), record.name)
            and _matches(filters.get("id"), record.id)
            and (
                dangling is None
                or dangling == (record.name not in PREDEFINED and not self.members(record))
            )
        ]

    def inspect(self, record: NetworkRecord) -> NetworkInspect:
        """All that is known of it, with the containers that run in it."""
        found = _describe(record)
        found.containers = {
            container.id: NetworkContainer(
                name=container.name,
                endpoint_id=endpoint.id,
                mac_address=endpoint.mac,
                ipv4_address=endpoint.ipv4,
                ipv6_address=endpoint.ipv6,
            )
            for container, endpoint in self.members(record)
        }
        return found

    def members(self, record: NetworkRecord) -> "_Members":
        """The containers that run in a network, or are about to."""
        return [
            (container, endpoint)
            for container in self._containers
            if (plugged := container.life.plugged) is not None
            and (endpoint := plugged.endpoints.get(record.name)) is not None
            and endpoint.network == record.id
        ]

    def wiring(self, record: NetworkRecord) -> Network:
        """A network as those who make its bridge want to know it."""
        wanted = options.parse_options(record.options)
        return Network(
            id=record.id,
            name=record.name,
            bridge=_interface(record),
            subnets=[Subnet(pool.subnet, pool.gateway) for pool in record.pools],
            internal=record.internal,
            names=record.name != BRIDGE,
            masquerade=wanted.masquerade,
            mtu=wanted.mtu,
            icc=wanted.icc,
        )

    def used(self, record: NetworkRecord) -> None:
        """A container is about to be in it: from here on there may be a bridge to remove."""
        if not record.made:
            record.made = True
            self._state.save_network(record)

    def tell(self, record: NetworkRecord, action: str, **attributes: str) -> None:
        """Publish an event of a network."""
        known = {"name": record.name, "type": record.driver}
        self._events.publish("network", action, record.id, known | attributes)

    def _check(self, request: NetworkRequest) -> None:
        name, driver = request.name, request.driver
        if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
            raise InvalidRequest(f"invalid name: {name[:80]!r}")
        if name in _RESERVED:
            raise Forbidden(f"operation is not permitted on predefined {name} network")
        if name in self._by_name:
            raise Conflict(f"network with name {name} already exists")
        if request.scope not in ("", "local") or request.ingress:
            raise Forbidden("cannot create a swarm scoped network when swarm is not active")
        if request.config_only:
            raise Forbidden("networks that only hold a configuration are not supported")
        if driver in ("host", "null"):
            raise Forbidden(f'only one instance of "{driver}" network is allowed')
        if driver not in _DRIVERS:
            raise NotFound(f'plugin "{driver[:80]}" not found: the only network driver is bridge')
        if not request.enable_ipv4:
            raise InvalidRequest("networks without IPv4 are not supported: leave out --ipv4=false")
        if request.ipam.driver not in ("", "default"):
            raise NotFound(f'plugin "{request.ipam.driver[:80]}" not found')

    def _put(self, record: NetworkRecord) -> None:
        self._by_id[record.id] = self._by_name[record.name] = record

    def _subnets(self) -> _IPNetworks:
        return [
            ip_network(pool.subnet) for record in self._by_name.values() for pool in record.pools
        ]


def _interface(record: NetworkRecord) -> str:
    """The name of its bridge; empty if it has none."""
    if record.driver != "bridge":
        return ""
    return record.options.get(options.NAME) or f"br-{record.id[:12]}"


def _describe(record: NetworkRecord) -> NetworkInspect:
    return NetworkInspect(
        name=record.name,
        id=record.id,
        created=timestamp(record.created),
        driver=record.driver,
        enable_ipv6=record.ipv6,
        ipam=Ipam(
            driver="default",
            options=record.ipam_options,
            config=[
                IpamConfig(
                    subnet=pool.subnet,
                    ip_range=pool.ip_range,
                    gateway=pool.gateway,
                    auxiliary=pool.auxiliary,
                )
                for pool in record.pools
            ],
        ),
        internal=record.internal,
        attachable=record.attachable,
        options=record.options,
        labels=record.labels,
    )


def _matches(wanted: Iterable[str], text: str) -> bool:
    """Whether one of `wanted` is a part of `text`; ^ and $ stand for its ends, as in Docker."""
    given = list(wanted)
    return not given or any(
        text.startswith(each[1:]) if each.startswith("^") and not each.endswith("$")
        else text.endswith(each[:-1]) if each.endswith("$") and not each.startswith("^")
        else text == each[1:-1] if each.startswith("^")
        else each in text
        for each in given
    )  # fmt: skip
