"""A Linux container's sandbox as a bundle describes it: Docker's, which runc or crun carries out.

Mounts, masked and read-only paths, devices, namespaces and system calls (OCI config-linux.md).
"""

from collections.abc import Sequence

from msgspec.structs import replace

from wherry.engine import cgroups
from wherry.engine.config import DeviceMapping
from wherry.engine.linux.devices import Device, DeviceRule, all_devices, find_devices
from wherry.engine.linux.profile import read_profile
from wherry.engine.linux.seccomp import Seccomp, default_profile
from wherry.engine.linux.security import UNCONFINED, Security
from wherry.engine.privileges import maps_id, maps_ids
from wherry.oci import runtime as oci

MASKED_PATHS = [
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
    "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
    "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
]  # fmt: skip
"""What tells of, or through which one learns of, other containers and the host: shown empty."""

READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
"""What sets the host's kernel."""

_HARDENED = ["nosuid", "noexec", "nodev"]
_TTY_GROUP = 5
_OWN_NETWORK = {"net.ipv4.ip_unprivileged_port_start": "0"}
"""Ports belong to the container alone, so anybody in it may have them (Docker since 20.10)."""


class LinuxResources(oci.Resources, kw_only=True, rename="camel", omit_defaults=True):
    """Limits, and devices."""

    devices: list[DeviceRule] | None = None


class LinuxPart(oci.Linux, kw_only=True, rename="camel", omit_defaults=True):
    """`linux` of a bundle with what only Linux programs need."""

    devices: list[Device] | None = None
    seccomp: Seccomp | None = None


def harden(
    spec: oci.Spec,
    security: Security,
    *,
    privileged: bool,
    capabilities: Sequence[str],
    devices: Sequence[DeviceMapping] = (),
) -> oci.Spec:
    """`spec`, confined as Docker confines a container with these `capabilities` and `devices`.

    A `privileged` one keeps its namespaces and its root filesystem, and nothing else holds it.
    Raises InvalidRequest when its own seccomp profile cannot be read, or a device is none.
    """
    asked = find_devices(devices)
    given = spec.linux or oci.Linux()
    fields = {name: getattr(given, name) for name in oci.Linux.__struct_fields__}
    open_paths = privileged or security.open_paths
    fields |= {
        "cgroups_path": cgroups.place(given.cgroups_path) if given.cgroups_path else "",
        "resources": _resources(
            given.resources or oci.Resources(),
            [DeviceRule(allow=privileged, access="rwm"), *(one.rule for one in asked)],
        ),
        "masked_paths": None if open_paths else list(MASKED_PATHS),
        "readonly_paths": None if open_paths else list(READONLY_PATHS),
        "sysctl": _sysctls(given) or None,
    }
    nodes = all_devices() if privileged else []
    if maps_ids():
        spec.mounts = [*(spec.mounts or ()), *(one.mount for one in asked)]
    else:
        nodes += [one.node for one in asked]
    spec.linux = LinuxPart(
        **fields,
        devices=nodes or None,
        seccomp=None if privileged else _seccomp(security, capabilities),
    )
    if privileged:
        for mount in spec.mounts or ():
            if mount.type in ("sysfs", "cgroup") and mount.options:
                mount.options = [option for option in mount.options if option != "ro"]
    return spec


def _resources(limits: oci.Resources, devices: list[DeviceRule]) -> LinuxResources:
    """Those limits that can be kept here: runc and crun make no container with any other."""
    bounded = cgroups.bounded()
    memory = limits.memory if "memory" in bounded else None
    if memory and not cgroups.bounds_swap():
        memory = replace(memory, swap=None)
    cpu = limits.cpu
    if cpu and "cpu" not in bounded:
        cpu = oci.Cpu(cpus=cpu.cpus, mems=cpu.mems)
    if cpu and "cpuset" not in bounded:
        cpu = replace(cpu, cpus="", mems="")
    return LinuxResources(
        memory=memory,
        cpu=cpu,
        pids=limits.pids if "pids" in bounded else None,
        unified=limits.unified if bounded else None,
        devices=devices,
    )


def _seccomp(security: Security, capabilities: Sequence[str]) -> Seccomp | None:
    if security.seccomp == UNCONFINED:
        return None
    if security.seccomp:
        return read_profile(security.seccomp, capabilities)
    return default_profile(capabilities)


def standard_mounts(*, shm_size: int, own_network: bool) -> list[oci.Mount]:
    """What Linux programs expect. `shm_size` is in bytes."""
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if maps_id("gid", _TTY_GROUP):
        terminals.append(f"gid={_TTY_GROUP}")
    return [
        oci.Mount(destination="/proc", type="proc", source="proc", options=_HARDENED),
        oci.Mount(
            destination="/dev",
            type="tmpfs",
            source="tmpfs",
            options=["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        oci.Mount(destination="/dev/pts", type="devpts", source="devpts", options=terminals),
        _sys(own_network=own_network),
        oci.Mount(
            destination="/sys/fs/cgroup",
            type="cgroup",
            source="cgroup",
            options=[*_HARDENED, "relatime", "ro"],
        ),
        oci.Mount(
            destination="/dev/shm",  # noqa: S108 - inside the container
            type="tmpfs",
            source="shm",
            options=[*_HARDENED, "mode=1777", f"size={shm_size}"],
        ),
        oci.Mount(destination="/dev/mqueue", type="mqueue", source="mqueue", options=_HARDENED),
    ]


def _sys(*, own_network: bool) -> oci.Mount:
    """/sys shows a network namespace; of one that is not ours only what is mounted can be shown."""
    if own_network or maps_id("uid", (1 << 32) - 2):
        return oci.Mount(
            destination="/sys", type="sysfs", source="sysfs", options=[*_HARDENED, "ro"]
        )
    return oci.Mount(
        destination="/sys", type="bind", source="/sys", options=["rbind", *_HARDENED, "ro"]
    )


def _sysctls(linux: oci.Linux) -> dict[str, str]:
    own = any(one.type == "network" and not one.path for one in linux.namespaces or ())
    return {**(_OWN_NETWORK if own else {}), **(linux.sysctl or {})}
