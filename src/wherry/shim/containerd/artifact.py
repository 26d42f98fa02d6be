"""Wasm artifacts under containerd: it keeps their modules as blobs, and unpacks nothing of them.

A container of an artifact has an empty root filesystem. So when its program is not there, its image
is asked for: containerd knows it by the container's id, and hands out the blobs of its layers.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable

from wherry import oci
from wherry.oci.runtime import Mount
from wherry.shelf import make_room
from wherry.shim.containerd import Images
from wherry.shim.containerd.image import ImageReader
from wherry.shim.ttrpc import CallError, Code

_PATIENCE = 60.0
"""Seconds for containerd to hand out a module."""
_MAX_MODULE = 1 << 30


class Artifacts:
    """The modules of artifacts, kept by digest once they were asked for."""

    def __init__(self, images: Images, report: Callable[[str], None]) -> None:
        self._reader = ImageReader(images)
        self._folder = images.folder
        self._report = report

    async def module_of(self, container: str, program: str) -> Mount | None:
        """What mounts the module of a container where its `program` is expected to be.

        That is the module named like the program, or else the first. None if the container's image
        is no artifact, or none that containerd tells of, which is reported. Raises CallError if
        its module cannot be had.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                layer = _pick(await self._layers(container), program)
        except (CallError, ValueError, OSError) as error:
            self._report(f"container {container}: its image cannot be read: {_why(error)}")
            return None
        if layer is None:
            return None
        try:
            async with asyncio.timeout(_PATIENCE):
                source = await self._fetch(layer)
        except (CallError, ValueError, OSError) as error:
            reason = f"the module of its image cannot be had: {_why(error)}"
            raise CallError(Code.UNKNOWN, reason) from None
        place = os.path.join("/", program)
        return Mount(destination=place, type="bind", source=source, options=["bind", "ro"])

    async def _layers(self, container: str) -> list[oci.Descriptor]:
        manifest = await self._reader.manifest(container)
        return [] if manifest is None else manifest.layers

    async def _fetch(self, layer: oci.Descriptor) -> str:
        digest = oci.parse_digest(layer.digest)
        os.makedirs(self._folder, 0o700, exist_ok=True)
        path = f"{self._folder}/{digest.replace(':', '-')}"
        if os.access(path, os.R_OK):
            return path
        beside = f"{path}.{os.getpid()}.{id(layer)}"
        try:
            file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                async for piece in self._reader.content(digest, _MAX_MODULE):
                    _write(file, piece)
                await asyncio.to_thread(os.fsync, file)
            finally:
                os.close(file)
            os.rename(beside, path)
            await asyncio.to_thread(make_room, [self._folder], os.path.basename(path))
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside)
            raise
        return path


def _why(error: Exception) -> str:
    return "containerd does not answer" if isinstance(error, TimeoutError) else str(error)


def _write(file: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(file, view) :]


def _pick(layers: list[oci.Descriptor], program: str) -> oci.Descriptor | None:
    modules = [layer for layer in layers if oci.is_module(layer)]
    named = [layer for layer in modules if oci.module_name(layer) == os.path.basename(program)]
    return next(iter(named or modules), None)
