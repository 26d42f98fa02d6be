"""A store that pulls and pushes by itself, without an engine."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.images.samples import image_of, layer_of, member, tar_of

from wherry.images import Image, ImageStore
from wherry.images.transfer import Announced, BlobStatus, Origins, Pulled, Puller, Pusher
from wherry.images.transfer.progress import Event
from wherry.oci import Descriptor, Index, MediaType, Platform, encode, parse_reference
from wherry.registry import Cancel, Client, Hosts
from wherry.registry.patience import Patience


class Mover:
    """Everything below `folder`; `events` are what the last transfer told.

    A registry that fails is asked `tries` times.
    """

    def __init__(self, folder: Path, *, tries: int = 5) -> None:
        self.store = ImageStore(folder)
        self.client = Client(Hosts(), patience=Patience(tries=tries))
        self.origins = Origins(folder / "images" / "origins.json", self.store.blobs)
        self.puller = Puller(self.store, self.origins)
        self.pusher = Pusher(self.store, self.origins)
        self.events: list[Event] = []

    def pull(
        self,
        name: str,
        platform: Platform | None = None,
        cancel: Cancel | None = None,
        tell: Callable[[Event], None] | None = None,
    ) -> Pulled:
        """Pull an image by its whole name."""
        cancel = cancel or Cancel()
        self.events = []
        reference = parse_reference(name).with_default_tag()
        return self.puller.pull(
            self.client.repository(reference, None, cancel),
            reference,
            platform,
            tell or self.events.append,
            cancel,
            linux=False,
        )

    def push(self, name: str, cancel: Cancel | None = None) -> None:
        """Push an image by its whole name."""
        cancel = cancel or Cancel()
        self.events = []
        reference = parse_reference(name).with_default_tag()
        target = self.store.target(reference)
        assert target
        self.pusher.push(
            self.client.repository(reference, None, cancel, push=True),
            reference,
            target,
            self.events.append,
            cancel,
            elsewhere=lambda path: self.client.repository(
                parse_reference(f"{reference.domain}/{path}"), None, cancel
            ),
        )

    @property
    def said(self) -> list[str]:
        """The lines for people that the last transfer told."""
        return [event.text for event in self.events if isinstance(event, Announced)]

    def states(self, digest: str) -> list[str]:
        """The states that a blob was in."""
        id = digest.partition(":")[2][:12]
        found = [e.state.value for e in self.events if isinstance(e, BlobStatus) and e.id == id]
        return list(dict.fromkeys(found))


def sized_image(
    store: ImageStore, name: str | None, sizes: Sequence[int], seed: object = 0, **config: str
) -> Image:
    """An image with a layer of so many bytes, that no compression shrinks, for each of `sizes`."""
    noise = random.Random(f"{seed}")
    with store.hold():
        layers = [
            layer_of(store, tar_of(member(f"file{number}", noise.randbytes(size))))
            for number, size in enumerate(sizes)
        ]
        return image_of(store, *layers, name=name, **config)


def index_of(store: ImageStore, name: str, children: Sequence[tuple[Image, str]]) -> Descriptor:
    """An index of images, each for the platform given, as `os/architecture`."""
    manifests = []
    for image, platform in children:
        os_name, architecture = platform.split("/")
        manifests.append(
            Descriptor(
                media_type=image.descriptor.media_type,
                digest=image.digest,
                size=image.descriptor.size,
                platform=Platform(os=os_name, architecture=architecture),
            )
        )
    with store.hold():
        target = store.blobs.write(
            MediaType.INDEX, encode(Index(schema_version=2, manifests=manifests))
        )
        store.tag(target, parse_reference(name))
    return target


def ingested(folder: Path) -> dict[str, int]:
    """The half downloads of a store, and their bytes."""
    return {entry.name: entry.stat().st_size for entry in os.scandir(folder / "images" / "ingest")}
