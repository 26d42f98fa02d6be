"""Typed OCI documents: image, manifest, index, runtime spec, digests, references, platforms.

Text becomes one of these structs where it enters wherry, and never travels as a dict. Nothing
here does I/O. Every decoder bounds the size of what it reads and raises `InvalidDocument`.
"""

from importlib import import_module

TYPE_CHECKING = False  # as type checkers know it: `typing` is a third of a short command's time

if TYPE_CHECKING:
    from wherry.oci.artifact import (
        WasmConfig,
        WasmInterfaces,
        content_digest,
        file_name,
        is_module,
        is_tar,
        module_name,
    )
    from wherry.oci.digest import Digest, InvalidDigest, digest_of, parse_digest
    from wherry.oci.document import InvalidDocument, decode, encode
    from wherry.oci.image import (
        Descriptor,
        Healthcheck,
        History,
        ImageConfig,
        Index,
        Layout,
        Manifest,
        MediaType,
        RootFS,
        RuntimeConfig,
    )
    from wherry.oci.platform import HOST, WASM, InvalidPlatform, Platform, parse_platform
    from wherry.oci.reference import InvalidReference, Reference, parse_reference

__all__ = [
    "HOST",
    "WASM",
    "Descriptor",
    "Digest",
    "Healthcheck",
    "History",
    "ImageConfig",
    "Index",
    "InvalidDigest",
    "InvalidDocument",
    "InvalidPlatform",
    "InvalidReference",
    "Layout",
    "Manifest",
    "MediaType",
    "Platform",
    "Reference",
    "RootFS",
    "RuntimeConfig",
    "WasmConfig",
    "WasmInterfaces",
    "content_digest",
    "decode",
    "digest_of",
    "encode",
    "file_name",
    "is_module",
    "is_tar",
    "module_name",
    "parse_digest",
    "parse_platform",
    "parse_reference",
]

_HOMES = {
    "artifact": (
        "WasmConfig",
        "WasmInterfaces",
        "content_digest",
        "file_name",
        "is_module",
        "is_tar",
        "module_name",
    ),
    "digest": ("Digest", "InvalidDigest", "digest_of", "parse_digest"),
    "document": ("InvalidDocument", "decode", "encode"),
    "platform": ("HOST", "WASM", "InvalidPlatform", "Platform", "parse_platform"),
    "reference": ("InvalidReference", "Reference", "parse_reference"),
}
"""Where each name is; those of none of these are of `image`."""


def __getattr__(name: str) -> object:
    # Who runs containers reads bundles only, and pays for what it imports with every one of them.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = next((home for home, names in _HOMES.items() if name in names), "image")
    found = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found
