"""Making Wasm OCI artifacts of images: the module that an image runs, and nothing beside it."""

from collections.abc import Sequence
from contextlib import ExitStack
from io import BytesIO
from typing import BinaryIO, cast

from wherry import wasm
from wherry.engine.looking import Inside, LayerPlace, programs
from wherry.images import Image, ImageStore, InvalidImage
from wherry.images.artifact_writer import is_conformant, save_artifact, write_artifact
from wherry.images.image import read_image
from wherry.oci import Reference, RuntimeConfig, parse_reference

_PASSED_ON = (
    *("org.opencontainers.image.authors", "org.opencontainers.image.description"),
    *("org.opencontainers.image.documentation", "org.opencontainers.image.licenses"),
    *("org.opencontainers.image.revision", "org.opencontainers.image.source"),
    *("org.opencontainers.image.url", "org.opencontainers.image.vendor"),
    *("org.opencontainers.image.version",),
)
"""Labels of an image that are annotations of its artifact (annotations.md)."""
_SHOWN = 3


def make_artifact(store: ImageStore, image: Image) -> Image:
    """The artifact of an image's program, written into the store; it has no name there yet.

    Blocking; the caller holds the store. An image that is one already is returned as it is. What
    an artifact has no place for is not lost in silence: Raises InvalidImage for an image with
    arguments, variables, or files beside its program, and for one without a program.
    """
    if is_conformant(image.manifest):
        return image
    config = image.config.config or RuntimeConfig()
    words = [*(config.entrypoint or ()), *(config.cmd or ())]
    inside = Inside(places(store, image))
    paths = programs(words, config.working_dir, config.env or [])
    program = next(filter(None, map(inside.find, paths)), None)
    if program is None or not inside.is_wasm(program):
        raise InvalidImage("an artifact is made of a WebAssembly program, and the image runs none")
    _refuse_what_would_be_lost(inside, program, words, config)
    name = program.rpartition("/")[2]
    with ExitStack() as stack:
        file: BinaryIO = stack.enter_context(cast("BinaryIO", inside.open(program)))
        if wasm.sniff(file.read(4096)) == "text":
            file.seek(0)
            file = stack.enter_context(BytesIO(_binary(file.read(), name)))
            name = f"{name.removesuffix('.wat')}.wasm"
        file.seek(0)
        labels = config.labels or {}
        target = write_artifact(
            store.blobs,
            file,
            name,
            created=image.config.created or "",
            author=image.config.author,
            annotations={key: labels[key] for key in _PASSED_ON if key in labels},
        )
    return read_image(store.blobs, target)


def write_archive(store: ImageStore, image: Image, out: BinaryIO) -> None:
    """`build --output type=wasm-artifact,dest=FILE`: an OCI archive of the image's artifact.

    Raises as `make_artifact`.
    """
    with store.hold():
        made = make_artifact(store, image)
        reference = parse_reference(image.names[0]) if image.names else None
        save_artifact(store.blobs, made.descriptor, made.manifest, reference, out)


def keep_artifact(store: ImageStore, image: Image, names: Sequence[Reference]) -> Image:
    """List the artifact of an image's program under `names`, or as dangling without any.

    The image loses those names. Raises as `make_artifact`, and InvalidImage for one of several
    platforms.
    """
    if len(store.platforms(image.target.digest)) > 1:
        raise InvalidImage("an artifact has one platform: build for wasi/wasm alone")
    with store.hold():
        made = make_artifact(store, image)
        store.enter(made.descriptor, names)
        return store.resolve(made.digest)


def places(store: ImageStore, image: Image) -> list[LayerPlace]:
    """The image's layers, lowest first, unpacked now if they were not."""
    store.lowerdirs(image)
    found = []
    for count, layer in enumerate(image.layers, 1):
        folder = store.layer_folder(image.layers[:count])
        blob = layer.descriptor
        found.append(
            LayerPlace(blob.digest, blob.media_type, blob.size, layer.diff_id, str(folder))
        )
    return found


def _refuse_what_would_be_lost(
    inside: Inside, program: str, words: list[str], config: RuntimeConfig
) -> None:
    others = [f"/{path}" for path in inside.walk() if path != program]
    lost = ""
    if len(words) > 1:
        lost = f"the arguments {' '.join(words[1:])}"
    elif variables := [each for each in config.env or () if not each.startswith("PATH=")]:
        lost = f"the variable {variables[0].partition('=')[0]}"
    elif others:
        lost = ", ".join(others[:_SHOWN]) + (" …" if len(others) > _SHOWN else "")
    if lost:
        raise InvalidImage(
            f"an artifact is one module and nothing else, and the image has {lost[:300]}: "
            "build an image without"
        )


def _binary(text: bytes, name: str) -> bytes:
    try:
        return wasm.to_binary(text)
    except wasm.InvalidWasm as error:
        raise InvalidImage(f"{name}: {error}") from None
