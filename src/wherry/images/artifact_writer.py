"""Making Wasm OCI artifacts of modules (CNCF TAG Runtime, "Wasm OCI Artifact layout")."""

from collections.abc import Mapping
from typing import BinaryIO

from wherry import wasm
from wherry.images.blobs import BlobStore
from wherry.images.errors import InvalidImage
from wherry.images.tar import Entry, Kind, TarWriter
from wherry.images.tar.writer import Output
from wherry.oci import (
    Descriptor,
    Digest,
    Index,
    Layout,
    Manifest,
    MediaType,
    Platform,
    Reference,
    WasmConfig,
    WasmInterfaces,
    encode,
)
from wherry.oci.artifact import TITLE

MODULE_OS, COMPONENT_OS = "wasip1", "wasip2"
EPOCH = "1970-01-01T00:00:00Z"
_REF_NAME = "org.opencontainers.image.ref.name"
_NAME = "io.containerd.image.name"
_CHUNK = 1 << 20
_WORLDS = {"wasi:cli/run": "wasi:cli/command", "wasi:http/incoming-handler": "wasi:http/proxy"}
"""Worlds of WASI 0.2, by what only their components export."""


def write_artifact(
    blobs: BlobStore,
    module: BinaryIO,
    name: str,
    *,
    created: str = "",
    author: str = "",
    annotations: Mapping[str, str] | None = None,
) -> Descriptor:
    """Write the artifact of one module or component, a seekable file called `name`; its manifest.

    It is the same for the same module, name, time and author. `created` is RFC 3339. The caller
    holds the store. Raises InvalidImage when the file is no binary WebAssembly, StorageFull.
    """
    try:
        found = wasm.inspect(module)
    except wasm.InvalidWasm as error:
        raise InvalidImage(f"{name}: {error}") from None
    if found.kind == "text":
        raise InvalidImage(f"{name}: it is text, and an artifact is binary: compile it first")
    module.seek(0)
    with blobs.writer() as writer:
        while data := module.read(_CHUNK):
            writer.write(data)
        written = writer.commit(MediaType.WASM_LAYER)
    config = WasmConfig(
        architecture="wasm",
        created=created or EPOCH,
        author=author or None,
        os=COMPONENT_OS if found.kind == "component" else MODULE_OS,
        layer_digests=[written.digest],
        component=_interfaces(found) if found.kind == "component" else None,
    )
    layer = Descriptor(
        media_type=written.media_type,
        digest=written.digest,
        size=written.size,
        annotations={TITLE: name},
    )
    manifest = Manifest(
        schema_version=2,
        config=blobs.write(MediaType.WASM_CONFIG, encode(config)),
        layers=[layer],
        **({"annotations": dict(sorted(annotations.items()))} if annotations else {}),  # type: ignore[arg-type]
    )
    described = blobs.write(MediaType.MANIFEST, encode(manifest))
    return Descriptor(
        media_type=described.media_type,
        digest=described.digest,
        size=described.size,
        platform=Platform(architecture="wasm", os=config.os),
    )


def is_conformant(manifest: Manifest) -> bool:
    """Whether a manifest is an artifact as the specification has it, and not as others had."""
    types = [layer.media_type for layer in manifest.layers]
    return manifest.config.media_type == MediaType.WASM_CONFIG and types == [MediaType.WASM_LAYER]


def save_artifact(
    blobs: BlobStore,
    target: Descriptor,
    manifest: Manifest,
    reference: Reference | None,
    out: Output,
) -> None:
    """Write an OCI archive with the artifact alone, which `docker load` could not read."""
    annotations = None
    if reference is not None:
        annotations = {_NAME: str(reference), _REF_NAME: reference.tag or "latest"}
    entry = Descriptor(
        media_type=target.media_type,
        digest=target.digest,
        size=target.size,
        annotations=annotations,
    )
    tar = TarWriter(out)
    for folder in ("blobs", "blobs/sha256"):
        tar.add(Entry(folder, Kind.DIRECTORY, 0o755))
    parts = {part.digest for part in (target, manifest.config, *manifest.layers)}
    for digest in sorted(parts):
        with blobs.open(Digest(digest)) as blob:
            tar.add(Entry(f"blobs/{digest.replace(':', '/')}", size=blobs.size(Digest(digest))))
            while data := blob.read(_CHUNK):
                tar.write(data)
    tar.file(Entry("index.json"), encode(Index(schema_version=2, manifests=[entry])))
    tar.file(Entry("oci-layout"), encode(Layout()))
    tar.finish()


def _interfaces(found: wasm.WasmFile) -> WasmInterfaces:
    exports = [item.name for item in found.exports]
    target = None
    for name in exports:
        interface, _, version = name.partition("@")
        if interface in _WORLDS and version.startswith("0.2."):
            target = f"{_WORLDS[interface]}@{version}"
    return WasmInterfaces(
        exports=exports, imports=[item.name for item in found.imports], target=target
    )
