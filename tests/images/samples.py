"""Small images and layers, good and bad, for the tests of the store."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from wherry.images import Image, ImageStore, Layer, LayerWriter
from wherry.images.checking import Fault
from wherry.oci import (
    Descriptor,
    Digest,
    ImageConfig,
    MediaType,
    RootFS,
    RuntimeConfig,
    parse_reference,
)

WASM = b"\0asm\1\0\0\0"


def member(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    """A tar member with any header fields: `type`, `linkname`, `mode`, `pax_headers`…"""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def tar_of(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar as tarfile writes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def layer_of(store: ImageStore, tar: bytes, blob: bytes | None = None) -> Layer:
    """A layer made of raw bytes, whatever they are; `blob` is what is stored for it."""
    stored = gzip.compress(tar, mtime=0) if blob is None else blob
    descriptor = store.blobs.write(MediaType.LAYER_GZIP, stored)
    return Layer(descriptor, Digest("sha256:" + hashlib.sha256(tar).hexdigest()))


def image_of(store: ImageStore, *layers: Layer, name: str | None = None, **config: str) -> Image:
    """An image of layers that are in the store."""
    labels = {key: value for key, value in config.items() if key != "created"}
    document = ImageConfig(
        architecture="wasm",
        os="wasi",
        created=config.get("created"),
        rootfs=RootFS(diff_ids=[layer.diff_id for layer in layers]),
        config=RuntimeConfig(entrypoint=["/hello.wasm"], labels=labels or None),
    )
    reference = parse_reference(name) if name else None
    return store.write_image(document, [layer.descriptor for layer in layers], reference=reference)


def simple_image(store: ImageStore, name: str | None = None, content: str = "") -> Image:
    """An image with one layer of one file; `content` tells images apart."""
    with store.hold():
        with LayerWriter(store.blobs) as writer:
            writer.add_file("hello.wasm", WASM + content.encode(), mode=0o755)
            layer = writer.commit()
        return image_of(store, layer, name=name)


def platform_image(store: ImageStore, platform: str, *layers: Layer) -> Image:
    """A nameless image for `os/architecture`, of layers that are in the store."""
    system, _, architecture = platform.partition("/")
    config = ImageConfig(
        os=system, architecture=architecture,
        rootfs=RootFS(diff_ids=[layer.diff_id for layer in layers]),
        config=RuntimeConfig(entrypoint=["/hello.wasm"]),
    )  # fmt: skip
    return store.write_image(config, [layer.descriptor for layer in layers])


def found_faults(store: ImageStore, *busy: Path, repair: bool = False) -> list[Fault]:
    """What a check finds; layers in `busy` are in use."""
    found = store.checking(repair=repair, busy=busy)
    return [each for each in found if isinstance(each, Fault)]


def unpacked(store: ImageStore, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    """The folder that a layer of these members becomes."""
    return store.layer_lowerdirs([layer_of(store, tar_of(*members))])[0]


@dataclass(frozen=True)
class Snapshot:
    """Everything in a store's folders, to see that nothing changed."""

    files: dict[str, bytes]

    @classmethod
    def of(cls, root: Path) -> "Snapshot":
        """Read all files but the locks."""
        return cls(
            {
                str(path.relative_to(root)): path.read_bytes()
                for path in sorted(root.rglob("*"))
                if path.is_file() and path.name not in ("lock", "hold")
            }
        )


def archive_of(files: Iterable[tuple[str, bytes]]) -> bytes:
    """A tar of files."""
    return tar_of(*(member(name, data) for name, data in files))


def edited(archive: bytes, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> bytes:
    """An archive whose files `change` may rename, rewrite or drop."""
    files = []
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for info in tar:
            if info.isfile():
                file = tar.extractfile(info)
                assert file
                if changed := change(info.name, file.read()):
                    files.append(changed)
    return archive_of(files)


def saved(store: ImageStore, *names: str) -> bytes:
    """What `save` writes."""
    out = io.BytesIO()
    store.save(names, out)
    return out.getvalue()


def descriptor_of(media_type: str, data: bytes) -> Descriptor:
    """The descriptor of some bytes."""
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    return Descriptor(media_type=media_type, digest=digest, size=len(data))
