"""Wasm OCI artifacts: manifests whose layers are modules, not tars (CNCF TAG Runtime).

Beside the form of the specification there are those from before it, and what `oras push` makes of
a file by itself: files whose layers have a title, of whatever media type.
"""

import re

import msgspec

from wherry.oci.image import Descriptor

TITLE = "org.opencontainers.image.title"
_UNPACK = "io.deis.oras.content.unpack"
_CONTENT = "io.deis.oras.content.digest"
"""Of a folder that oras has packed: that it is one, and the digest of its tar."""

_TARS = re.compile(
    r".*[.+]tar(?:[.+](?:gzip|zstd))?|application/(?:x-)?(?:tar|gzip|zstd)(?:\+\w+)?"
)
_WASM = re.compile(r"application/(?:wasm|[\w.-]+\+wasm|vnd\.wasm\.component\.v\d+)", re.ASCII)
"""The media type, and all with its suffix (RFC 6838): wasm-to-oci's and Spin's
`vnd.wasm.content.layer.v1`, the wasm-image-spec's `vnd.module.wasm.content.layer.v1`, the Bytecode
Alliance's `vnd.bytecodealliance.wasm.component.layer.v0`."""
_ENDINGS = (".wasm", ".wat")
_NAME = re.compile(r"[\w][\w.+-]{0,200}", re.ASCII)


class WasmInterfaces(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The `component` of a Wasm config: what a component imports and exports, and its world."""

    exports: list[str]
    imports: list[str]
    target: str | None = None


class WasmConfig(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """`application/vnd.wasm.config.v0+json`. `created` is RFC 3339; `component` is of those."""

    created: str
    architecture: str
    os: str
    layer_digests: list[str]
    author: str | None = None
    component: WasmInterfaces | None = None


def is_module(layer: Descriptor) -> bool:
    """Whether a layer is a bare module or component instead of a tar."""
    if _WASM.fullmatch(layer.media_type):
        return True
    # `oras push NAME app.wasm` calls every file a layer: its title alone tells what it is.
    return _is_file(layer) and _title(layer).endswith(_ENDINGS)


def module_name(layer: Descriptor) -> str:
    """The file name of a module in the root filesystem, always ending in `.wasm` or `.wat`."""
    name = _title(layer) or "module"
    return name if name.endswith(_ENDINGS) else f"{name}.wasm"


def file_name(layer: Descriptor) -> str | None:
    """The name of the file that a layer is; None for a tar, and for what is no file of a guest's.

    Modules are files, and so is what else has been pushed beside them with a title.
    """
    if is_module(layer):
        return module_name(layer)
    return _title(layer) or None if _is_file(layer) else None


def is_tar(layer: Descriptor) -> bool:
    """Whether a layer is a tar of files, by its media type."""
    return file_name(layer) is None and bool(_TARS.fullmatch(layer.media_type))


def content_digest(layer: Descriptor) -> str:
    """The digest of what a layer is when it is uncompressed, as far as it tells."""
    return (layer.annotations or {}).get(_CONTENT) or layer.digest


def _is_file(layer: Descriptor) -> bool:
    """Whether a layer has a title, and is not the tar that its media type says it is."""
    annotations = layer.annotations or {}
    if TITLE not in annotations or annotations.get(_UNPACK) == "true":
        return False
    return not _TARS.fullmatch(layer.media_type) or _title(layer).endswith(_ENDINGS)


def _title(layer: Descriptor) -> str:
    """The title, if it can be the name of a file; else empty."""
    title = (layer.annotations or {}).get(TITLE, "").rpartition("/")[2]
    return title if _NAME.fullmatch(title) else ""
