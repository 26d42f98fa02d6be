"""What the engine tells the network helper: the nouns of both. Addresses are text."""

import msgspec


class Subnet(msgspec.Struct, frozen=True):
    """A subnet of a network, of IPv4 or IPv6, in CIDR notation."""

    subnet: str
    gateway: str
    """The bridge's own address there, without a prefix."""


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """A bridge network."""

    id: str
    name: str
    bridge: str
    """The name of its interface."""
    subnets: list[Subnet]
    internal: bool = False
    """Nothing leads out of it or into it, neither packets nor names."""
    names: bool = True
    """Its containers find each other by name."""
    masquerade: bool = True
    mtu: int = 0
    """In bytes; 0 is that of the way out."""
    icc: bool = True
    """Its containers reach each other."""


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """A container's interface in a network."""

    network: Network
    interface: str
    """Its name in the container."""
    mac: str
    addresses: list[str]
    """Each with the length of its prefix: "172.18.0.2/16"."""
    default_route: bool = False
    names: list[str] = []
    """What others in the network call the container: its name, aliases, service, short id."""
    sysctls: dict[str, str] = {}
    """Kernel settings of the interface, by their paths below net."""


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """A port of a container that is to be reached at the host."""

    container_port: int
    protocol: str
    """"tcp" or "udp"."""
    host_ip: str = ""
    """Empty for all addresses, of IPv6 as well where the host has it."""
    host_port: int = 0
    """0 for any free one."""


class Sandbox(msgspec.Struct, frozen=True, kw_only=True):
    """The network of one running container, whole: what is not in it any more is taken away."""

    id: str
    pid: int
    """Its process, as the helper and the engine see it."""
    name: str
    attachments: list[Attachment] = []
    dns: list[str] = []
    """Whom names are forwarded to; the host's resolvers if empty."""
    ndots: bool = False
    """`ndots` was asked for: a name of one label that nobody here has is not forwarded."""
    hosts: dict[str, str] = {}
    """Further names that only this container sees, and their addresses."""
    publications: list[Publication] = []
    """As `NetworkClient.reserve` returned them."""
    egress: str | None = None
    """Rules of what it may reach (`wherry.egress`); None for no limits."""
