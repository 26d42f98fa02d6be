"""The store's `index.json`: which images there are, and what they are called.

One descriptor for each name; an image without a name has one descriptor without. The file is
replaced whole under a lock, so it can be read at any time without one.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import msgspec

from wherry.images._durable import replace_file
from wherry.images.errors import StoreDamaged, storage_errors
from wherry.oci import (
    Descriptor,
    Digest,
    Index,
    InvalidDigest,
    InvalidDocument,
    InvalidReference,
    Layout,
    Reference,
    decode,
    encode,
    parse_digest,
    parse_reference,
)

REF_NAME = "org.opencontainers.image.ref.name"
"""The annotation skopeo and others look names up by; holds the familiar name here."""
FULL_NAME = "io.containerd.image.name"
"""containerd's and Docker's annotation with the whole name."""
_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the catalog: what a name points to; without a name, a dangling image."""

    target: Descriptor
    reference: Reference | None = None

    @property
    def digest(self) -> Digest:
        """The target's digest."""
        return Digest(self.target.digest)

    def described(self) -> Descriptor:
        """The descriptor as it stands in index.json."""
        annotations = None
        if self.reference:
            annotations = {
                REF_NAME: self.reference.familiar,
                FULL_NAME: str(self.reference),
            }
        return msgspec.structs.replace(self.target, annotations=annotations)


class Catalog:
    """Reads and changes `index.json` of the layout at `root`, making it when there is none."""

    def __init__(self, root: Path) -> None:
        self._index = root / "index.json"
        self._lock = root / "lock"
        self._cached: tuple[tuple[int, int, int], tuple[Entry, ...]] | None = None
        layout = root / "oci-layout"
        if not layout.exists() or not self._index.exists():
            with self.locked(), storage_errors("make the image store"):
                if not self._index.exists():
                    self._write(())
                replace_file(layout, encode(Layout()))

    def entries(self) -> tuple[Entry, ...]:
        """All entries; the same object as long as the file is the same. Raises StoreDamaged."""
        try:
            with open(self._index, "rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                identity = (status.st_ino, status.st_mtime_ns, status.st_size)
                cached = self._cached
                if cached and cached[0] == identity:
                    return cached[1]
                data = file.read(_LIMIT + 1)
        except OSError as error:
            raise StoreDamaged(f"{self._index}: {error.strerror}") from None
        entries = tuple(self._parse(data))
        self._cached = (identity, entries)
        return entries

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other change out, of this process and of others."""
        fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def replace(self, entries: Iterable[Entry]) -> None:
        """Write the catalog anew; to be called under the lock. Raises StorageFull."""
        after = tuple(entries)
        if after != self.entries():
            with storage_errors("change the image store"):
                self._write(after)

    def _write(self, entries: Iterable[Entry]) -> None:
        manifests = [entry.described() for entry in entries]
        self._cached = None
        replace_file(self._index, encode(Index(schema_version=2, manifests=manifests)))

    def _parse(self, data: bytes) -> Iterator[Entry]:
        try:
            index = decode(data, Index, str(self._index), _LIMIT)
            for found in index.manifests:
                parse_digest(found.digest)
                yield Entry(unnamed(found), reference_of(found))
        except (InvalidDocument, InvalidDigest) as error:
            raise StoreDamaged(
                f"the image store's index is damaged: {error}: restore it, or remove the folder"
            ) from None


def unnamed(descriptor: Descriptor) -> Descriptor:
    """The descriptor without annotations, which belong to where it stands."""
    return msgspec.structs.replace(descriptor, annotations=None)


def reference_of(descriptor: Descriptor) -> Reference | None:
    """The name a descriptor carries in its annotations, if it is one."""
    annotations = descriptor.annotations or {}
    for key in (FULL_NAME, REF_NAME):
        if found := _parsed(annotations.get(key, "")):
            return found
    return None


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Reference | None:
    """Remembered, since each change of the catalog makes all of it be read again."""
    try:
        return parse_reference(text).with_default_tag()
    except InvalidReference:
        return None
