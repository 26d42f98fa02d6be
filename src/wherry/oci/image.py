"""Images at rest: descriptors, manifests, indexes and configs (OCI image-spec 1.1)."""

from typing import Any

import msgspec

from wherry.oci.platform import Platform


class MediaType:
    """Media types that wherry reads or writes."""

    INDEX = "application/vnd.oci.image.index.v1+json"
    MANIFEST = "application/vnd.oci.image.manifest.v1+json"
    CONFIG = "application/vnd.oci.image.config.v1+json"
    LAYER = "application/vnd.oci.image.layer.v1.tar"
    LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
    LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
    EMPTY = "application/vnd.oci.empty.v1+json"

    DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
    DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
    DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
    DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
    DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"

    WASM_CONFIG = "application/vnd.wasm.config.v0+json"
    WASM_LAYER = "application/wasm"

    INDEXES = frozenset({INDEX, DOCKER_INDEX})
    MANIFESTS = frozenset({MANIFEST, DOCKER_MANIFEST})


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A typed, sized pointer to content by its digest (descriptor.md). `size` is in bytes.

    The digest comes from outside: pass it through `parse_digest` before it becomes a path.
    """

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: dict[str, str] | None = None
    artifact_type: str | None = None
    urls: list[str] | None = None
    data: str | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One image of one platform (manifest.md)."""

    schema_version: int
    config: Descriptor
    layers: list[Descriptor]
    media_type: str | None = MediaType.MANIFEST
    artifact_type: str | msgspec.UnsetType = msgspec.UNSET
    subject: Descriptor | msgspec.UnsetType = msgspec.UNSET
    annotations: dict[str, str] | msgspec.UnsetType | None = msgspec.UNSET


class Index(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Several images under one name, one for each platform (image-index.md)."""

    schema_version: int
    manifests: list[Descriptor]
    media_type: str | None = MediaType.INDEX
    artifact_type: str | msgspec.UnsetType = msgspec.UNSET
    subject: Descriptor | msgspec.UnsetType = msgspec.UNSET
    annotations: dict[str, str] | msgspec.UnsetType | None = msgspec.UNSET


class Layout(msgspec.Struct, frozen=True, rename={"version": "imageLayoutVersion"}):
    """The `oci-layout` file (image-layout.md)."""

    version: str = "1.0.0"


class Healthcheck(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """Docker's extension of the config. Durations are in nanoseconds."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class RuntimeConfig(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """The `config` object of an image config: defaults for a container of the image."""

    user: str = ""
    exposed_ports: dict[str, Any] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, Any] | None = None
    working_dir: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: Healthcheck | None = None
    on_build: list[str] | None = None
    shell: list[str] | None = None


class RootFS(msgspec.Struct, frozen=True, kw_only=True):
    """The layers of an image by the digests of their uncompressed tars, lowest first."""

    diff_ids: list[str]
    type: str = "layers"


class History(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of how an image was made."""

    created: str | None = None
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An image's config (config.md). Its digest is the image's id."""

    architecture: str
    os: str
    rootfs: RootFS
    variant: str = ""
    os_version: str = msgspec.field(default="", name="os.version")
    created: str | None = None
    author: str = ""
    config: RuntimeConfig | None = None
    history: list[History] | None = None

    @property
    def platform(self) -> Platform:
        """The platform the image says it is for."""
        return Platform(architecture=self.architecture, os=self.os, variant=self.variant)
