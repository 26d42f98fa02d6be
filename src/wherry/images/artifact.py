"""Wasm OCI artifacts: a manifest whose layers are modules, not tars (CNCF TAG Runtime).

Such an artifact has no rootfs and no entrypoint. wherry shows it as an image with one file for
each module, and for what else has a title, and the first module as entrypoint, so that everything
above sees images only.
"""

import msgspec

from wherry.images.errors import InvalidImage
from wherry.oci import (
    ImageConfig,
    InvalidDocument,
    Manifest,
    MediaType,
    RootFS,
    RuntimeConfig,
    content_digest,
    decode,
    is_module,
    module_name,
)


class _Config(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of `application/vnd.wasm.config.v0+json`; every other config gives defaults."""

    architecture: str = "wasm"
    os: str = "wasip1"
    created: str | None = None
    author: str | None = None


def artifact_config(manifest: Manifest, raw: bytes) -> ImageConfig:
    """The config of an image that shows the artifact. Raises InvalidImage: it is none of Wasm."""
    modules = [layer for layer in manifest.layers if is_module(layer)]
    if not modules:
        raise InvalidImage(
            f"neither an image nor a Wasm artifact: its config is {manifest.config.media_type}"
        )
    said = _Config()
    if manifest.config.media_type == MediaType.WASM_CONFIG:
        try:
            said = decode(raw, _Config, "Wasm config")
        except InvalidDocument as error:
            raise InvalidImage(str(error)) from None
    return ImageConfig(
        architecture=said.architecture,
        os=said.os,
        created=said.created,
        author=said.author or "",
        config=RuntimeConfig(entrypoint=[f"/{module_name(modules[0])}"], working_dir="/"),
        rootfs=RootFS(diff_ids=[content_digest(layer) for layer in manifest.layers]),
    )
