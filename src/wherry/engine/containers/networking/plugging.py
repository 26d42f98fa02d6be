"""A container's way into its networks: what it is given at its start and gives back at its end.

The order is that of `lifecycle`: what it is to have is remembered (`plug`) before the helper
reserves its ports and before its task is made, is put in place (`attach`) before the task is
started, and forgotten (`unplug`) before its end is told. A helper that died, or an engine that
comes back, puts everything in place again (`mend`): each step may be repeated.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

from wherry.engine.config import EndpointAddresses
from wherry.engine.containers.container import Container
from wherry.engine.containers.context import Context
from wherry.engine.containers.networking.files import (
    extra_hosts,
    write_hostname,
    write_hosts,
    write_resolv_conf,
)
from wherry.engine.containers.networking.links import linked_names, links
from wherry.engine.containers.networking.plan import SHARED, egress_rules
from wherry.engine.containers.networking.ports import exposed_ports, wished_ports
from wherry.engine.containers.networking.programs import Programs
from wherry.engine.containers.networking.publishing import reserve
from wherry.engine.containers.networking.sysctls import endpoint_sysctls
from wherry.engine.errors import Conflict, EngineError, NetworkRefused, StartFailed
from wherry.engine.networks import BRIDGE, HOST, NONE, parse_options
from wherry.engine.privileges import may_make_namespaces
from wherry.engine.record import Endpoint, NetworkRecord, Plugged
from wherry.network import Attachment, NetworkError, Sandbox
from wherry.network.addresses import mac_of, parse_address
from wherry.oci import runtime as oci

_UNPLUGGED = "127.0.1.1"
"""What a container without an address calls itself, as Debian does."""


_NO_NAMESPACES = (
    "networks of containers, and none at all, need namespaces, which cannot be made here: use "
    "--network host (why: the first lines of wherryd.log)"
)


class Wiring(NamedTuple):
    """What a container's `config.json` says of its network."""

    namespace: str | None
    """"" is one of its own, a path one to join, None the host's."""
    files: Path
    """The folder of its hosts, hostname and resolv.conf."""
    annotations: dict[str, str]


class Networking:
    """Plugs containers in and out."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.network_client
        self.programs = Programs()

    async def plug(self, container: Container) -> Wiring:
        """What a container that is to be started gets; its files are written.

        Raises NotFound (a network, the container whose network it shares), Conflict, Forbidden
        (an address is in use), StartFailed (a port is).
        """
        mode = container.host.network_mode
        egress = egress_rules(container.config, container.host)
        annotations = {} if egress is None else {oci.EGRESS: egress}
        ports = exposed_ports(container.config, container.host)
        listening = [str(port) for port in ports if port.protocol == "tcp"]
        if listening:
            annotations[oci.PORTS] = ",".join(listening)
        if mode.startswith(SHARED):
            return self._share(container, mode.removeprefix(SHARED), annotations)
        bundle = self._context.bundle(container)
        write_hostname(bundle, container.config)
        wants = mode != HOST and await self.wants_network(container)
        if wants and not may_make_namespaces():
            raise NetworkRefused(_NO_NAMESPACES)
        if not wants or NONE in container.record.networks:
            own = [] if mode == HOST else [_UNPLUGGED]
            write_hosts(bundle, container.config, own, extra_hosts(container.host, "127.0.0.1"))
            write_resolv_conf(bundle, container.host, internal=False)
            if mode == HOST:
                return Wiring(None, bundle, annotations)
            if not wants:
                return Wiring("", bundle, annotations | {oci.NETWORK: "none"})
            # Its own loopback interface is all that a namespace of its own has.
            return Wiring("", bundle, annotations | {oci.ENFORCER: "network"})
        await self._take(container)
        self._write_files(container)
        if container.life.plugged is not None and container.life.plugged.published:
            annotations[oci.LISTENERS] = str(self._client.listeners)
        if egress is not None:
            annotations[oci.ENFORCER] = "network"
        return Wiring("", bundle, annotations)

    async def attach(self, container: Container, pid: int) -> None:
        """Put in place what `plug` took. Raises StartFailed."""
        if container.life.plugged is None:
            return
        try:
            await self._client.attach(self._sandbox(container, pid))
        except NetworkError as error:
            raise StartFailed(f"the container cannot be connected: {error}", 125) from None
        for endpoint in container.life.plugged.endpoints.values():
            self._tell(container, endpoint, "connect")
        await self._update_links(container)

    async def unplug(self, container: Container) -> None:
        """Give everything back; what was never taken as well. The caller saves the container."""
        plugged, container.life.plugged = container.life.plugged, None
        if plugged is None:
            return
        for endpoint in plugged.endpoints.values():
            self._free(endpoint)
        with suppress(NetworkError):  # a helper that has died holds nothing
            await self._client.release(container.id)
        for endpoint in plugged.endpoints.values():
            self._tell(container, endpoint, "disconnect")

    def recover(self, container: Container) -> None:
        """An earlier engine has given it these addresses."""
        plugged = container.life.plugged
        if plugged is None:
            return
        for name in plugged.endpoints.keys() - container.record.networks.keys():
            del plugged.endpoints[name]  # killed while it was put into that network, or taken out
        for endpoint in plugged.endpoints.values():
            self._context.networks.leases.take(endpoint.network, endpoint.ipv4, endpoint.ipv6)

    async def update(self, container: Container) -> None:
        """Put in place what has changed of a running container. Raises EngineError."""
        if container.life.plugged is None or not container.state.running:
            return
        self._write_files(container)
        try:
            await self.attach_again(container)
        except NetworkError as error:
            raise EngineError(str(error)) from None
        await self._update_links(container)

    async def attach_again(self, container: Container) -> None:
        """Put a running container's network in place, whatever it is now. Raises NetworkError."""
        await self._client.attach(self._sandbox(container, container.state.pid))

    def join(self, container: Container, network: NetworkRecord) -> Endpoint:
        """Take addresses in a network; they are the container's from here on. Raises Forbidden."""
        plugged = container.life.plugged
        assert plugged is not None
        asked = container.record.networks[network.name]
        addresses = asked.ipam_config or EndpointAddresses()
        leases = self._context.networks.leases
        ipv4, ipv6 = leases.lease(network, addresses, self._kept(container, network))
        endpoint = Endpoint(
            id=token_hex(32),
            network=network.id,
            interface=self._interface(plugged, network),
            mac=asked.mac_address or mac_of(parse_address((ipv4 or ipv6).partition("/")[0])),
            ipv4=ipv4,
            ipv6=ipv6,
        )
        plugged.endpoints[network.name] = endpoint
        self._context.networks.used(network)
        return endpoint

    def leave(self, container: Container, network: str) -> None:
        """Give the addresses in a network back, if it has any."""
        plugged = container.life.plugged
        if plugged is not None and (endpoint := plugged.endpoints.pop(network, None)):
            self._free(endpoint)
            self._tell(container, endpoint, "disconnect")

    async def wants_network(self, container: Container) -> bool:
        """Whether its program could use an interface, if it had one."""
        has_ports = bool(exposed_ports(container.config, container.host))
        upper = self._context.bundle(container) / "upper"
        return await self.programs.wants_network(container.record, upper, has_ports=has_ports)

    async def _take(self, container: Container) -> None:
        """Addresses and ports, remembered before the helper hears of them."""
        context, asked = self._context, container.record.networks
        # The network that the mode names gives the first interface.
        main = container.host.network_mode
        names = sorted(asked, key=lambda name: (name != main, name))
        networks = [context.networks.get(name) for name in names]
        container.life.plugged = Plugged(sandbox=token_hex(32))
        try:
            for network in networks:
                self.join(container, network)
            context.save(container)
            wishes = wished_ports(container.config, container.host)
            # As in Docker: nobody comes into an internal network, by no port either.
            if wishes and not all(network.internal for network in networks):
                binding = parse_options(networks[0].options).host_binding
                container.life.plugged.published = await reserve(
                    context, container, wishes, binding
                )
                context.save(container)
        except BaseException:
            await asyncio.shield(self.unplug(container))
            raise

    def _share(self, container: Container, reference: str, annotations: dict[str, str]) -> Wiring:
        """Another container's network, names and hostname."""
        context = self._context
        target = context.index.get(reference)
        if target.state.restarting:
            raise Conflict(
                f"Container {target.id} is restarting, wait until the container is running"
            )
        if not target.state.running:
            raise Conflict(f"cannot join network of a non running container: {target.id}")
        container.config.hostname = target.config.hostname
        container.config.domainname = target.config.domainname
        namespace = f"/proc/{target.state.pid}/ns/net"
        return Wiring(namespace, context.bundle(target), annotations)

    def _write_files(self, container: Container) -> None:
        bundle, plugged = self._context.bundle(container), container.life.plugged
        assert plugged is not None
        own = [
            address.partition("/")[0]
            for endpoint in plugged.endpoints.values()
            for address in (endpoint.ipv4, endpoint.ipv6)
            if address
        ]
        others = self._others(container)
        write_hosts(bundle, container.config, own or [_UNPLUGGED], others)
        write_resolv_conf(bundle, container.host, internal=bool(plugged.endpoints))

    def _others(self, container: Container) -> list[tuple[str, str]]:
        """Names that only this container knows."""
        route = self._default_route(container)
        gateway = self._gateway(route) if route else "127.0.0.1"
        return [
            *extra_hosts(container.host, gateway),
            *linked_names(self._context.index, container),
        ]

    def _sandbox(self, container: Container, pid: int) -> Sandbox:
        plugged = container.life.plugged
        assert plugged is not None
        return Sandbox(
            id=container.id,
            pid=pid,
            name=container.name,
            attachments=list(self._attachments(container, plugged)),
            dns=list(container.host.dns or ()),
            ndots=any(option.startswith("ndots:") for option in container.host.dns_options or ()),
            hosts=dict(reversed(self._others(container))),
            publications=plugged.published,
            egress=egress_rules(container.config, container.host),
        )

    def _attachments(self, container: Container, plugged: Plugged) -> Iterator[Attachment]:
        route, record = self._default_route(container), container.record
        for name, endpoint in plugged.endpoints.items():
            network = self._context.networks.by_id(endpoint.network)
            if network is not None:
                yield Attachment(
                    network=self._context.networks.wiring(network),
                    interface=endpoint.interface,
                    mac=endpoint.mac,
                    addresses=[text for text in (endpoint.ipv4, endpoint.ipv6) if text],
                    default_route=name == route,
                    names=dns_names(container, name),
                    sysctls=endpoint_sysctls(record.networks[name].driver_opts, endpoint.interface),
                )

    def _default_route(self, container: Container) -> str:
        """The network of the way out: of those that have one the one with the highest priority,
        else the first by name, as in Docker."""
        plugged, asked = container.life.plugged, container.record.networks
        networks = [
            network
            for endpoint in (plugged.endpoints.values() if plugged else ())
            if (network := self._context.networks.by_id(endpoint.network)) is not None
        ]
        ways = [(-asked[n.name].gw_priority, n.name) for n in networks if not n.internal]
        return min(ways)[1] if ways else ""

    def _gateway(self, name: str) -> str:
        return self._context.networks.get(name).pools[0].gateway

    def _kept(self, container: Container, network: NetworkRecord) -> list[str]:
        """Addresses in a network that other containers ask for, running or not."""
        kept = []
        for other in self._context.index:
            asked = other.record.networks.get(network.name)
            if other is not container and asked is not None and asked.ipam_config is not None:
                kept += [asked.ipam_config.ipv4_address, asked.ipam_config.ipv6_address]
        return [text for text in kept if text]

    def _interface(self, plugged: Plugged, network: NetworkRecord) -> str:
        """The first free one: eth0, eth1."""
        prefix = parse_options(network.options).prefix
        taken = {endpoint.interface for endpoint in plugged.endpoints.values()}
        return next(name for n in range(1 << 16) if (name := f"{prefix}{n}") not in taken)

    def _free(self, endpoint: Endpoint) -> None:
        self._context.networks.leases.free(endpoint.network, endpoint.ipv4, endpoint.ipv6)

    def _tell(self, container: Container, endpoint: Endpoint, action: str) -> None:
        network = self._context.networks.by_id(endpoint.network)
        if network is not None:
            self._context.networks.tell(network, action, container=container.id)

    async def _update_links(self, container: Container) -> None:
        """Who is linked to a container learns its new address."""
        for other in self._context.index:
            if other is container or other.life.plugged is None or not other.state.running:
                continue
            if any(link.target in (container.name, container.id) for link in links(other)):
                self._write_files(other)
                with suppress(NetworkError):
                    await self.attach_again(other)


def dns_names(container: Container, network: str) -> list[str]:
    """What it is called in a network: on the predefined one nothing, as in Docker."""
    if network == BRIDGE:
        return []
    aliases = container.record.networks[network].aliases or ()
    hostname = container.config.hostname
    return list(dict.fromkeys([container.name, *aliases, container.id[:12], hostname]))
