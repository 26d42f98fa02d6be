"""The image of a container, as containerd has it: its documents and blobs, by gRPC."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from wherry import oci
from wherry.shim.containerd import Images
from wherry.shim.containerd.grpc import call
from wherry.shim.containerd.messages import (
    GetContainerResponse,
    GetImageResponse,
    NamedRequest,
    ReadContentRequest,
    ReadContentResponse,
)
from wherry.shim.protobuf import Message
from wherry.shim.ttrpc import CallError, Code

_SERVICES = "/containerd.services"
_PATIENCE = 10.0
"""Seconds for containerd to tell of an image."""
_MAX_DOCUMENT = 4 << 20
_IMAGE_CONFIGS = (oci.MediaType.CONFIG, oci.MediaType.DOCKER_CONFIG)

M = TypeVar("M", bound=Message)


async def exposed_ports(images: Images, container: str, report: Callable[[str], None]) -> list[str]:
    """What a container's image exposes, as far as it can be known: why not is reported."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return await ImageReader(images).exposed_ports(container)
    except (CallError, ValueError, OSError) as error:
        # TimeoutError says nothing by itself.
        reason = str(error) or "containerd does not answer"
        report(f"container {container}: its image cannot be read: {reason}")
        return []


class ImageReader:
    """Reads images of containers. Its methods raise CallError and ValueError."""

    def __init__(self, images: Images) -> None:
        self._address = images.address
        self._metadata = {"containerd-namespace": images.namespace}

    async def manifest(self, container: str) -> oci.Manifest | None:
        """The manifest of a container's image; None if containerd knows no image of it.

        Of an index it is that for Wasm, or else for this machine's Linux.
        """
        request = NamedRequest(name=container)
        found = await self._unary("containers.v1.Containers/Get", request, GetContainerResponse)
        name = found.container.image if found.container is not None else ""
        if not name:
            return None
        image = await self._unary("images.v1.Images/Get", NamedRequest(name=name), GetImageResponse)
        if image.image is None or image.image.target is None:
            return None
        digest = image.image.target.digest
        if image.image.target.media_type in oci.MediaType.INDEXES:
            index = oci.decode(await self.document(digest), oci.Index, "image index")
            entries = [entry for entry in index.manifests if entry.platform is not None]
            digest = next(
                (
                    entry.digest
                    for wanted in (oci.WASM, oci.HOST)
                    for entry in entries
                    if entry.platform is not None and entry.platform.matches(wanted)
                ),
                "",
            )
            if not digest:
                return None
        return oci.decode(await self.document(digest), oci.Manifest, "image manifest")

    async def exposed_ports(self, container: str) -> list[str]:
        """The ports that a container's image exposes, like "8080/tcp"; none of an artifact."""
        manifest = await self.manifest(container)
        if manifest is None or manifest.config.media_type not in _IMAGE_CONFIGS:
            return []
        content = await self.document(manifest.config.digest)
        config = oci.decode(content, oci.ImageConfig, "image config")
        return list((config.config and config.config.exposed_ports) or ())

    async def document(self, digest: str) -> bytes:
        """A whole blob of a few MiB at most."""
        pieces = [piece async for piece in self.content(oci.parse_digest(digest), _MAX_DOCUMENT)]
        return b"".join(pieces)

    async def content(self, digest: oci.Digest, limit: int) -> AsyncIterator[bytes]:
        """The blob of a digest, in pieces; the last has come only if the digest is right."""
        algorithm, _, expected = digest.partition(":")
        hash, size = hashlib.new(algorithm), 0
        request = ReadContentRequest(digest=digest).encode()
        method = f"{_SERVICES}.content.v1.Content/Read"
        async for answer in call(self._address, method, request, self._metadata):
            piece = ReadContentResponse.decode(answer).data
            size += len(piece)
            if size > limit:
                raise CallError(Code.INVALID_ARGUMENT, f"{digest} is larger than {limit} bytes")
            hash.update(piece)
            yield piece
        if hash.hexdigest() != expected:
            raise CallError(Code.DATA_LOSS, f"containerd's content of {digest} is damaged")

    async def _unary(self, method: str, request: Message, answer: type[M]) -> M:
        async for message in call(
            self._address, f"{_SERVICES}.{method}", request.encode(), self._metadata
        ):
            return answer.decode(message)
        raise CallError(Code.UNAVAILABLE, f"containerd did not answer {method}")
