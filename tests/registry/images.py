"""Images as bytes, to be pushed and pulled without a store."""

from __future__ import annotations

import io
import os
from typing import BinaryIO

from wherry.oci import Descriptor, Manifest, MediaType, digest_of, encode, parse_reference
from wherry.registry import BlobStream, Cancel, Client, Credentials, Repository


class Sample:
    """An image of one layer of random bytes."""

    def __init__(self, size: int) -> None:
        self.config = (
            b'{"architecture":"wasm","os":"wasi","rootfs":{"type":"layers","diff_ids":[]}}'
        )
        self.layer = os.urandom(size)
        self.config_descriptor = descriptor(MediaType.CONFIG, self.config)
        self.layer_descriptor = descriptor(MediaType.LAYER, self.layer)
        self.manifest = encode(
            Manifest(
                schema_version=2, config=self.config_descriptor, layers=[self.layer_descriptor]
            )
        )
        self.digest = digest_of(self.manifest)

    def push(self, repository: Repository, tag: str = "latest") -> None:
        """Push all of it."""
        send(repository, self.config)
        send(repository, self.layer, MediaType.LAYER)
        repository.put_manifest(tag, MediaType.MANIFEST, self.manifest)


def descriptor(media_type: str, data: bytes) -> Descriptor:
    """The descriptor of `data`."""
    return Descriptor(media_type=media_type, digest=digest_of(data), size=len(data))


def send(repository: Repository, data: bytes, media_type: str = MediaType.CONFIG) -> list[int]:
    """Upload a blob; returns the progress that was told."""

    def open_at(offset: int) -> BinaryIO:
        file = io.BytesIO(data)
        file.seek(offset)
        return file

    told: list[int] = []
    repository.upload(descriptor(media_type, data), open_at, told.append)
    return told


def everything(stream: BlobStream) -> bytes:
    """What is left of a stream."""
    return b"".join(iter(lambda: stream.read(100_000), b""))


def repository_at(
    client: Client,
    name: str,
    credentials: Credentials | None = None,
    cancel: Cancel | None = None,
) -> Repository:
    """The repository `HOST/PATH`, to push to."""
    return client.repository(parse_reference(name), credentials, cancel, push=True)
