"""What the engine tells about images: Docker's JSON documents, typed (Engine API 1.51)."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from wherry.engine.images.platforms import ManifestSummary
from wherry.engine.inspection import NEVER
from wherry.images import Image
from wherry.oci import Descriptor, Healthcheck, RuntimeConfig


class ImageSummary(msgspec.Struct, kw_only=True, rename="pascal"):
    """One entry of `GET /images/json`. Sizes are bytes, -1 where not counted."""

    id: str
    parent_id: str = ""
    repo_tags: list[str]
    repo_digests: list[str]
    created: int
    """Seconds since the epoch."""
    size: int
    virtual_size: int | UnsetType = UNSET
    """The same, for clients from before API 1.44."""
    shared_size: int = -1
    labels: dict[str, str] | None
    containers: int = -1
    descriptor: Descriptor
    """Of what its names point to: an index, or the manifest."""
    manifests: list[ManifestSummary] | UnsetType = UNSET
    """If they were asked for."""


class ImageDefaults(msgspec.Struct, kw_only=True, rename="pascal"):
    """The `Config` of an image: what a container of it begins with."""

    user: str = ""
    exposed_ports: dict[str, Any] | UnsetType = UNSET
    env: list[str] | None = None
    cmd: list[str] | None = None
    healthcheck: Healthcheck | UnsetType = UNSET
    args_escaped: bool | UnsetType = UNSET
    volumes: dict[str, Any] | None = None
    working_dir: str = ""
    entrypoint: list[str] | None = None
    on_build: list[str] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | UnsetType = UNSET
    shell: list[str] | UnsetType = UNSET


class Layers(msgspec.Struct, kw_only=True, rename="pascal"):
    """The layers by the digests of their uncompressed tars, lowest first."""

    type: str = "layers"
    layers: list[str]


class ImageInspect(msgspec.Struct, kw_only=True, rename="pascal"):
    """`GET /images/NAME/json`."""

    id: str
    repo_tags: list[str]
    repo_digests: list[str]
    parent: str = ""
    comment: str = ""
    created: str
    docker_version: str = ""
    author: str = ""
    config: ImageDefaults
    architecture: str
    variant: str | UnsetType = UNSET
    os: str
    os_version: str | UnsetType = UNSET
    size: int
    virtual_size: int | UnsetType = UNSET
    """The same, for clients from before API 1.44."""
    graph_driver: dict[str, Any]
    root_fs: Layers = msgspec.field(name="RootFS")
    metadata: dict[str, str]
    descriptor: Descriptor
    """Of what its names point to: an index, or the manifest; of the platform's manifest, if one
    was asked for."""
    manifests: list[ManifestSummary] | UnsetType = UNSET
    """If they were asked for."""


class HistoryItem(msgspec.Struct, kw_only=True, rename="pascal"):
    """One step of how an image was made, newest first. `created` is in seconds."""

    id: str
    created: int
    created_by: str
    tags: list[str] | None
    size: int
    comment: str


class ImageDeletion(msgspec.Struct, kw_only=True, rename="pascal", omit_defaults=True):
    """One thing that removing an image did."""

    untagged: str = ""
    deleted: str = ""


class ImagePruneReport(msgspec.Struct, kw_only=True, rename="pascal"):
    """`POST /images/prune`. `space_reclaimed` is in bytes."""

    images_deleted: list[ImageDeletion] | None
    space_reclaimed: int


def summary(image: Image, *, containers: int = -1, shared: int = -1) -> ImageSummary:
    """The image as a list shows it."""
    config = image.config.config
    return ImageSummary(
        id=image.id,
        repo_tags=image.tags,
        repo_digests=image.repo_digests,
        created=seconds(image.config.created),
        size=image.size,
        shared_size=shared,
        labels=config.labels if config else None,
        containers=containers,
        descriptor=image.target,
    )


def inspection(image: Image) -> ImageInspect:
    """All that is known of the image."""
    config = image.config
    history = config.history or []
    return ImageInspect(
        id=image.id,
        repo_tags=image.tags,
        repo_digests=image.repo_digests,
        comment=history[-1].comment if history else "",
        created=config.created or NEVER,
        author=config.author,
        config=_defaults(config.config or RuntimeConfig()),
        architecture=config.architecture,
        variant=config.variant or UNSET,
        os=config.os,
        os_version=config.os_version or UNSET,
        size=image.size,
        graph_driver={"Name": "overlay2", "Data": {}},
        root_fs=Layers(type=config.rootfs.type, layers=list(config.rootfs.diff_ids)),
        metadata={"LastTagTime": NEVER},
        descriptor=image.target,
    )


def steps(image: Image) -> list[HistoryItem]:
    """How the image was made, newest step first; a layer's size is that of its blob."""
    sizes = iter([layer.size for layer in image.manifest.layers])
    items = [
        HistoryItem(
            id="<missing>",
            created=seconds(step.created),
            created_by=step.created_by,
            tags=None,
            size=0 if step.empty_layer else next(sizes, 0),
            comment=step.comment,
        )
        for step in image.config.history or []
    ]
    # Tools that keep no history still have layers.
    items += [
        HistoryItem(
            id="<missing>",
            created=seconds(image.config.created),
            created_by="",
            tags=None,
            size=size,
            comment="",
        )
        for size in sizes
    ]
    if items:
        items[-1].id, items[-1].tags = image.id, image.tags or None
    return items[::-1]


def seconds(created: str | None) -> int:
    """RFC 3339 to seconds since the epoch; 0 where there is no such time."""
    try:
        return int(datetime.fromisoformat(created or "").timestamp())
    except (ValueError, OverflowError):
        return 0


def _defaults(config: RuntimeConfig) -> ImageDefaults:
    return ImageDefaults(
        user=config.user,
        exposed_ports=config.exposed_ports or UNSET,
        env=config.env,
        cmd=config.cmd,
        healthcheck=config.healthcheck or UNSET,
        args_escaped=config.args_escaped or UNSET,
        volumes=config.volumes,
        working_dir=config.working_dir,
        entrypoint=config.entrypoint,
        on_build=config.on_build,
        labels=config.labels,
        stop_signal=config.stop_signal or UNSET,
        shell=config.shell or UNSET,
    )
