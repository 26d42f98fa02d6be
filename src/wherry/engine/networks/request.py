"""What a client asks a network to be: the body of `POST /networks/create` (Engine API 1.51)."""

import msgspec

from wherry.engine.config import EndpointConfig, decode_body


class IpamConfig(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One subnet, and what is to be taken from it."""

    subnet: str = msgspec.field(name="Subnet", default="")
    ip_range: str = msgspec.field(name="IPRange", default="")
    gateway: str = msgspec.field(name="Gateway", default="")
    auxiliary: dict[str, str] = msgspec.field(name="AuxiliaryAddresses", default_factory=dict)


class Ipam(msgspec.Struct, kw_only=True, rename="pascal"):
    """How addresses are given out."""

    driver: str = ""
    options: dict[str, str] | None = None
    config: list[IpamConfig] = msgspec.field(default_factory=list)


class NetworkRequest(msgspec.Struct, kw_only=True, rename="pascal"):
    """A network as it is asked for."""

    name: str = ""
    driver: str = ""
    scope: str = ""
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    enable_ipv4: bool = msgspec.field(name="EnableIPv4", default=True)
    enable_ipv6: bool = msgspec.field(name="EnableIPv6", default=False)
    ipam: Ipam = msgspec.field(name="IPAM", default_factory=Ipam)
    options: dict[str, str] = msgspec.field(default_factory=dict)
    labels: dict[str, str] = msgspec.field(default_factory=dict)


class ConnectRequest(msgspec.Struct, kw_only=True, rename="pascal"):
    """The body of `POST /networks/NAME/connect`."""

    container: str = ""
    endpoint_config: EndpointConfig = msgspec.field(default_factory=EndpointConfig)


class DisconnectRequest(msgspec.Struct, kw_only=True, rename="pascal"):
    """The body of `POST /networks/NAME/disconnect`."""

    container: str = ""
    force: bool = False


def decode_network(body: bytes) -> NetworkRequest:
    """Raises InvalidRequest."""
    return decode_body(body, NetworkRequest)


def decode_connect(body: bytes) -> ConnectRequest:
    """Raises InvalidRequest."""
    return decode_body(body, ConnectRequest)


def decode_disconnect(body: bytes) -> DisconnectRequest:
    """Raises InvalidRequest."""
    return decode_body(body, DisconnectRequest)
