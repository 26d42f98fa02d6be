"""Which networks a container is to be in: what people ask for, checked as Docker does."""

import socket

from msgspec import UNSET

from wherry.egress import LABEL as EGRESS_LABEL
from wherry.egress import Egress
from wherry.engine.config import ContainerConfig, EndpointConfig, HostConfig, NetworkingConfig
from wherry.engine.containers.context import Context
from wherry.engine.containers.networking.files import check_network_files
from wherry.engine.containers.networking.links import check_links
from wherry.engine.containers.networking.ports import exposed_ports, wished_ports
from wherry.engine.containers.networking.sysctls import endpoint_sysctls
from wherry.engine.errors import InvalidRequest
from wherry.engine.networks import BRIDGE, HOST, NONE, check_addresses
from wherry.engine.record import NetworkRecord
from wherry.network.addresses import AddressError, parse_mac

SHARED = "container:"
"""How a mode begins that names a container whose network is shared."""

ALONE = (
    "container sharing network namespace with another container or host cannot be connected to "
    "any other network"
)
PRIVATE = (
    "container cannot be connected to multiple networks with one of the networks in private "
    "(none) mode"
)


def plan_networks(
    context: Context, config: ContainerConfig, host: HostConfig, networking: NetworkingConfig
) -> tuple[dict[str, EndpointConfig], list[str]]:
    """What is asked for in each network, by their names, and warnings.

    Puts the mode, and the hostname where the mode gives it, into their usual form. Raises
    InvalidRequest, NotFound (a network, the container whose network is to be shared).
    """
    warnings: list[str] = []
    check_network_files(host)
    check_links(context.index, host.links or [])
    exposed_ports(config, host)
    wishes = wished_ports(config, host)
    mode = host.network_mode or "default"
    if config.network_disabled is True:
        mode = NONE
    asked = networking.endpoints_config
    if mode.startswith(SHARED):
        target = context.index.get(mode.removeprefix(SHARED))
        _check_shared(config, host)
        if asked:
            raise InvalidRequest(ALONE)
        host.network_mode = f"{SHARED}{target.id}"
        config.hostname, config.domainname = target.config.hostname, target.config.domainname
        return {}, warnings
    mode = BRIDGE if mode == "default" else mode
    host.network_mode = main = context.networks.get(mode).name
    if main == HOST:
        config.hostname = config.hostname or socket.gethostname()
        if wishes:
            warnings.append("Published ports are discarded when using host network mode")
    found = {main: EndpointConfig()}
    for reference, endpoint in asked.items():
        network = context.networks.get(BRIDGE if reference == "default" else reference)
        try:
            check_endpoint(context, network, endpoint)
        except InvalidRequest as error:
            raise InvalidRequest(
                f"invalid config for network {network.name}: {error.message}"
            ) from None
        found[network.name] = endpoint
    for name, reason in ((HOST, ALONE), (NONE, PRIVATE)):
        if name in found and len(found) > 1:
            raise InvalidRequest(reason)
    if config.mac_address:
        found[main].mac_address = found[main].mac_address or _mac(str(config.mac_address))
        warnings.append(
            "The container-wide MacAddress field is now deprecated. It should be specified in "
            "EndpointsConfig instead."
        )
    return found, warnings


def check_endpoint(context: Context, network: NetworkRecord, asked: EndpointConfig) -> None:
    """Whether a container can have this in a network; its MAC is put into its usual form.

    Raises InvalidRequest.
    """
    addresses = asked.ipam_config
    if network.name == BRIDGE and addresses and (addresses.ipv4_address or addresses.ipv6_address):
        raise InvalidRequest(
            "invalid endpoint settings: user specified IP address is supported on user defined "
            "networks only"
        )
    if network.name in (BRIDGE, HOST, NONE) and asked.aliases:
        raise InvalidRequest(
            "invalid endpoint settings: network-scoped alias is supported only for containers in "
            "user defined networks"
        )
    for alias in asked.aliases or ():
        if not alias or len(alias) > 253 or not alias.isprintable() or " " in alias:
            raise InvalidRequest(f"invalid endpoint settings: invalid alias {alias[:80]!r}")
    check_addresses(network, addresses)
    endpoint_sysctls(asked.driver_opts, "IFNAME")
    if asked.mac_address:
        asked.mac_address = _mac(asked.mac_address)
    check_links(context.index, asked.links or [])


def egress_rules(config: ContainerConfig, host: HostConfig) -> str | None:
    """The rules of what a container may reach; None if there are none.

    Of two, those of the annotation hold: it is by who makes the container, the label may be its
    image's.
    """
    given = host.annotations if host.annotations is not UNSET else {}
    return given.get(EGRESS_LABEL, config.labels.get(EGRESS_LABEL))


def check_egress(config: ContainerConfig, host: HostConfig) -> None:
    """Whether what narrows what a container may reach can be read. Raises InvalidRequest."""
    text = egress_rules(config, host)
    if text is not None:
        try:
            Egress.parse(text)
        except ValueError as error:
            raise InvalidRequest(f"label {EGRESS_LABEL}: {error}") from None


def _check_shared(config: ContainerConfig, host: HostConfig) -> None:
    for given, reason in (
        (host.port_bindings or host.publish_all_ports,
         "port publishing and the container type network mode"),
        (config.exposed_ports, "port exposing and the container type network mode"),
        (config.hostname, "hostname and the network mode"),
        (host.dns, "dns and the network mode"),
        (host.extra_hosts, "custom host-to-IP mapping and the network mode"),
        (config.mac_address, "mac-address and the network mode"),
        (host.links, "container type network can't be used with links. This would result in "
         "undefined behavior"),
    ):  # fmt: skip
        if given:
            raise InvalidRequest(f"conflicting options: {reason}")


def _mac(text: str) -> str:
    try:
        return parse_mac(text)
    except AddressError:
        raise InvalidRequest(f"invalid MAC address {text[:80]}") from None
