"""Blobs on their way into the store, each of them once, however many ask for it."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from wherry.images.blobs import BlobStore
from wherry.images.errors import DigestMismatch
from wherry.images.image import checked
from wherry.images.partial import PartialBlob
from wherry.images.transfer.progress import BlobState, BlobStatus, Meter, Tell, short
from wherry.oci import Descriptor, Digest

if TYPE_CHECKING:
    from wherry.registry import Cancel, Repository

_CHUNK = 256 << 10
_TICK = 0.1
"""Seconds after which whoever waits for another's download looks how far it is."""


class _Download:
    """One blob under way: how much there is of it, and whether its thread has ended."""

    def __init__(self) -> None:
        self.received = 0
        self.ended = threading.Event()


class Downloads:
    """Fetches blobs into one store."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._mutex = threading.Lock()
        self._under_way: dict[Digest, _Download] = {}

    def fetch(
        self, repository: "Repository", blob: Descriptor, tell: Tell, cancel: "Cancel"
    ) -> bool:
        """Bring a blob into the store, checked; whether this call did it.

        If somebody else is about to, that is waited for, and gone on with where it ends early. To
        be called inside a hold. Raises RegistryError, DigestMismatch, StorageFull.
        """
        digest = checked(blob.digest)
        while not self._blobs.has(digest):
            cancel.check()
            with self._mutex:
                other = self._under_way.get(digest)
                if other is None:
                    mine = self._under_way[digest] = _Download()
            if other is not None:
                self._await(other, blob, tell, cancel)
                continue
            try:
                self._download(mine, repository, blob, tell)
            finally:
                with self._mutex:
                    del self._under_way[digest]
                mine.ended.set()
            return True
        return False

    def _await(self, other: _Download, blob: Descriptor, tell: Tell, cancel: "Cancel") -> None:
        meter = Meter(tell, blob, BlobState.DOWNLOADING)
        while not other.ended.wait(_TICK):
            cancel.check()
            meter.at(other.received)

    def _download(
        self, mine: _Download, repository: "Repository", blob: Descriptor, tell: Tell
    ) -> None:
        while True:
            with self._blobs.partial(Digest(blob.digest), blob.size) as partial:
                resumed = partial.offset > 0
                refuse = _receive(partial, mine, repository, blob, tell)
                try:
                    partial.commit()
                    return
                except DigestMismatch:
                    # What an earlier try has left was damaged, by a power cut for instance; or
                    # a mirror lies, and there is another server to ask.
                    if not resumed and not refuse():
                        raise


def _receive(
    partial: PartialBlob, mine: _Download, repository: "Repository", blob: Descriptor, tell: Tell
) -> Callable[[], bool]:
    """Write what is missing of a blob. Returns how to say that it was not the blob."""
    refuse = _nobody_else
    meter = Meter(tell, blob, BlobState.DOWNLOADING)
    if partial.offset < blob.size:
        with repository.blob(blob, partial.offset) as stream:
            if stream.offset != partial.offset:
                partial.restart()
            refuse = stream.refuse
            while data := stream.read(_CHUNK):
                partial.write(data)
                mine.received = partial.offset
                meter.at(partial.offset)
    tell(BlobStatus(short(blob.digest), BlobState.VERIFYING))
    return refuse


def _nobody_else() -> bool:
    return False
