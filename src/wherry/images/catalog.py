"""The store's `index.json`: which images there are, what they are called, what hangs on them.

One descriptor for each name; an image without a name has one descriptor without. What hangs on an
image, such as a signature, has one that says on which. The file is replaced whole under a lock, so
it can be read at any time without one.
"""

import fcntl
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import msgspec

from wherry.disk import Reserve
from wherry.images.durable import replace_file
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
SUBJECT = "io.wherry.subject"
"""The annotation that makes an attachment of a manifest: the digest of what it hangs on."""
_LIMIT = 64 << 20


class Entry(msgspec.Struct, frozen=True):
    """One line of the catalog: what a name points to; without a name, a dangling image."""

    target: Descriptor
    reference: Reference | None = None

    @property
    def digest(self) -> Digest:
        """The target's digest."""
        return Digest(self.target.digest)

    def described(self) -> Descriptor:
        """The descriptor as it stands in index.json."""
        annotations = _named(self.reference) or None
        return msgspec.structs.replace(self.target, annotations=annotations)


class Attachment(msgspec.Struct, frozen=True):
    """A manifest that is about another: a signature, say. Its name is the one in registries."""

    target: Descriptor
    subject: Digest
    reference: Reference | None = None

    def described(self) -> Descriptor:
        """The descriptor as it stands in index.json."""
        annotations = {**_named(self.reference), SUBJECT: self.subject}
        return msgspec.structs.replace(self.target, annotations=annotations)


class _Contents(msgspec.Struct, frozen=True):
    """All that index.json says."""

    entries: tuple[Entry, ...]
    attachments: tuple[Attachment, ...]
    by_subject: dict[str, list[Attachment]]


class Catalog:
    """Reads and changes `index.json` of the layout at `root`, making it when there is none."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._index = root / "index.json"
        self._lock = root / "lock"
        self._reserve = Reserve(root / "reserve")
        self._cached: tuple[tuple[int, int, int], _Contents] | None = None
        layout = root / "oci-layout"
        if not layout.exists() or not self._index.exists():
            with self.locked(), storage_errors("make the image store"):
                if not self._index.exists():
                    self._write((), ())
                replace_file(layout, encode(Layout()))

    def entries(self) -> tuple[Entry, ...]:
        """All images; the same object as long as the file is the same. Raises StoreDamaged."""
        return self._contents().entries

    def attachments(self) -> tuple[Attachment, ...]:
        """Everything that hangs on images. Raises StoreDamaged."""
        return self._contents().attachments

    def attached(self, subject: str) -> list[Attachment]:
        """What hangs on the manifest or index of this digest. Raises StoreDamaged."""
        return self._contents().by_subject.get(subject, [])

    def _contents(self) -> _Contents:
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
        contents = self._parse(data)
        self._cached = (identity, contents)
        return contents

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other change out, of this process and of others."""
        fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def replace(
        self, entries: Iterable[Entry], attachments: Iterable[Attachment] | None = None
    ) -> None:
        """Write the images anew, and what hangs on them if it is given; to be called under the
        lock. Raises StorageFull.
        """
        hanging = self.attachments() if attachments is None else tuple(attachments)
        self._change(tuple(entries), hanging)

    def detach(self, attachments: Collection[Attachment]) -> None:
        """Take attachments off; to be called under the lock."""
        if attachments:
            kept = tuple(each for each in self.attachments() if each not in attachments)
            self._change(self.entries(), kept)

    def _change(self, entries: tuple[Entry, ...], attachments: tuple[Attachment, ...]) -> None:
        if entries != self.entries() or attachments != self.attachments():
            gives_room = len(entries) + len(attachments) <= self._count()
            with storage_errors("change the image store"):
                try:
                    self._write(entries, attachments)
                except OSError:
                    if not gives_room:
                        raise
                    self._reserve.release()
                    self._write(entries, attachments)
            self._reserve.take()

    def _count(self) -> int:
        return len(self.entries()) + len(self.attachments())

    def _write(self, entries: Iterable[Entry], attachments: Iterable[Attachment]) -> None:
        manifests = [entry.described() for entry in entries]
        manifests += [attachment.described() for attachment in attachments]
        self._cached = None
        replace_file(self._index, encode(Index(schema_version=2, manifests=manifests)))

    def _parse(self, data: bytes) -> _Contents:
        entries, attachments = [], []
        by_subject: dict[str, list[Attachment]] = {}
        try:
            index = decode(data, Index, str(self._index), _LIMIT)
            for found in index.manifests:
                parse_digest(found.digest)
                subject = (found.annotations or {}).get(SUBJECT)
                if subject is None:
                    entries.append(Entry(unnamed(found), reference_of(found)))
                    continue
                known = Attachment(unnamed(found), parse_digest(subject), reference_of(found))
                attachments.append(known)
                by_subject.setdefault(subject, []).append(known)
        except (InvalidDocument, InvalidDigest) as error:
            raise StoreDamaged(
                f"the image store's index is damaged: {error}: restore it, or remove the folder"
            ) from None
        return _Contents(tuple(entries), tuple(attachments), by_subject)


def _named(reference: Reference | None) -> dict[str, str]:
    if reference is None:
        return {}
    return {REF_NAME: reference.familiar, FULL_NAME: str(reference)}


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
