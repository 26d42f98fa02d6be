"""Wasm OCI artifacts: manifests whose layers are modules, not tars (CNCF TAG Runtime)."""

import re

from wherry.oci.image import Descriptor, MediaType

_TITLE = "org.opencontainers.image.title"
_LEGACY_LAYERS = frozenset({"application/vnd.wasm.content.layer.v1+wasm"})
_COMPONENT_LAYERS = re.compile(r"application/vnd\.bytecodealliance\.wasm\.component\.layer\.v\d.*")
_NAME = re.compile(r"[\w][\w.+-]{0,200}", re.ASCII)


def is_module(layer: Descriptor) -> bool:
    """Whether a layer is a bare module or component instead of a tar."""
    kind = layer.media_type
    return (
        kind == MediaType.WASM_LAYER
        or kind in _LEGACY_LAYERS
        or _COMPONENT_LAYERS.fullmatch(kind) is not None
    )


def module_name(layer: Descriptor) -> str:
    """The file name of a module in the root filesystem, always ending in `.wasm` or `.wat`."""
    title = (layer.annotations or {}).get(_TITLE, "").rpartition("/")[2]
    name = title if _NAME.fullmatch(title) else "module"
    return name if name.endswith((".wasm", ".wat")) else f"{name}.wasm"
