"""`--network`, `-p`, `--dns` and their like: the part of a new container that is the network's."""

from __future__ import annotations

from wherry.cli.address import is_domain, is_ip
from wherry.cli.endpoint import Endpoint, check_link, parse_network
from wherry.cli.errors import UsageError
from wherry.cli.flags import invalid
from wherry.cli.publish import bindings, exposed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Arguments

DEFAULT = "default"
_OWN = (DEFAULT, "bridge", "host", "none")
"""Networks that nobody made; names and addresses are for the others."""
_HOST_GATEWAY = "host-gateway"


def add_networking(arguments: Arguments, document: dict[str, Any]) -> None:
    """Adds to the body of `POST /containers/create`. Raises `UsageError` with exit code 125."""
    host: dict[str, Any] = document["HostConfig"]
    published = bindings(arguments.many("publish"))
    ports = (*published, *exposed(arguments.many("expose")))
    if ports:
        document["ExposedPorts"] = {port: {} for port in ports}
    if published:
        host["PortBindings"] = published
    if arguments.switch("publish-all"):
        host["PublishAllPorts"] = True
    if arguments.text("domainname"):
        document["Domainname"] = arguments.text("domainname")
    for field, values in (
        ("Dns", [_resolver(value) for value in arguments.many("dns")]),
        ("DnsSearch", [_search(value) for value in arguments.many("dns-search")]),
        ("DnsOptions", arguments.many("dns-option")),
        ("ExtraHosts", [_extra_host(value) for value in arguments.many("add-host")]),
    ):
        if values:
            host[field] = values
    endpoints = _endpoints(arguments)
    links = [check_link(link) for link in arguments.many("link")]
    if links and not _user_defined(endpoints[0].network):
        host["Links"] = links
    if endpoints[0].network != DEFAULT:
        host["NetworkMode"] = endpoints[0].network
    if len(endpoints) > 1 or endpoints[0].settings:
        settings = {endpoint.network: endpoint.settings for endpoint in endpoints}
        document["NetworkingConfig"] = {"EndpointsConfig": settings}


def _user_defined(network: str) -> bool:
    return network not in _OWN and not network.startswith("container:")


def _endpoints(arguments: Arguments) -> list[Endpoint]:
    """One for each `--network`, at least the default one; the other flags are for the first."""
    texts = [*arguments.many("network"), *arguments.many("net")] or [DEFAULT]
    endpoints = [parse_network(text) for text in texts]
    _add_flags(arguments, endpoints[0])
    names = [endpoint.network for endpoint in endpoints]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"network '{name}' is given more than once", 125)
    if len({_user_defined(name) for name in names}) > 1:
        own = next(name for name in names if not _user_defined(name))
        raise UsageError(f"--network {own} goes with no other network", 125)
    return endpoints


def _add_flags(arguments: Arguments, endpoint: Endpoint) -> None:
    for flag, taken in (
        ("network-alias", endpoint.aliases),
        ("ip", endpoint.ip),
        ("ip6", endpoint.ip6),
        ("mac-address", endpoint.mac),
    ):
        if taken and arguments.given(flag):
            raise UsageError(f"--{flag} is given beside the same in --network", 125)
    endpoint.aliases = endpoint.aliases or arguments.many("network-alias")
    endpoint.ip = endpoint.ip or arguments.text("ip")
    endpoint.ip6 = endpoint.ip6 or arguments.text("ip6")
    endpoint.mac = endpoint.mac or arguments.text("mac-address")
    if _user_defined(endpoint.network):
        endpoint.links = arguments.many("link")
    endpoint.check()


def _resolver(value: str) -> str:
    if not is_ip(value):
        raise invalid("--dns", value, "the address of a resolver is needed")
    return value


def _search(value: str) -> str:
    if value != "." and not is_domain(value):
        raise invalid("--dns-search", value, "a domain is needed, or '.' for none")
    return value


def _extra_host(value: str) -> str:
    """`NAME:ADDRESS` of `NAME:ADDRESS` or `NAME=ADDRESS`."""
    name, separator, address = value.partition("=" if "=" in value else ":")
    if not separator or not name or ":" in name:
        raise invalid("--add-host", value, f"write NAME:ADDRESS or NAME:{_HOST_GATEWAY}")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if address != _HOST_GATEWAY and not is_ip(address):
        raise invalid("--add-host", value, f"'{address}' is no address and not '{_HOST_GATEWAY}'")
    return f"{name}:{address}"
