"""Typed OCI documents: image, manifest, index, runtime spec, digests, references, platforms.

Text becomes one of these structs where it enters wherry, and never travels as a dict. Nothing
here does I/O. Every decoder bounds the size of what it reads and raises `InvalidDocument`.
"""

from wherry.oci.artifact import is_module, module_name
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
    "decode",
    "digest_of",
    "encode",
    "is_module",
    "module_name",
    "parse_digest",
    "parse_platform",
    "parse_reference",
]
