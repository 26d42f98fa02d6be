"""What is kept of each container and network, as it stands in the engine's file."""

import msgspec
from msgspec import UNSET

from wherry.engine.config import ContainerConfig, EndpointConfig, HostConfig
from wherry.engine.inspection import ContainerState, MountPoint
from wherry.engine.trust import Admission
from wherry.network import Publication
from wherry.oci import Descriptor, parse_platform


class Mounted(msgspec.Struct, kw_only=True):
    """One mount of a container."""

    type: str
    """bind, volume, tmpfs or image."""
    destination: str
    source: str = ""
    """Of a bind: the path on the host."""
    name: str = ""
    """Of a volume; empty until it has been made. Of an image: as it was asked for."""
    read_only: bool = False
    mode: str = ""
    propagation: str = ""
    recursive: bool = True
    create_source: bool = False
    """Of a bind: a missing source is made, as a folder."""
    copy: bool = True
    """Of a volume: an empty one gets what the image has at the destination."""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    subpath: str = ""
    """Of a volume or image: what of it is mounted."""
    options: list[str] = msgspec.field(default_factory=list)
    """Of a tmpfs."""
    image: str = ""
    """Of an image: its id."""
    layers: list[str] = msgspec.field(default_factory=list)
    """Of an image: its layers as folders, topmost first."""

    def point(self, source: str) -> MountPoint:
        """As inspect shows it; `source` is where on the host."""
        is_volume = self.type == "volume"
        return MountPoint(
            type=self.type,
            name=self.name if self.type in ("volume", "image") else UNSET,
            source=source,
            destination=self.destination,
            driver="local" if is_volume else UNSET,
            mode=self.mode,
            rw=not self.read_only,
            propagation=self.propagation,
        )


class Record(msgspec.Struct, kw_only=True):
    """What a container is; it seldom changes. `created` is in nanoseconds since the epoch."""

    id: str
    name: str
    created: int
    config: ContainerConfig
    host: HostConfig
    image_id: str
    manifest: Descriptor | None = None
    """Of the image; None of containers that older releases made."""
    admissions: list[Admission] = msgspec.field(default_factory=list)
    """Of the image and then of mounted ones; none of containers that older releases made."""
    platform: str
    choice: str = ""
    """Why it is this one of the image's platforms, if there was a choice."""
    args: list[str]
    """The whole command line: entrypoint and command."""
    layers: list[str]
    """The image's layers as folders, topmost first."""
    mounts: list[Mounted]
    user: tuple[int, int] = (0, 0)
    groups: list[int] = msgspec.field(default_factory=list)
    home: str = "/"
    networks: dict[str, EndpointConfig] = msgspec.field(default_factory=dict)
    """What it asks for in each network that it is in, by the networks' names."""

    @property
    def is_wasm(self) -> bool:
        """Whether it is for Wasm, and not for Linux."""
        return parse_platform(self.platform).is_wasm

    @property
    def images(self) -> set[str]:
        """The ids of the images that it needs: its own, and those that are mounted."""
        return {self.image_id, *(mount.image for mount in self.mounts if mount.image)}

    @property
    def folders(self) -> set[str]:
        """The layers that it needs, as folders."""
        return {*self.layers, *(layer for mount in self.mounts for layer in mount.layers)}


class Endpoint(msgspec.Struct, kw_only=True):
    """A running container's place in a network. Addresses come with their prefix, or are empty."""

    id: str
    network: str
    """The network's id."""
    interface: str = ""
    mac: str = ""
    ipv4: str = ""
    ipv6: str = ""


class Plugged(msgspec.Struct, kw_only=True):
    """What a running container has of networks."""

    sandbox: str
    """Docker's id of its network namespace: 64 hexadecimal digits."""
    endpoints: dict[str, Endpoint] = msgspec.field(default_factory=dict)
    """By the names of the networks."""
    published: list[Publication] = msgspec.field(default_factory=list)
    """Its ports as they appear on the host."""


class Life(msgspec.Struct, kw_only=True):
    """How a container is; it changes often."""

    state: ContainerState = msgspec.field(default_factory=ContainerState)
    restart_count: int = 0
    stopped_by_hand: bool = False
    """A person ended it: no restart policy starts it again, until the machine itself restarts."""
    plugged: Plugged | None = None
    """While it runs, or is about to; only if its program could use a network."""


class AddressPool(msgspec.Struct, kw_only=True):
    """A subnet of a network, and what may be given to containers of it."""

    subnet: str
    gateway: str
    ip_range: str = ""
    """The part of the subnet that addresses are taken from; empty is all of it."""
    auxiliary: dict[str, str] = msgspec.field(default_factory=dict)
    """Addresses that are somebody else's, by their names."""


class NetworkRecord(msgspec.Struct, kw_only=True):
    """What a network is. `created` is in nanoseconds since the epoch."""

    id: str
    name: str
    created: int
    driver: str
    """bridge, host or null."""
    pools: list[AddressPool] = msgspec.field(default_factory=list)
    chosen: bool = True
    """The subnets are of the engine's choice; addresses in them cannot be asked for."""
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    options: dict[str, str] = msgspec.field(default_factory=dict)
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    ipam_options: dict[str, str] | None = None
    made: bool = False
    """It has had a container, so that there may be a bridge."""
