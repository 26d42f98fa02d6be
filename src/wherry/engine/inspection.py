"""What the engine tells about containers and volumes: Docker's JSON documents, typed.

Field names in JSON are those of the Engine API 1.51. Times are RFC 3339 with nanoseconds in UTC.
"""

import msgspec
from msgspec import UNSET, UnsetType

from wherry.engine.config import ContainerConfig, EndpointAddresses, HostConfig, PortBinding
from wherry.engine.trust import Proof
from wherry.oci import Descriptor

NEVER = "0001-01-01T00:00:00Z"
"""How Docker writes a time that has not come yet."""


class HealthcheckResult(msgspec.Struct, kw_only=True, rename="pascal"):
    """One health check that was made. `exit_code` is -1 if there was none."""

    start: str
    end: str
    exit_code: int
    output: str


class Health(msgspec.Struct, kw_only=True, rename="pascal"):
    """What the health checks of a container's latest run have found."""

    status: str = "starting"
    """starting, healthy or unhealthy."""
    failing_streak: int = 0
    log: list[HealthcheckResult] = msgspec.field(default_factory=list)
    """The latest checks, oldest first."""


class ContainerState(msgspec.Struct, kw_only=True, rename="pascal"):
    """Where a container is in its life."""

    status: str = "created"
    """created, running, paused, restarting, removing, exited or dead."""
    running: bool = False
    paused: bool = False
    restarting: bool = False
    oom_killed: bool = msgspec.field(name="OOMKilled", default=False)
    dead: bool = False
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_at: str = NEVER
    finished_at: str = NEVER
    health: Health | UnsetType = UNSET
    """Absent where no health check is wanted."""


class MountPoint(msgspec.Struct, kw_only=True, rename="pascal"):
    """One mount of a container, as it was made."""

    type: str
    name: str | UnsetType = UNSET
    source: str = ""
    destination: str = ""
    driver: str | UnsetType = UNSET
    mode: str = ""
    rw: bool = msgspec.field(name="RW", default=True)
    propagation: str = ""


class EndpointSettings(msgspec.Struct, kw_only=True, rename="pascal"):
    """A container's place in a network; addresses while it runs."""

    ipam_config: EndpointAddresses | None = msgspec.field(name="IPAMConfig", default=None)
    links: list[str] | None = None
    aliases: list[str] | None = None
    mac_address: str = ""
    network_id: str = msgspec.field(name="NetworkID", default="")
    endpoint_id: str = msgspec.field(name="EndpointID", default="")
    gateway: str = ""
    ip_address: str = msgspec.field(name="IPAddress", default="")
    ip_prefix_len: int = msgspec.field(name="IPPrefixLen", default=0)
    ipv6_gateway: str = msgspec.field(name="IPv6Gateway", default="")
    global_ipv6_address: str = msgspec.field(name="GlobalIPv6Address", default="")
    global_ipv6_prefix_len: int = msgspec.field(name="GlobalIPv6PrefixLen", default=0)
    driver_opts: dict[str, str] | None = None
    gw_priority: int = 0
    dns_names: list[str] | None = msgspec.field(name="DNSNames", default=None)


class NetworkSettings(msgspec.Struct, kw_only=True, rename="pascal"):
    """Networks and published ports of a container; at the top, its place in `bridge` again."""

    bridge: str = ""
    sandbox_id: str = msgspec.field(name="SandboxID", default="")
    sandbox_key: str = ""
    """The path of its network namespace."""
    ports: dict[str, list[PortBinding] | None] = msgspec.field(default_factory=dict)
    """Bindings by port, like "80/tcp"; null of one that is only exposed."""
    hairpin_mode: bool = False
    link_local_ipv6_address: str = msgspec.field(name="LinkLocalIPv6Address", default="")
    link_local_ipv6_prefix_len: int = msgspec.field(name="LinkLocalIPv6PrefixLen", default=0)
    secondary_ip_addresses: None = msgspec.field(name="SecondaryIPAddresses", default=None)
    secondary_ipv6_addresses: None = msgspec.field(name="SecondaryIPv6Addresses", default=None)
    endpoint_id: str = msgspec.field(name="EndpointID", default="")
    gateway: str = ""
    global_ipv6_address: str = msgspec.field(name="GlobalIPv6Address", default="")
    global_ipv6_prefix_len: int = msgspec.field(name="GlobalIPv6PrefixLen", default=0)
    ip_address: str = msgspec.field(name="IPAddress", default="")
    ip_prefix_len: int = msgspec.field(name="IPPrefixLen", default=0)
    ipv6_gateway: str = msgspec.field(name="IPv6Gateway", default="")
    mac_address: str = ""
    networks: dict[str, EndpointSettings] = msgspec.field(default_factory=dict)


class GraphDriver(msgspec.Struct, kw_only=True, rename="pascal"):
    """How the root filesystem is put together."""

    name: str = "overlay2"
    data: dict[str, str] = msgspec.field(default_factory=dict)


class ContainerInspect(msgspec.Struct, kw_only=True, rename="pascal"):
    """`GET /containers/ID/json`."""

    id: str
    created: str
    path: str
    args: list[str]
    state: ContainerState
    image: str
    image_manifest_descriptor: Descriptor | UnsetType = UNSET
    """What ran, by digest, whatever its name stands for now."""
    signed_by: list[Proof] | UnsetType = UNSET
    """Whose signatures were asked for and found good; wherry's own."""
    resolv_conf_path: str
    hostname_path: str
    hosts_path: str
    log_path: str
    name: str
    restart_count: int
    driver: str
    platform: str
    platform_choice: str | UnsetType = UNSET
    """wherry's own: why it is this one of the image's platforms, if there was a choice."""
    mount_label: str = ""
    process_label: str = ""
    app_armor_profile: str = ""
    exec_ids: list[str] | None = msgspec.field(name="ExecIDs", default=None)
    host_config: HostConfig
    graph_driver: GraphDriver
    size_rw: int | UnsetType = UNSET
    size_root_fs: int | UnsetType = UNSET
    mounts: list[MountPoint]
    config: ContainerConfig
    network_settings: NetworkSettings


class SummaryHostConfig(msgspec.Struct, kw_only=True, rename="pascal"):
    """The part of the host configuration that `ps` shows."""

    network_mode: str
    annotations: dict[str, str] | UnsetType = UNSET


class SummaryNetworks(msgspec.Struct, kw_only=True, rename="pascal"):
    """The part of the network settings that `ps` shows."""

    networks: dict[str, EndpointSettings] = msgspec.field(default_factory=dict)


class PortSummary(msgspec.Struct, kw_only=True, rename="pascal"):
    """A port of a container as `ps` shows it; one that is only exposed is nowhere on the host."""

    ip: str | UnsetType = msgspec.field(name="IP", default=UNSET)
    private_port: int
    public_port: int | UnsetType = UNSET
    type: str


class ContainerSummary(msgspec.Struct, kw_only=True, rename="pascal"):
    """One entry of `GET /containers/json`. `created` is in seconds since the epoch."""

    id: str
    names: list[str]
    image: str
    image_id: str = msgspec.field(name="ImageID")
    image_manifest_descriptor: Descriptor | UnsetType = UNSET
    """What runs, by digest."""
    command: str
    created: int
    ports: list[PortSummary] = msgspec.field(default_factory=list)
    size_rw: int | UnsetType = UNSET
    size_root_fs: int | UnsetType = UNSET
    labels: dict[str, str]
    state: str
    status: str
    host_config: SummaryHostConfig
    network_settings: SummaryNetworks
    mounts: list[MountPoint]


class CreateResult(msgspec.Struct, kw_only=True, rename="pascal"):
    """`POST /containers/create`."""

    id: str
    warnings: list[str]


class WaitError(msgspec.Struct, kw_only=True, rename="pascal"):
    """Why a wait could not end as it should."""

    message: str


class WaitResult(msgspec.Struct, kw_only=True, rename="pascal"):
    """`POST /containers/ID/wait`."""

    status_code: int
    error: WaitError | UnsetType = UNSET


class Top(msgspec.Struct, kw_only=True, rename="pascal"):
    """`GET /containers/ID/top`."""

    titles: list[str]
    processes: list[list[str]]


class Change(msgspec.Struct, kw_only=True, rename="pascal"):
    """One entry of `GET /containers/ID/changes`: kind 0 modified, 1 added, 2 deleted."""

    path: str
    kind: int


class PruneReport(msgspec.Struct, kw_only=True, rename="pascal"):
    """`POST /containers/prune`. `space_reclaimed` is in bytes."""

    containers_deleted: list[str]
    space_reclaimed: int


class UpdateResult(msgspec.Struct, kw_only=True, rename="pascal"):
    """`POST /containers/ID/update`."""

    warnings: list[str]


class VolumeUsage(msgspec.Struct, kw_only=True, rename="pascal"):
    """How much a volume holds, in bytes, and how many containers name it; -1 is not counted."""

    size: int = -1
    ref_count: int = -1


class Volume(msgspec.Struct, kw_only=True, rename="pascal"):
    """`GET /volumes/NAME`."""

    name: str
    driver: str = "local"
    mountpoint: str
    created_at: str
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    scope: str = "local"
    options: dict[str, str] = msgspec.field(default_factory=dict)
    usage_data: VolumeUsage | UnsetType = UNSET


class VolumePruneReport(msgspec.Struct, kw_only=True, rename="pascal"):
    """`POST /volumes/prune`. `space_reclaimed` is in bytes."""

    volumes_deleted: list[str]
    space_reclaimed: int
