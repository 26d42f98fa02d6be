"""Unpacking the layers that have come while others still come."""

import threading
from collections.abc import Container
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context

from wherry.images.layer import Layer
from wherry.images.store import ImageStore
from wherry.images.transfer.progress import BlobState, BlobStatus, Tell, short


class Unpacking:
    """Layers of one image on their way to root filesystems.

    What has come while some were unpacked is unpacked together, which takes one flush of the disk.
    Only the layers `coming` are told of: of the others it was said that they are there.
    """

    def __init__(self, store: ImageStore, tell: Tell, coming: Container[str]) -> None:
        self._store = store
        self._tell = tell
        self._coming = coming
        self._pool = ThreadPoolExecutor(1, "unpack")
        self._mutex = threading.Lock()
        self._waiting: list[Layer] = []
        self._futures: list[Future[None]] = []

    def add(self, layer: Layer) -> None:
        """Unpack a layer that is in the store; for threads inside a hold."""
        with self._mutex:
            self._waiting.append(layer)
            self._futures.append(self._pool.submit(copy_context().run, self._unpack))

    def finish(self) -> None:
        """Wait until all are. Raises what went wrong with one."""
        for future in self._futures:
            future.result()

    def close(self) -> None:
        """Give up what has not begun."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _unpack(self) -> None:
        with self._mutex:
            layers, self._waiting = self._waiting, []
        told = [each.descriptor for each in layers if each.descriptor.digest in self._coming]
        for each in told:
            self._tell(BlobStatus(short(each.digest), BlobState.EXTRACTING, each.size, each.size))
        self._store.unpack_ahead(layers)
        for each in told:
            self._tell(BlobStatus(short(each.digest), BlobState.PULLED))
