"""What a kubelet and a container runtime say to each other: the CRI's runtime.v1, as far as used.

Field numbers are those of Kubernetes' CRI API. Encoded by the shim's own module, which
tests/shim/test_protobuf.py holds to google.protobuf's results.
"""

from collections.abc import Mapping, Sequence

from wherry.shim.protobuf import (
    Message,
    boolean,
    data,
    embedded,
    messages,
    sint,
    string,
    strings,
    text_map,
    uint,
    uint64,
    uint64s,
)

RUNTIME_SERVICE = "runtime.v1.RuntimeService"
IMAGE_SERVICE = "runtime.v1.ImageService"

POD, CONTAINER, NODE, TARGET = range(4)
"""NamespaceMode: whose namespace a container uses."""

READY, NOT_READY = range(2)
"""PodSandboxState."""

CREATED, RUNNING, EXITED, UNKNOWN = range(4)
"""ContainerState."""

RUNTIME_DEFAULT, UNCONFINED, LOCALHOST = range(3)
"""ProfileType of a SecurityProfile."""


class Int64(Message):
    value: int = sint(1)


class UInt64(Message):
    value: int = uint64(1)


class VersionRequest(Message):
    version: str = string(1)


class VersionResponse(Message):
    version: str = string(1)
    runtime_name: str = string(2)
    runtime_version: str = string(3)
    runtime_api_version: str = string(4)


class StatusRequest(Message):
    verbose: bool = boolean(1)


class RuntimeCondition(Message):
    type: str = string(1)
    status: bool = boolean(2)
    reason: str = string(3)
    message: str = string(4)


class RuntimeStatus(Message):
    conditions: Sequence[RuntimeCondition] = messages(1, RuntimeCondition)


class StatusResponse(Message):
    status: RuntimeStatus | None = embedded(1, RuntimeStatus)
    info: Mapping[str, str] = text_map(2)


class DNSConfig(Message):
    servers: Sequence[str] = strings(1)
    searches: Sequence[str] = strings(2)
    options: Sequence[str] = strings(3)


class PortMapping(Message):
    protocol: int = sint(1)
    container_port: int = sint(2)
    host_port: int = sint(3)
    host_ip: str = string(4)


class NamespaceOption(Message):
    network: int = sint(1)
    pid: int = sint(2)
    ipc: int = sint(3)
    target_id: str = string(4)


class SecurityProfile(Message):
    profile_type: int = sint(1)
    localhost_ref: str = string(2)


class LinuxSandboxSecurityContext(Message):
    namespace_options: NamespaceOption | None = embedded(1, NamespaceOption)
    run_as_user: Int64 | None = embedded(3, Int64)
    readonly_rootfs: bool = boolean(4)
    privileged: bool = boolean(6)
    seccomp: SecurityProfile | None = embedded(9, SecurityProfile)
    apparmor: SecurityProfile | None = embedded(10, SecurityProfile)


class LinuxContainerResources(Message):
    """Microseconds and bytes."""

    cpu_period: int = sint(1)
    cpu_quota: int = sint(2)
    cpu_shares: int = sint(3)
    memory_limit_in_bytes: int = sint(4)
    oom_score_adj: int = sint(5)


class LinuxPodSandboxConfig(Message):
    cgroup_parent: str = string(1)
    security_context: LinuxSandboxSecurityContext | None = embedded(2, LinuxSandboxSecurityContext)
    sysctls: Mapping[str, str] = text_map(3)
    overhead: LinuxContainerResources | None = embedded(4, LinuxContainerResources)
    resources: LinuxContainerResources | None = embedded(5, LinuxContainerResources)


class PodSandboxMetadata(Message):
    name: str = string(1)
    uid: str = string(2)
    namespace: str = string(3)
    attempt: int = uint(4)


class PodSandboxConfig(Message):
    metadata: PodSandboxMetadata | None = embedded(1, PodSandboxMetadata)
    hostname: str = string(2)
    log_directory: str = string(3)
    dns_config: DNSConfig | None = embedded(4, DNSConfig)
    port_mappings: Sequence[PortMapping] = messages(5, PortMapping)
    labels: Mapping[str, str] = text_map(6)
    annotations: Mapping[str, str] = text_map(7)
    linux: LinuxPodSandboxConfig | None = embedded(8, LinuxPodSandboxConfig)


class RunPodSandboxRequest(Message):
    config: PodSandboxConfig | None = embedded(1, PodSandboxConfig)
    runtime_handler: str = string(2)


class PodSandboxId(Message):
    """Requests and answers that are nothing but a pod's id; PodSandboxStatus has `verbose` too."""

    pod_sandbox_id: str = string(1)
    verbose: bool = boolean(2)


class PodSandboxNetworkStatus(Message):
    ip: str = string(1)


class PodSandboxStatus(Message):
    id: str = string(1)
    metadata: PodSandboxMetadata | None = embedded(2, PodSandboxMetadata)
    state: int = sint(3)
    created_at: int = sint(4)
    network: PodSandboxNetworkStatus | None = embedded(5, PodSandboxNetworkStatus)
    labels: Mapping[str, str] = text_map(7)
    annotations: Mapping[str, str] = text_map(8)
    runtime_handler: str = string(9)


class PodSandboxStatusResponse(Message):
    status: PodSandboxStatus | None = embedded(1, PodSandboxStatus)
    info: Mapping[str, str] = text_map(2)


class PodSandboxFilter(Message):
    id: str = string(1)
    label_selector: Mapping[str, str] = text_map(3)


class ListPodSandboxRequest(Message):
    filter: PodSandboxFilter | None = embedded(1, PodSandboxFilter)


class PodSandbox(Message):
    id: str = string(1)
    metadata: PodSandboxMetadata | None = embedded(2, PodSandboxMetadata)
    state: int = sint(3)
    created_at: int = sint(4)
    labels: Mapping[str, str] = text_map(5)
    runtime_handler: str = string(7)


class ListPodSandboxResponse(Message):
    items: Sequence[PodSandbox] = messages(1, PodSandbox)


class ImageSpec(Message):
    image: str = string(1)
    annotations: Mapping[str, str] = text_map(2)
    user_specified_image: str = string(18)
    runtime_handler: str = string(19)


class KeyValue(Message):
    key: str = string(1)
    value: bytes = data(2)


class Mount(Message):
    container_path: str = string(1)
    host_path: str = string(2)
    readonly: bool = boolean(3)
    propagation: int = sint(5)


class Capability(Message):
    add_capabilities: Sequence[str] = strings(1)
    drop_capabilities: Sequence[str] = strings(2)


class LinuxContainerSecurityContext(Message):
    capabilities: Capability | None = embedded(1, Capability)
    privileged: bool = boolean(2)
    namespace_options: NamespaceOption | None = embedded(3, NamespaceOption)
    run_as_user: Int64 | None = embedded(5, Int64)
    run_as_group: Int64 | None = embedded(12, Int64)
    readonly_rootfs: bool = boolean(7)
    no_new_privs: bool = boolean(11)
    masked_paths: Sequence[str] = strings(13)
    readonly_paths: Sequence[str] = strings(14)
    seccomp: SecurityProfile | None = embedded(15, SecurityProfile)
    apparmor: SecurityProfile | None = embedded(16, SecurityProfile)
    apparmor_profile: str = string(9)


class LinuxContainerConfig(Message):
    resources: LinuxContainerResources | None = embedded(1, LinuxContainerResources)
    security_context: LinuxContainerSecurityContext | None = embedded(
        2, LinuxContainerSecurityContext
    )


class ContainerMetadata(Message):
    name: str = string(1)
    attempt: int = uint(2)


class ContainerConfig(Message):
    metadata: ContainerMetadata | None = embedded(1, ContainerMetadata)
    image: ImageSpec | None = embedded(2, ImageSpec)
    command: Sequence[str] = strings(3)
    args: Sequence[str] = strings(4)
    working_dir: str = string(5)
    envs: Sequence[KeyValue] = messages(6, KeyValue)
    mounts: Sequence[Mount] = messages(7, Mount)
    labels: Mapping[str, str] = text_map(9)
    annotations: Mapping[str, str] = text_map(10)
    log_path: str = string(11)
    stdin: bool = boolean(12)
    stdin_once: bool = boolean(13)
    tty: bool = boolean(14)
    linux: LinuxContainerConfig | None = embedded(15, LinuxContainerConfig)


class CreateContainerRequest(Message):
    pod_sandbox_id: str = string(1)
    config: ContainerConfig | None = embedded(2, ContainerConfig)
    sandbox_config: PodSandboxConfig | None = embedded(3, PodSandboxConfig)


class ContainerId(Message):
    """Requests and answers that are nothing but a container's id."""

    container_id: str = string(1)


class StopContainerRequest(Message):
    container_id: str = string(1)
    timeout: int = sint(2)
    """Seconds."""


class ContainerFilter(Message):
    id: str = string(1)
    pod_sandbox_id: str = string(3)


class ListContainersRequest(Message):
    filter: ContainerFilter | None = embedded(1, ContainerFilter)


class Container(Message):
    id: str = string(1)
    pod_sandbox_id: str = string(2)
    metadata: ContainerMetadata | None = embedded(3, ContainerMetadata)
    state: int = sint(6)


class ListContainersResponse(Message):
    containers: Sequence[Container] = messages(1, Container)


class ContainerStatusRequest(Message):
    container_id: str = string(1)
    verbose: bool = boolean(2)


class ContainerStatus(Message):
    """Times are nanoseconds since the epoch."""

    id: str = string(1)
    metadata: ContainerMetadata | None = embedded(2, ContainerMetadata)
    state: int = sint(3)
    created_at: int = sint(4)
    started_at: int = sint(5)
    finished_at: int = sint(6)
    exit_code: int = sint(7)
    image: ImageSpec | None = embedded(8, ImageSpec)
    reason: str = string(10)
    message: str = string(11)
    labels: Mapping[str, str] = text_map(12)
    log_path: str = string(15)


class ContainerStatusResponse(Message):
    status: ContainerStatus | None = embedded(1, ContainerStatus)
    info: Mapping[str, str] = text_map(2)


class UpdateContainerResourcesRequest(Message):
    container_id: str = string(1)
    linux: LinuxContainerResources | None = embedded(2, LinuxContainerResources)


class ExecSyncRequest(Message):
    container_id: str = string(1)
    cmd: Sequence[str] = strings(2)
    timeout: int = sint(3)
    """Seconds."""


class ExecSyncResponse(Message):
    stdout: bytes = data(1)
    stderr: bytes = data(2)
    exit_code: int = sint(3)


class ExecRequest(Message):
    container_id: str = string(1)
    cmd: Sequence[str] = strings(2)
    tty: bool = boolean(3)
    stdin: bool = boolean(4)
    stdout: bool = boolean(5)
    stderr: bool = boolean(6)


class AttachRequest(Message):
    container_id: str = string(1)
    stdin: bool = boolean(2)
    tty: bool = boolean(3)
    stdout: bool = boolean(4)
    stderr: bool = boolean(5)


class StreamAddress(Message):
    """Where a stream is served: the answer of Exec, Attach and PortForward."""

    url: str = string(1)


class PortForwardRequest(Message):
    pod_sandbox_id: str = string(1)
    port: Sequence[int] = uint64s(2)


class CpuUsage(Message):
    timestamp: int = sint(1)
    usage_core_nano_seconds: UInt64 | None = embedded(2, UInt64)


class MemoryUsage(Message):
    timestamp: int = sint(1)
    working_set_bytes: UInt64 | None = embedded(2, UInt64)
    usage_bytes: UInt64 | None = embedded(4, UInt64)


class ContainerAttributes(Message):
    id: str = string(1)
    metadata: ContainerMetadata | None = embedded(2, ContainerMetadata)


class ContainerStats(Message):
    attributes: ContainerAttributes | None = embedded(1, ContainerAttributes)
    cpu: CpuUsage | None = embedded(2, CpuUsage)
    memory: MemoryUsage | None = embedded(3, MemoryUsage)


class ContainerStatsResponse(Message):
    stats: ContainerStats | None = embedded(1, ContainerStats)


class ContainerStatsFilter(Message):
    id: str = string(1)
    pod_sandbox_id: str = string(2)


class ListContainerStatsRequest(Message):
    filter: ContainerStatsFilter | None = embedded(1, ContainerStatsFilter)


class ListContainerStatsResponse(Message):
    stats: Sequence[ContainerStats] = messages(1, ContainerStats)


class PodSandboxAttributes(Message):
    id: str = string(1)
    metadata: PodSandboxMetadata | None = embedded(2, PodSandboxMetadata)


class NetworkInterfaceUsage(Message):
    name: str = string(1)
    rx_bytes: UInt64 | None = embedded(2, UInt64)


class NetworkUsage(Message):
    timestamp: int = sint(1)
    default_interface: NetworkInterfaceUsage | None = embedded(2, NetworkInterfaceUsage)


class ProcessUsage(Message):
    timestamp: int = sint(1)
    process_count: UInt64 | None = embedded(2, UInt64)


class LinuxPodSandboxStats(Message):
    cpu: CpuUsage | None = embedded(1, CpuUsage)
    memory: MemoryUsage | None = embedded(2, MemoryUsage)
    network: NetworkUsage | None = embedded(3, NetworkUsage)
    process: ProcessUsage | None = embedded(4, ProcessUsage)
    containers: Sequence[ContainerStats] = messages(5, ContainerStats)


class PodSandboxStats(Message):
    attributes: PodSandboxAttributes | None = embedded(1, PodSandboxAttributes)
    linux: LinuxPodSandboxStats | None = embedded(2, LinuxPodSandboxStats)


class PodSandboxStatsResponse(Message):
    stats: PodSandboxStats | None = embedded(1, PodSandboxStats)


class Image(Message):
    id: str = string(1)
    repo_tags: Sequence[str] = strings(2)
    size: int = uint64(4)
    pinned: bool = boolean(8)


class ImageStatusRequest(Message):
    image: ImageSpec | None = embedded(1, ImageSpec)


class ImageStatusResponse(Message):
    image: Image | None = embedded(1, Image)


class PullImageRequest(Message):
    image: ImageSpec | None = embedded(1, ImageSpec)
    sandbox_config: PodSandboxConfig | None = embedded(3, PodSandboxConfig)


class PullImageResponse(Message):
    image_ref: str = string(1)
