"""A container as an OCI runtime spec: the bundle's `config.json`, and the mounts of its root."""

from collections.abc import Callable
from pathlib import Path

from msgspec import UNSET

from wherry.engine.config import HostConfig
from wherry.engine.containers.image_mounts import image_mount
from wherry.engine.containers.networking import Wiring
from wherry.engine.containers.process import capabilities_of, first_process
from wherry.engine.linux import add_init, harden, read_security, standard_mounts
from wherry.engine.record import Mounted, Record
from wherry.engine.shims import WHERRY
from wherry.oci import runtime as oci

_VERSION = "1.1.0"
_PERIOD = 100_000
"""Microseconds over which `--cpus` is measured out, as in Docker."""

_NAMESPACES = ("pid", "mount", "ipc", "uts")
_FILES = ("hosts", "hostname", "resolv.conf")
_OWN = frozenset({oci.NETWORK, oci.PORTS, oci.LISTENERS, oci.ENFORCER, oci.PROGRAMS})


def build_spec(
    record: Record, wiring: Wiring, source: Callable[[Mounted], str], *, unprivileged: bool
) -> oci.Spec:
    """The `config.json` of a container. `source` tells where on the host a mount comes from.

    `unprivileged` is as for `build_root`.
    """
    config, host = record.config, record.host
    mounts = [
        image_mount(mount, unprivileged=unprivileged)
        if mount.type == "image"
        else _mount(mount, source)
        for mount in record.mounts
    ]
    taken = {mount.destination for mount in record.mounts}
    files = [
        oci.Mount(
            destination=f"/etc/{name}",
            type="bind",
            source=str(wiring.files / name),
            options=["rbind", "rprivate"] + (["ro"] if host.readonly_rootfs else []),
        )
        for name in _FILES
        if f"/etc/{name}" not in taken
    ]
    is_wasm = record.is_wasm
    # wherry's own runtime makes what Wasm guests need by itself.
    standard = [] if is_wasm and host.runtime == WHERRY else _standard_mounts(host, wiring)
    standard = [mount for mount in standard if mount.destination not in taken]
    spec = oci.Spec(
        oci_version=_VERSION,
        root=oci.Root(path="rootfs", readonly=host.readonly_rootfs),
        process=first_process(record),
        mounts=standard + mounts + files,
        hostname=config.hostname,
        domainname=config.domainname,
        annotations=_annotations(host, wiring, is_wasm=is_wasm),
        linux=oci.Linux(
            namespaces=_namespaces(host, wiring, is_wasm=is_wasm),
            cgroups_path=f"{host.cgroup_parent or '/wherry'}/{record.id}",
            resources=build_resources(host),
            sysctl=dict(host.sysctls) if host.sysctls else None,
        ),
    )
    if is_wasm:
        return spec
    if host.init is True:
        add_init(spec)
    security, _ = read_security(host.security_opt or ())
    return harden(
        spec,
        security,
        privileged=host.privileged,
        capabilities=capabilities_of(record),
        devices=host.devices or (),
    )


def _namespaces(host: HostConfig, wiring: Wiring, *, is_wasm: bool) -> list[oci.Namespace]:
    namespaces = [oci.Namespace(type=kind) for kind in _NAMESPACES]
    if not is_wasm and host.cgroupns_mode != "host":
        namespaces.append(oci.Namespace(type="cgroup"))
    if wiring.namespace is not None:
        namespaces.append(oci.Namespace(type="network", path=wiring.namespace))
    return namespaces


def _standard_mounts(host: HostConfig, wiring: Wiring) -> list[oci.Mount]:
    own_network = wiring.namespace is not None
    return standard_mounts(shm_size=host.shm_size, own_network=own_network)


def _annotations(host: HostConfig, wiring: Wiring, *, is_wasm: bool) -> dict[str, str]:
    given = host.annotations if host.annotations is not UNSET else {}
    # What people write must not say where the engine's own sockets and namespaces are.
    given = {name: value for name, value in given.items() if name not in _OWN}
    if is_wasm:
        # An image for wasi/wasm that brings a Linux program is not trusted with running it.
        given[oci.PROGRAMS] = "wasm"
    return {**given, **wiring.annotations}


def build_resources(host: HostConfig) -> oci.Resources:
    """The limits of a container."""
    memory = cpu = pids = None
    if host.memory or host.memory_reservation or host.memory_swap:
        swap = host.memory_swap or 2 * host.memory
        memory = oci.Memory(
            limit=host.memory or None,
            reservation=host.memory_reservation or None,
            swap=swap or None,
        )
    quota, period = host.cpu_quota, host.cpu_period
    if host.nano_cpus:
        period = _PERIOD
        quota = host.nano_cpus * period // 1_000_000_000
    if host.cpu_shares or quota or period or host.cpuset_cpus or host.cpuset_mems:
        cpu = oci.Cpu(
            shares=host.cpu_shares or None,
            quota=quota or None,
            period=period or None,
            cpus=host.cpuset_cpus,
            mems=host.cpuset_mems,
        )
    if host.pids_limit is not None and host.pids_limit != 0:
        pids = oci.Pids(limit=host.pids_limit)
    return oci.Resources(memory=memory, cpu=cpu, pids=pids)


def build_root(layers: list[str], bundle: Path, *, unprivileged: bool) -> oci.Mount:
    """The root filesystem: the image's `layers` and what the container writes.

    Within a user namespace (`unprivileged`) overlay keeps its marks in user.* attributes.
    """
    options = [
        f"lowerdir={':'.join(layers)}",
        f"upperdir={bundle / 'upper'}",
        f"workdir={bundle / 'work'}",
    ]
    if unprivileged:
        options.append("userxattr")
    return oci.Mount(destination="/", type="overlay", source="overlay", options=options)


def _mount(mount: Mounted, source: Callable[[Mounted], str]) -> oci.Mount:
    access = ["ro"] if mount.read_only else []
    if mount.type == "tmpfs":
        return oci.Mount(
            destination=mount.destination,
            type="tmpfs",
            source="tmpfs",
            options=mount.options + [option for option in access if option not in mount.options],
        )
    bind = "rbind" if mount.recursive else "bind"
    return oci.Mount(
        destination=mount.destination,
        type="bind",
        source=source(mount),
        options=[bind, mount.propagation or "rprivate", *access],
    )
