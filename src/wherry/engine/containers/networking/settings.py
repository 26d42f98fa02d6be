"""A container's networks and ports as Docker shows them: in `inspect`, `ps` and `port`."""

from ipaddress import ip_interface

from wherry.engine.config import EndpointConfig, PortBinding
from wherry.engine.containers.container import Container
from wherry.engine.containers.context import Context
from wherry.engine.containers.networking.plugging import dns_names
from wherry.engine.containers.networking.ports import exposed_ports
from wherry.engine.inspection import EndpointSettings, NetworkSettings, PortSummary
from wherry.engine.networks import BRIDGE, HOST, NONE
from wherry.engine.record import Endpoint


def network_settings(context: Context, container: Container) -> NetworkSettings:
    """`NetworkSettings` of `inspect`."""
    settings = NetworkSettings(networks=endpoints(context, container))
    plugged, state = container.life.plugged, container.state
    if state.running and state.pid:
        settings.sandbox_key = f"/proc/{state.pid}/ns/net"
    if plugged is not None:
        settings.sandbox_id = plugged.sandbox
        settings.ports = _ports(container)
    # The predefined network is shown once more at the top.
    if (bridge := settings.networks.get(BRIDGE)) is not None:
        settings.endpoint_id = bridge.endpoint_id
        settings.gateway = bridge.gateway
        settings.ip_address = bridge.ip_address
        settings.ip_prefix_len = bridge.ip_prefix_len
        settings.ipv6_gateway = bridge.ipv6_gateway
        settings.global_ipv6_address = bridge.global_ipv6_address
        settings.global_ipv6_prefix_len = bridge.global_ipv6_prefix_len
        settings.mac_address = bridge.mac_address
    return settings


def endpoints(
    context: Context, container: Container, *, names: bool = True
) -> dict[str, EndpointSettings]:
    """The networks of a container by name; `ps` shows them without the container's `names`."""
    plugged = container.life.plugged
    found = {}
    for name, asked in sorted(container.record.networks.items()):
        endpoint = plugged.endpoints.get(name) if plugged is not None else None
        found[name] = _endpoint(context, name, asked, endpoint)
        if not names:
            found[name].aliases = None
        elif name not in (BRIDGE, HOST, NONE):
            found[name].dns_names = dns_names(container, name)
    return found


def listed_ports(container: Container) -> list[PortSummary]:
    """`Ports` of `ps`: published ones with where they are, and those that are only exposed."""
    plugged = container.life.plugged
    if plugged is None:
        return []
    published = sorted(
        plugged.published,
        key=lambda each: (each.container_port, each.protocol, ":" in each.host_ip),
    )
    bound = {(each.container_port, each.protocol) for each in published}
    return [
        PortSummary(
            ip=each.host_ip,
            private_port=each.container_port,
            public_port=each.host_port,
            type=each.protocol,
        )
        for each in published
    ] + [
        PortSummary(private_port=port.number, type=port.protocol)
        for port in exposed_ports(container.config, container.host)
        if (port.number, port.protocol) not in bound
    ]


def _ports(container: Container) -> dict[str, list[PortBinding] | None]:
    """Bindings by port, null where it is only exposed; in the order of Docker's JSON."""
    plugged = container.life.plugged
    found: dict[str, list[PortBinding] | None] = {
        str(port): None for port in exposed_ports(container.config, container.host)
    }
    for each in plugged.published if plugged is not None else ():
        key = f"{each.container_port}/{each.protocol}"
        bindings = found.get(key) or []
        bindings.append(PortBinding(host_ip=each.host_ip, host_port=str(each.host_port)))
        found[key] = bindings
    return dict(sorted(found.items()))


def _endpoint(
    context: Context, name: str, asked: EndpointConfig, endpoint: Endpoint | None
) -> EndpointSettings:
    settings = EndpointSettings(
        ipam_config=asked.ipam_config,
        links=asked.links,
        aliases=asked.aliases,
        mac_address=asked.mac_address,
        driver_opts=asked.driver_opts,
        gw_priority=asked.gw_priority,
    )
    if context.networks.has(name):
        settings.network_id = context.networks.get(name).id
    if endpoint is None:
        return settings
    network = context.networks.by_id(endpoint.network)
    pools = network.pools if network is not None and not network.internal else []
    gateways = {ip_interface(pool.gateway).version: pool.gateway for pool in pools}
    settings.network_id, settings.endpoint_id = endpoint.network, endpoint.id
    settings.mac_address = endpoint.mac
    if endpoint.ipv4:
        settings.gateway = gateways.get(4, "")
        settings.ip_address, settings.ip_prefix_len = _split(endpoint.ipv4)
    if endpoint.ipv6:
        settings.ipv6_gateway = gateways.get(6, "")
        settings.global_ipv6_address, settings.global_ipv6_prefix_len = _split(endpoint.ipv6)
    return settings


def _split(text: str) -> tuple[str, int]:
    address, _, length = text.partition("/")
    return address, int(length)
