"""What the engine tells about networks: Docker's JSON documents, typed (Engine API 1.51)."""

import msgspec

from wherry.engine.networks.request import Ipam


class NetworkContainer(msgspec.Struct, kw_only=True):
    """A running container in a network. Addresses come with their prefix."""

    name: str = msgspec.field(name="Name")
    endpoint_id: str = msgspec.field(name="EndpointID")
    mac_address: str = msgspec.field(name="MacAddress")
    ipv4_address: str = msgspec.field(name="IPv4Address")
    ipv6_address: str = msgspec.field(name="IPv6Address")


class NetworkInspect(msgspec.Struct, kw_only=True, rename="pascal"):
    """`GET /networks/NAME`."""

    name: str
    id: str
    created: str
    scope: str = "local"
    driver: str
    enable_ipv4: bool = msgspec.field(name="EnableIPv4", default=True)
    enable_ipv6: bool = msgspec.field(name="EnableIPv6", default=False)
    ipam: Ipam = msgspec.field(name="IPAM")
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_from: dict[str, str] = msgspec.field(default_factory=lambda: {"Network": ""})
    config_only: bool = False
    containers: dict[str, NetworkContainer] = msgspec.field(default_factory=dict)
    """By their ids."""
    options: dict[str, str] = msgspec.field(default_factory=dict)
    labels: dict[str, str] = msgspec.field(default_factory=dict)


class NetworkCreated(msgspec.Struct, kw_only=True, rename="pascal"):
    """`POST /networks/create`."""

    id: str
    warning: str = ""


class NetworkPruneReport(msgspec.Struct, kw_only=True, rename="pascal"):
    """`POST /networks/prune`: names."""

    networks_deleted: list[str] | None
