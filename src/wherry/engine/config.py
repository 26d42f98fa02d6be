"""What a container is to be: the bodies of Docker's create and update calls, typed.

The same structs are kept in the engine's state and come out of `inspect`. Field names in JSON are
Docker's (Engine API 1.51). Sizes are bytes, durations nanoseconds unless said otherwise. Fields
that wherry does not act on are ignored when read.
"""

from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from wherry.engine.errors import InvalidRequest
from wherry.oci import Healthcheck

T = TypeVar("T")

MAX_CREATE_BODY = 4 << 20
"""Bytes of a create request."""


class ContainerConfig(msgspec.Struct, kw_only=True, rename="pascal"):
    """What does not depend on the host: command, environment, labels."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, Any] | UnsetType = UNSET
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] | None = None
    cmd: list[str] | None = None
    healthcheck: Healthcheck | UnsetType = UNSET
    image: str = ""
    volumes: dict[str, Any] | None = None
    working_dir: str = ""
    entrypoint: list[str] | None = None
    network_disabled: bool | UnsetType = UNSET
    on_build: list[str] | None = None
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    stop_signal: str | UnsetType = UNSET
    stop_timeout: int | UnsetType = UNSET
    """Seconds; -1 waits for ever."""
    shell: list[str] | UnsetType = UNSET
    mac_address: str | UnsetType = UNSET
    """Of the first network; newer clients say it in `EndpointConfig`."""


class RestartPolicy(msgspec.Struct, kw_only=True, rename="pascal"):
    """When a container that ended is started again."""

    name: str = ""
    """"", "no", "always", "unless-stopped" or "on-failure"."""
    maximum_retry_count: int = 0


class Ulimit(msgspec.Struct, kw_only=True, rename="pascal"):
    """A resource limit by its short name: `nofile`."""

    name: str
    hard: int
    soft: int


class LogConfig(msgspec.Struct, kw_only=True, rename="pascal"):
    """Docker's choice of logging driver; wherry has one and calls it by Docker's default name."""

    type: str = "json-file"
    config: dict[str, str] = msgspec.field(default_factory=dict)


class BindOptions(msgspec.Struct, kw_only=True, rename="pascal", omit_defaults=True):
    """`--mount type=bind` details."""

    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False


class DriverConfig(msgspec.Struct, kw_only=True, rename="pascal", omit_defaults=True):
    """A volume's driver."""

    name: str = ""
    options: dict[str, str] | None = None


class VolumeOptions(msgspec.Struct, kw_only=True, rename="pascal", omit_defaults=True):
    """`--mount type=volume` details."""

    no_copy: bool = False
    labels: dict[str, str] | None = None
    driver_config: DriverConfig | None = None
    subpath: str = ""


class TmpfsOptions(msgspec.Struct, kw_only=True, rename="pascal", omit_defaults=True):
    """`--mount type=tmpfs` details. Each of `options` is a name, or a name and a value."""

    size_bytes: int = 0
    mode: int = 0
    options: list[list[str]] | None = None


class ImageOptions(msgspec.Struct, kw_only=True, rename="pascal", omit_defaults=True):
    """`--mount type=image` details."""

    subpath: str = ""


class MountRequest(msgspec.Struct, kw_only=True, rename="pascal", omit_defaults=True):
    """One `--mount`."""

    type: str
    target: str
    source: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    tmpfs_options: TmpfsOptions | None = None
    image_options: ImageOptions | None = None


class PortBinding(msgspec.Struct, kw_only=True, rename="pascal"):
    """Where on the host a port of the container appears."""

    host_ip: str = ""
    host_port: str = ""


class DeviceMapping(msgspec.Struct, kw_only=True, rename="pascal"):
    """A device of the host that a Linux program is given; permissions are of r, w and m."""

    path_on_host: str
    path_in_container: str = ""
    cgroup_permissions: str = "rwm"


class HostConfig(msgspec.Struct, kw_only=True, rename="pascal"):
    """What depends on the host: mounts, limits, restart policy."""

    binds: list[str] | None = None
    container_id_file: str = msgspec.field(name="ContainerIDFile", default="")
    log_config: LogConfig = msgspec.field(default_factory=LogConfig)
    network_mode: str = "default"
    port_bindings: dict[str, list[PortBinding] | None] = msgspec.field(default_factory=dict)
    restart_policy: RestartPolicy = msgspec.field(default_factory=RestartPolicy)
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] | None = None
    console_size: tuple[int, int] = (0, 0)
    """Rows and columns."""
    annotations: dict[str, str] | UnsetType = UNSET
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    devices: list[DeviceMapping] | None = None
    device_requests: list[Any] | None = None
    """Of drivers, like --gpus: there are none here."""
    cgroupns_mode: str = "private"
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: str = "private"
    links: list[str] | None = None
    oom_score_adj: int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    uts_mode: str = msgspec.field(name="UTSMode", default="")
    userns_mode: str = ""
    shm_size: int = 64 << 20
    sysctls: dict[str, str] | UnsetType = UNSET
    runtime: str = ""
    cpu_shares: int = 0
    memory: int = 0
    nano_cpus: int = 0
    cgroup_parent: str = ""
    cpu_period: int = 0
    """Microseconds, as the two next."""
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    memory_reservation: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool | None = None
    pids_limit: int | None = None
    ulimits: list[Ulimit] | None = None
    mounts: list[MountRequest] | UnsetType = UNSET
    tmpfs: dict[str, str] | UnsetType = UNSET
    init: bool | UnsetType = UNSET
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None


class EndpointAddresses(msgspec.Struct, kw_only=True, rename="pascal", omit_defaults=True):
    """The addresses that were asked for in a network; empty is any."""

    ipv4_address: str = msgspec.field(name="IPv4Address", default="")
    ipv6_address: str = msgspec.field(name="IPv6Address", default="")


class EndpointConfig(msgspec.Struct, kw_only=True, rename="pascal"):
    """What was asked for in one network: Docker's EndpointSettings, without what it answers."""

    ipam_config: EndpointAddresses | None = msgspec.field(name="IPAMConfig", default=None)
    links: list[str] | None = None
    aliases: list[str] | None = None
    mac_address: str = ""
    driver_opts: dict[str, str] | None = None
    gw_priority: int = 0
    """The network with the highest leads out; of several with the same, the first by name."""


class NetworkingConfig(msgspec.Struct, kw_only=True, rename="pascal"):
    """The networks that a container joins when it is made, by name or id."""

    endpoints_config: dict[str, EndpointConfig] = msgspec.field(default_factory=dict)


class UpdateConfig(msgspec.Struct, kw_only=True, rename="pascal"):
    """What `update` may change of a container; a field left out stays as it is."""

    memory: int = 0
    memory_reservation: int = 0
    memory_swap: int = 0
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int | None = None
    restart_policy: RestartPolicy | None = None


class _CreateBody(ContainerConfig, kw_only=True, rename="pascal"):
    host_config: HostConfig = msgspec.field(default_factory=HostConfig)
    networking_config: NetworkingConfig = msgspec.field(default_factory=NetworkingConfig)


_CONFIG_FIELDS = ContainerConfig.__struct_fields__


def decode_create(body: bytes) -> tuple[ContainerConfig, HostConfig, NetworkingConfig]:
    """Decode the body of `POST /containers/create`.

    As Docker does, takes null for "not given" and a string where a command is a list of one.
    Raises InvalidRequest.
    """
    raw = _decode(body)
    for field in ("Cmd", "Entrypoint", "Shell"):
        if isinstance(raw.get(field), str):
            raw[field] = [raw[field]]
    decoded = _convert(raw, _CreateBody)
    config = ContainerConfig(**{name: getattr(decoded, name) for name in _CONFIG_FIELDS})
    return config, decoded.host_config, decoded.networking_config


def decode_update(body: bytes) -> UpdateConfig:
    """Decode the body of `POST /containers/ID/update`. Raises InvalidRequest."""
    return decode_body(body, UpdateConfig)


def decode_body(body: bytes, kind: type[T]) -> T:
    """Decode the body of a call, in which null is "not given". Raises InvalidRequest."""
    return _convert(_decode(body), kind)


def _decode(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_CREATE_BODY:
        raise InvalidRequest(f"the request is {len(body)} bytes, more than {MAX_CREATE_BODY}")
    try:
        raw = _without_nulls(msgspec.json.decode(body or b"{}"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the request is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise InvalidRequest("the request is not a JSON object")
    return raw


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            # A network of which nothing is said is to be joined all the same.
            key: _without_nulls(_nothing_said(item) if key == "EndpointsConfig" else item)
            for key, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _nothing_said(endpoints: Any) -> Any:
    if not isinstance(endpoints, dict):
        return endpoints
    return {name: {} if item is None else item for name, item in endpoints.items()}


def _convert(raw: dict[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"invalid request: {error}") from None
