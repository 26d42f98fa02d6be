"""Ports of a container: those it exposes, and those that people want on the host.

`80/tcp` is a port, `7000-7010/udp` a range of them; on the host an empty port or 0 is any free one,
a range the first that is free in it, an empty address all of the host's.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple

from wherry.engine.config import ContainerConfig, HostConfig
from wherry.engine.errors import InvalidRequest
from wherry.ports import parse_range

_PROTOCOLS = frozenset({"tcp", "udp", "sctp"})
_MOST = 4096
"""Ports of one container."""


class Port(NamedTuple):
    """A port of a container."""

    number: int
    protocol: str

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"


class Wish(NamedTuple):
    """A port of a container that is wanted on the host: at one of `first` to `last`.

    Both are 0 for any free one. `host_ip` is empty for all addresses.
    """

    port: Port
    host_ip: str
    first: int
    last: int


def exposed_ports(config: ContainerConfig, host: HostConfig) -> list[Port]:
    """Exposed and published ports, by number. Raises InvalidRequest."""
    return sorted({*_exposed(config), *_bound(host)})


def wished_ports(config: ContainerConfig, host: HostConfig) -> list[Wish]:
    """What is to be published. Raises InvalidRequest."""
    wishes = []
    for key, bindings in host.port_bindings.items():
        for port in parse_ports(key):
            if port.protocol == "sctp" and bindings:
                raise InvalidRequest(f"cannot publish {port}: only TCP and UDP ports can be")
            for binding in bindings or ():
                any_free = binding.host_port in ("", "0")
                on_host = range(1) if any_free else _range(binding.host_port)
                wishes.append(Wish(port, _address(binding.host_ip), on_host[0], on_host[-1]))
    if host.publish_all_ports:
        asked = {wish.port for wish in wishes}
        wishes += [
            Wish(port, "", 0, 0)
            for port in exposed_ports(config, host)
            if port not in asked and port.protocol != "sctp"
        ]
    if len(wishes) > _MOST:
        raise InvalidRequest(f"a container can publish {_MOST} ports, not {len(wishes)}")
    return sorted(wishes)


def parse_ports(text: str) -> list[Port]:
    """`80`, `80/tcp`, `80-89/udp`. Raises InvalidRequest."""
    numbers, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in _PROTOCOLS:
        raise InvalidRequest(f"invalid proto: {protocol[:20]!r} of port {text[:80]!r}")
    return [Port(number, protocol) for number in _range(numbers)]


def _exposed(config: ContainerConfig) -> Iterator[Port]:
    for key in config.exposed_ports or ():
        yield from parse_ports(key)


def _bound(host: HostConfig) -> Iterator[Port]:
    for key in host.port_bindings:
        yield from parse_ports(key)


def _range(text: str) -> range:
    try:
        ports = parse_range(text)
    except ValueError:
        raise InvalidRequest(f"invalid port specification: {text[:80]!r}") from None
    if len(ports) > _MOST:
        raise InvalidRequest(f"invalid port specification: {text!r}: more than {_MOST} ports")
    return ports


def _address(text: str) -> str:
    try:
        return str(ip_address(text)) if text else ""
    except ValueError:
        raise InvalidRequest(f"invalid host address of a port: {text[:80]!r}") from None
