"""`build --output`: what becomes of a build that has succeeded.

Some outputs are the engine's own affair and are carried out before the build ends; files are
fetched by the client afterwards, by the image's id (`FETCHED`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

from wherry.engine.errors import InvalidRequest

if TYPE_CHECKING:
    from wherry.engine.builds.request import Output
    from wherry.images import Image, ImageStore

_ARTIFACT = "wasm-artifact"

Write = Callable[["ImageStore", "Image", BinaryIO], None]
"""Writes what an image comes to as one archive."""

_KEPT = frozenset({"image", "registry", _ARTIFACT})
_MOST = 16


def _write_files(store: "ImageStore", image: "Image", out: BinaryIO) -> None:
    """All files, as a tar; those of several platforms each in a directory."""
    from wherry.build.export import export_files
    from wherry.build.session import unpacked

    images = store.platforms(image.target.digest)
    names = [str(each.platform).replace("/", "_") if len(images) > 1 else "" for each in images]
    roots = {name: unpacked(store, each) for name, each in zip(names, images, strict=True)}
    export_files(roots, out)


def _write_image(store: "ImageStore", image: "Image", out: BinaryIO) -> None:
    """An archive that is both OCI's and Docker's."""
    store.save(image.names or [image.target.digest], out)


def _write_artifact(store: "ImageStore", image: "Image", out: BinaryIO) -> None:
    """An OCI archive of the image's program as a Wasm artifact."""
    from wherry.engine.artifacts import write_archive

    write_archive(store, image, out)


FETCHED: Mapping[str, Write] = {
    "docker": _write_image,
    "local": _write_files,
    "oci": _write_image,
    "tar": _write_files,
    _ARTIFACT: _write_artifact,
}
"""Outputs that are files, by type."""


def check_outputs(outputs: Sequence["Output"]) -> None:
    """Raises InvalidRequest for outputs that are not known."""
    if len(outputs) > _MOST:
        raise InvalidRequest(f"a build has {_MOST} outputs at most")
    for output in outputs:
        if output.type not in _KEPT and output.type not in FETCHED:
            known = ", ".join(sorted(_KEPT | FETCHED.keys()))
            raise InvalidRequest(f"--output type={output.type[:40]}: known are {known}")


def names_of(outputs: Sequence["Output"]) -> list[str]:
    """Further names for the image."""
    texts = (output.attrs.get("name", "") for output in outputs)
    return [name for text in texts for name in text.split(",") if name]


def keeps_artifact(outputs: Sequence["Output"]) -> bool:
    """Whether a Wasm artifact is to be in the store instead of the image.

    One that goes into a file is not: the client then asks for it as it does for files.
    """
    return any(output.type == _ARTIFACT and "dest" not in output.attrs for output in outputs)


def pushes(outputs: Sequence["Output"]) -> bool:
    """Whether the image is to be pushed by its names."""
    return any(
        output.type == "registry"
        or (output.type in ("image", _ARTIFACT) and output.attrs.get("push", "") in ("true", "1"))
        for output in outputs
    )
