"""What is told of a transfer while it goes on."""

import time
from collections.abc import Callable
from enum import StrEnum

import msgspec

from wherry.oci import Descriptor, Digest

_INTERVAL = 0.1
"""Seconds between two tellings of how far a blob is."""
_SHORT = 12


class BlobState(StrEnum):
    """Where a blob is on its way, in Docker's words."""

    PENDING = "Pulling fs layer"
    WAITING = "Waiting"
    DOWNLOADING = "Downloading"
    VERIFYING = "Verifying Checksum"
    DOWNLOADED = "Download complete"
    EXTRACTING = "Extracting"
    PULLED = "Pull complete"
    EXISTS = "Already exists"

    PREPARING = "Preparing"
    PUSHING = "Pushing"
    PUSHED = "Pushed"
    PRESENT = "Layer already exists"
    MOUNTED = "Mounted from"


class Announced(msgspec.Struct, frozen=True):
    """A line for people, about `id` if that is not empty."""

    text: str
    id: str = ""


class BlobStatus(msgspec.Struct, frozen=True):
    """A blob, by the beginning of its digest, is in a state; `current` of `total` bytes are done.

    Both are 0 where there is nothing to count. `origin` is the repository it was mounted from.
    """

    id: str
    state: BlobState
    current: int = 0
    total: int = 0
    origin: str = ""


class Published(msgspec.Struct, frozen=True):
    """A manifest or index of `size` bytes has its tag in the registry."""

    tag: str
    digest: Digest
    size: int


Event = Announced | BlobStatus | Published
Tell = Callable[[Event], None]
"""Takes what happens; called from several threads, and not to block."""


def short(digest: str) -> str:
    """The beginning of a digest, as people see it."""
    return digest.partition(":")[2][:_SHORT]


class Meter:
    """Tells how far a blob is, a few times a second, whatever the speed."""

    def __init__(self, tell: Tell, blob: Descriptor, state: BlobState) -> None:
        self._tell = tell
        self._id = short(blob.digest)
        self._total = blob.size
        self._state = state
        self._next = 0.0

    def at(self, current: int) -> None:
        """`current` bytes are done."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _INTERVAL
            self._tell(BlobStatus(self._id, self._state, current, self._total))
