"""Containers as Docker describes them: `inspect`, and the lines of `ps`."""

import shlex
import time
from pathlib import Path

from msgspec import UNSET

from wherry.disk import below
from wherry.durations import human_duration
from wherry.engine.clock import nanoseconds, timestamp
from wherry.engine.containers.container import Container
from wherry.engine.containers.context import Context
from wherry.engine.containers.networking import (
    endpoints,
    listed_ports,
    network_settings,
)
from wherry.engine.inspection import (
    ContainerInspect,
    ContainerState,
    ContainerSummary,
    GraphDriver,
    MountPoint,
    SummaryHostConfig,
    SummaryNetworks,
)
from wherry.images import ImageError


def inspect(
    context: Context, container: Container, found: tuple[int, int] | None = None
) -> ContainerInspect:
    """All that is known of a container; `found` are its `sizes`, if they are to be told."""
    record, bundle = container.record, context.bundle(container)
    return ContainerInspect(
        id=record.id,
        created=timestamp(record.created),
        path=record.args[0],
        args=record.args[1:],
        state=container.state,
        image=record.image_id,
        image_manifest_descriptor=record.manifest or UNSET,
        signed_by=(record.admissions[0].proofs if record.admissions else []) or UNSET,
        resolv_conf_path=str(bundle / "resolv.conf"),
        hostname_path=str(bundle / "hostname"),
        hosts_path=str(bundle / "hosts"),
        log_path=str(context.log(container)),
        name=f"/{record.name}",
        restart_count=container.life.restart_count,
        driver="overlay2",
        platform=record.platform.partition("/")[0],
        platform_choice=record.choice or UNSET,
        exec_ids=list(container.execs) or None,
        host_config=record.host,
        graph_driver=GraphDriver(
            data={
                "LowerDir": ":".join(record.layers),
                "MergedDir": str(bundle / "rootfs"),
                "UpperDir": str(bundle / "upper"),
                "WorkDir": str(bundle / "work"),
            }
        ),
        size_rw=found[0] if found else UNSET,
        size_root_fs=found[1] if found else UNSET,
        mounts=mount_points(context, container),
        config=record.config,
        network_settings=network_settings(context, container),
    )


def summarise(
    context: Context, container: Container, image: str, found: tuple[int, int] | None
) -> ContainerSummary:
    """One line of `ps`; `image` is what the image is called there, `found` as in `inspect`."""
    record, host = container.record, container.host
    return ContainerSummary(
        id=record.id,
        names=[f"/{record.name}"],
        image=image,
        image_id=record.image_id,
        image_manifest_descriptor=record.manifest or UNSET,
        command=shlex.join(record.args),
        created=record.created // 1_000_000_000,
        ports=listed_ports(container),
        size_rw=found[0] if found else UNSET,
        size_root_fs=found[1] if found else UNSET,
        labels=record.config.labels,
        state=container.state.status,
        status=status(container),
        host_config=SummaryHostConfig(network_mode=host.network_mode, annotations=host.annotations),
        network_settings=SummaryNetworks(networks=endpoints(context, container, names=False)),
        mounts=mount_points(context, container),
    )


def image_ids(context: Context, name: str) -> set[str]:
    """The ids of the images that have the name now, one for each platform that is here."""
    try:
        return {image.id for image in context.store.platforms(name)}
    except (ImageError, ValueError):
        return set()


def status(container: Container) -> str:
    """As `ps` says it: "Up 3 minutes", "Exited (0) 2 hours ago"."""
    state = container.state
    if state.running:
        if state.restarting:
            return f"Restarting ({state.exit_code}) {_since(state.finished_at)} ago"
        return f"Up {_since(state.started_at)}{_remark(state)}"
    if state.status == "created":
        return "Created"
    return f"Exited ({state.exit_code}) {_since(state.finished_at)} ago"


def _remark(state: ContainerState) -> str:
    if state.paused:
        return " (Paused)"
    if state.health is UNSET:
        return ""
    status = state.health.status
    return " (health: starting)" if status == "starting" else f" ({status})"


def mount_points(context: Context, container: Container) -> list[MountPoint]:
    """Its mounts, as they are shown."""
    return [mount.point(context.source(mount)) for mount in container.record.mounts]


def sizes(context: Context, container: Container, *, image: bool = True) -> tuple[int, int]:
    """Bytes on disk of what the container wrote, and of all its files. Walks through them.

    Without `image` the image's own are not counted.
    """
    written = below(context.bundle(container) / "upper")
    layers = container.record.layers if image else []
    return written, written + sum(below(Path(layer)) for layer in layers)


def _since(moment: str) -> str:
    return human_duration(max(0.0, time.time() - nanoseconds(moment) / 1e9))
