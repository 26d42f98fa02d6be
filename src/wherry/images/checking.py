"""Reading a whole store and comparing it with what it must be.

Documents are decoded, blobs hashed, unpacked layers compared with what their blobs say. What is
removed by somebody meanwhile is no fault.
"""

import hashlib
from collections.abc import Collection, Generator, Sequence
from pathlib import Path

import msgspec

from wherry.images.blobs import BlobStore
from wherry.images.catalog import Attachment, Catalog, Entry
from wherry.images.errors import (
    ImageError,
    ImageNotFound,
    InvalidImage,
    StorageFull,
    StoreDamaged,
)
from wherry.images.holds import Holds
from wherry.images.image import images_below
from wherry.images.layer import Layer
from wherry.images.reach import Reach
from wherry.images.rootfs import RootFilesystems
from wherry.oci import Digest

_CHUNK = 1 << 20
_STEP = 64 << 20
"""Bytes that are read between two words of how far it has come."""
_REPAIR = "'wherry system check --repair' mends that"
_AGAIN = "pull, load or build it again"
_SIGN_AGAIN = "sign it again, or pull it with --verify-key"


class Fault(msgspec.Struct, frozen=True):
    """What is wrong, and what to do; or that it was mended."""

    what: str
    remedy: str
    mended: bool = False

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


class Progress(msgspec.Struct, frozen=True):
    """How much of `total` (bytes, or things) is done of one `part` of the check."""

    part: str
    done: int
    total: int


class Checking:
    """One store's check. With `repair`, what can be made anew is, and damaged blobs are removed.

    A layer that one of `busy`, folders of layers, is stays as it is: a container runs on it.
    `layers` may be unpacked as well, beside those of images.
    """

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        rootfs: RootFilesystems,
        reach: Reach,
        holds: Holds,
        *,
        repair: bool = False,
        busy: Collection[Path] = (),
        layers: Collection[Layer] = (),
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._rootfs = rootfs
        self._reach = reach
        self._holds = holds
        self._repair = repair
        self._busy = frozenset(busy)
        self._further = layers

    def run(self) -> Generator[Fault | Progress, None, None]:
        """Check everything."""
        try:
            entries, attachments = self._catalog.entries(), self._catalog.attachments()
        except StoreDamaged as error:
            what, _, remedy = str(error).rpartition(": ")
            yield Fault(what, remedy)
            entries, attachments = (), ()
        yield from self._check_images(entries)
        yield from self._check_attachments(attachments)
        yield from self._check_blobs(entries)
        yield from self._check_layers(entries)

    def _check_images(self, entries: Collection[Entry]) -> Generator[Fault | Progress, None, None]:
        for count, entry in enumerate(entries):
            yield Progress("images", count, len(entries))
            try:
                self._reach.verify(entry.target)
            except (ImageError, OSError) as error:
                if entry in self._catalog.entries():
                    yield Fault(f"image {_called(entry)}: {error}", _AGAIN)
        yield Progress("images", len(entries), len(entries))

    def _check_attachments(
        self, attachments: Collection[Attachment]
    ) -> Generator[Fault, None, None]:
        for each in attachments:
            try:
                self._reach.verify_attachment(each.target)
            except (ImageError, OSError) as error:
                if each in self._catalog.attachments():
                    yield Fault(f"a signature of image {each.subject}: {error}", _SIGN_AGAIN)

    def _check_blobs(self, entries: Collection[Entry]) -> Generator[Fault | Progress, None, None]:
        digests = [*self._blobs.digests()]
        total, done = sum(map(self._size, digests)), 0
        for digest in digests:
            try:
                found = hashlib.new(digest.partition(":")[0])
                with self._blobs.open(digest) as file:
                    while data := file.read(_CHUNK):
                        found.update(data)
                        done += len(data)
                        if done // _STEP != (done - len(data)) // _STEP:
                            yield Progress("blobs", done, total)
            except ImageNotFound:
                continue
            except OSError as error:
                yield Fault(f"blob {digest} cannot be read: {error.strerror}", _AGAIN)
                continue
            if not digest.endswith(f":{found.hexdigest()}"):
                yield self._damaged_blob(digest, found.hexdigest(), entries)
        yield Progress("blobs", total, total)

    def _damaged_blob(self, digest: Digest, found: str, entries: Collection[Entry]) -> Fault:
        """What is damaged is of no use, and stands in the way of another copy: it can be removed.

        An image that has been unpacked runs on without it.
        """
        what = f"blob {digest} is damaged, its digest is {found}"
        names = sorted(
            {_called(entry) for entry in entries if digest in self._reach.of(entry.target)}
        )
        again = f"pull, load or build again: {', '.join(names)}" if names else "no image needs it"
        if not self._repair:
            return Fault(what, f"remove it by 'wherry system check --repair', then {again}")
        with self._catalog.locked(), self._holds.collecting() as spared:
            if spared is None or digest in spared:
                return Fault(what, "it is being used: repair it once that is done")
            self._blobs.delete(digest)
            self._reach.forget({digest})
        return Fault(what, f"it was removed; {again}", mended=not names)

    def _check_layers(self, entries: Collection[Entry]) -> Generator[Fault | Progress, None, None]:
        layers = self._layers(entries)
        names = self._rootfs.names()
        broken = set(self._rootfs.damaged())
        for name in broken.intersection(names):
            what = f"{self._rootfs.path(name)} is no layer, or a damaged one"
            yield self._mended(name, None, what)
        # A layer with files of lower ones comes after those, which it is compared with.
        known = sorted(
            (name for name in names if name in layers and name not in broken),
            key=lambda name: (self._rootfs.is_stacked(name), len(layers[name])),
        )
        total, done = sum(layers[name][-1].descriptor.size for name in known), 0
        doubtful: set[str] = set()
        for name in known:
            yield Progress("layers", done, total)
            done += layers[name][-1].descriptor.size
            if self._rootfs.is_stacked(name) and not doubtful.isdisjoint(
                each.diff_id for each in layers[name]
            ):
                continue  # What it would be compared with is damaged, and was told.
            try:
                if fault := self._check_layer(name, layers[name]):
                    if not fault.mended:
                        doubtful.add(layers[name][-1].diff_id)
                    yield fault
            except StorageFull as error:
                what, _, remedy = str(error).partition(": ")
                yield Fault(f"layers cannot be compared with their blobs, {what}", remedy)
                break
        yield Progress("layers", total, total)

    def _check_layer(self, name: str, layers: Sequence[Layer]) -> Fault | None:
        diff_id = layers[-1].diff_id
        try:
            found = self._rootfs.differences(name, layers)
            if found:
                more = f", and {len(found) - 1} more" if len(found) > 1 else ""
                what = f"layer {diff_id}, unpacked in {self._rootfs.path(name)}: {found[0]}{more}"
                return self._made_anew(name, layers, what)
        except ImageNotFound:
            pass  # What is missing was told with the images.
        except InvalidImage as error:
            return Fault(f"layer {diff_id} cannot be unpacked: {error}", _AGAIN)
        except StorageFull:
            raise
        except (ImageError, OSError) as error:
            if self._rootfs.path(name).exists():
                what = f"layer {diff_id} cannot be compared with its blob"
                return Fault(f"{what}: {error}", "mend that, and check again")
        return None

    def _made_anew(self, name: str, layers: Sequence[Layer], what: str) -> Fault:
        if not self._repair:
            return Fault(what, _REPAIR)
        try:
            with self._rootfs.made_anew(name, layers) as copy:
                return self._mended(name, copy, what)
        except StorageFull as error:
            return Fault(f"{what}; it cannot be made anew", str(error))

    def _mended(self, name: str, copy: str | None, what: str) -> Fault:
        if not self._repair:
            return Fault(what, _REPAIR)
        with self._catalog.locked(), self._holds.collecting() as spared:
            path = self._rootfs.path(name) / "fs"
            if spared is None or name in spared or path in self._busy:
                return Fault(what, "containers or builds use it: end them, then repair it")
            if copy is None:
                self._rootfs.sweep([self._rootfs.discard(name)[1]])
                return Fault(what, "it was removed", mended=True)
            self._rootfs.exchange(name, copy)
            return Fault(what, "it was made anew", mended=True)

    def _layers(self, entries: Collection[Entry]) -> dict[str, Sequence[Layer]]:
        """By the names that its folder may have, each layer of all images in the store and those
        below it, lowest first; and other layers.
        """
        found: dict[str, Sequence[Layer]] = {}
        for known in self._further:
            ((name, _),) = self._rootfs.names_of([known])
            found[name] = (known,)
        for entry in entries:
            try:
                images = images_below(self._blobs, entry.target)
            except ImageError:
                continue
            for image in images:
                layers = image.layers
                for count, names in enumerate(self._rootfs.names_of(layers), 1):
                    found |= dict.fromkeys(names, layers[:count])
        return found

    def _size(self, digest: Digest) -> int:
        try:
            return self._blobs.size(digest)
        except ImageNotFound:
            return 0


def _called(entry: Entry) -> str:
    return entry.reference.familiar if entry.reference else entry.digest
