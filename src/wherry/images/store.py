"""The image store: names, images and their content in one folder."""

from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from wherry.images.attachments import Attachments
from wherry.images.blobs import BlobStore
from wherry.images.catalog import Attachment, Catalog, Entry
from wherry.images.compression import Source
from wherry.images.errors import ImageNotFound, storage_errors
from wherry.images.holds import Holds
from wherry.images.housekeeping import Housekeeping, Removal, Usage
from wherry.images.image import Image, checked, descend
from wherry.images.layer import Layer
from wherry.images.lookup import Lookup, Selected
from wherry.images.members import Member, members
from wherry.images.narrowing import manifests_below, others
from wherry.images.rootfs import RootFilesystems
from wherry.images.tar.writer import Output
from wherry.images.writing import Written, write_index, write_manifest
from wherry.oci import Descriptor, Digest, ImageConfig, Platform, Reference

if TYPE_CHECKING:
    from wherry.images.checking import Fault, Progress

_Images = list[Image]
_Paths = list[Path]
_Texts = list[str]
_Descriptors = list[Descriptor]


class ImageStore:
    """All images below one data root: `images/`, an OCI image layout, and `layers/`, unpacked.

    The code that their modules were compiled to lies in `cache/`, which others fill; it goes with
    the last layer that has the module.

    Blocking, and safe to use from many threads and processes at once. A process may be killed at
    any point: what it had not finished is not there. Whoever writes blobs that no image names yet
    does so inside `hold`.
    """

    def __init__(self, root: Path, linux: Callable[[], bool] = lambda: False) -> None:
        """Open the store below the data root, making it if it is not there.

        `linux` tells whether this machine has a runtime for Linux programs, on which depends what
        is taken of an index. Raises ImageError.
        """
        images = root / "images"
        with storage_errors(f"open the image store in {root}"):
            images.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._holds = Holds(images / "hold")
            self._catalog = Catalog(images)
            self.blobs = BlobStore(images, self._holds)
            self._rootfs = RootFilesystems(root / "layers", self.blobs, self._holds)
        self.attachments = Attachments(self._catalog, self.blobs)
        self._lookup = Lookup(self._catalog, self.blobs, linux)
        self._housekeeping = Housekeeping(
            self._catalog, self._lookup, self.blobs, self._rootfs, self._holds, root / "cache"
        )

    def hold(self) -> AbstractContextManager[None]:
        """Blobs, layers and images that this thread or task works with inside stay meanwhile.

        So does what it hands to `asyncio.to_thread`. A hold ends with its process, however that
        ends.
        """
        return self._holds.hold()

    def resolve(self, name: str, platform: Platform | None = None) -> Image:
        """The image `name` stands for: a name, name:tag, name@digest, id or beginning of an id.

        It is for looking at: of an image index one that is in the store, chosen as
        `wherry.images.choice` says, else the first. Raises ImageNotFound, AmbiguousImage,
        NoSuchPlatform, InvalidImage.
        """
        return self._lookup.resolve(name, platform)

    def select(self, name: str, platform: Platform | None = None) -> Selected:
        """The image to run as `name`, chosen from all platforms that its index has.

        Raises as `resolve`; NoSuchPlatform also where the one to run is not in the store.
        """
        return self._lookup.select(name, platform)

    def platforms(self, name: str) -> _Images:
        """All images behind `name` that are in the store, one for each platform of an index.

        Raises as `resolve`.
        """
        return [*self._lookup.find(name).images]

    def members(self, target: Descriptor) -> Sequence[Member]:
        """What a name's index has of each platform, and how much of it is in the store.

        Raises ImageNotFound, InvalidImage.
        """
        return [*members(self.blobs, self._rootfs, target)]

    def tag(self, target: Descriptor, reference: Reference) -> None:
        """Give a manifest or index a name (`latest` if it has no tag).

        The image that had the name before stays in the store, dangling if it has no other.
        Raises ImageNotFound when the target is not in the store.
        """
        self._enter([Entry(target, reference.with_default_tag())])

    def target(self, reference: Reference) -> Descriptor | None:
        """What exactly this name, tag or digest included, points to."""
        wanted = reference.with_default_tag()
        entries = self._catalog.entries()
        return next((entry.target for entry in entries if entry.reference == wanted), None)

    def references(self, repository: Reference) -> list[tuple[Reference, Descriptor]]:
        """The tags that `repository` has here, its own tag or digest aside, and their targets."""
        return [
            (entry.reference, entry.target)
            for entry in self._catalog.entries()
            if entry.reference and entry.reference.tag and entry.reference.name == repository.name
        ]

    def discard(self, digests: Collection[Digest]) -> None:
        """Remove those of some blobs that no image needs and no other hold spares."""
        self._housekeeping.discard(digests)

    def write_image(
        self,
        config: ImageConfig,
        layers: Sequence[Descriptor],
        *,
        reference: Reference | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> Image:
        """Make an image of layers that are in the store, lowest first, and name it.

        `annotations` become the manifest's. Without a `reference` the image is dangling. Raises
        InvalidImage when the layers are not those of the config, ImageNotFound when one is not in
        the store.
        """
        with self.hold():
            target = self.write_manifest(config, layers, annotations=annotations).target
            self.enter(target, [reference] if reference else [])
            return self.resolve(target.digest)

    def write_manifest(
        self,
        config: ImageConfig,
        layers: Sequence[Descriptor],
        *,
        annotations: Mapping[str, str] | None = None,
    ) -> Written:
        """As `write_image`, but the image is none yet: it is listed by `enter`, or an index of it.

        To be called within a hold.
        """
        return write_manifest(self.blobs, config, layers, annotations)

    def write_index(self, manifests: Sequence[Descriptor]) -> Descriptor:
        """Write an image index of manifests that are in the store, in their order.

        Images with zstd layers are marked, as podman and skopeo mark them.
        To be called within a hold; it is listed by `enter`.
        """
        return write_index(self.blobs, manifests)

    def enter(self, target: Descriptor, references: Sequence[Reference]) -> None:
        """List what was written under these names, without one as dangling; all in one step."""
        named = [Entry(target, reference.with_default_tag()) for reference in references]
        self._enter(named or [Entry(target)])

    def below(self, target: Descriptor) -> list[Digest]:
        """The digests of a manifest or index, and of all below it, that are in the store."""
        found = descend(self.blobs, target, tolerant=True)
        digests = (checked(each.digest) for each in found)
        return [digest for digest in digests if self.blobs.has(digest)]

    def lowerdirs(self, image: Image) -> _Paths:
        """The image's unpacked layers, topmost first, as overlay's `lowerdir` wants them.

        Unpacks what is missing, each layer once, checked before it is used. Never empty: an image
        without layers has one empty folder. The folders are shared and must not be written to.
        Raises InvalidLayer, DigestMismatch, ImageNotFound, StorageFull.
        """
        with self.hold():
            self.blobs.keep(image.blobs)
            return self._rootfs.lowerdirs(image.layers)

    def layer_lowerdirs(self, layers: Sequence[Layer]) -> _Paths:
        """As `lowerdirs`, for layers (lowest first) that are not an image yet."""
        with self.hold():
            return self._rootfs.lowerdirs(layers)

    def layer_folder(self, layers: Sequence[Layer]) -> Path:
        """The unpacked last of some layers (lowest first). Raises as `lowerdirs`.

        Those below it are unpacked only if it has hard links to their files.
        """
        with self.hold():
            return self._rootfs.top(layers)

    def unpack_ahead(self, layers: Sequence[Layer]) -> None:
        """Unpack layers, in no order, for `lowerdirs` to come. Raises as that.

        What has hard links to files of lower layers is left to it.
        """
        with self.hold():
            self._rootfs.unpack_ahead(layers)

    def save(self, names: Sequence[str], out: Output, platform: Platform | None = None) -> None:
        """Write images as one tar that is both an OCI archive and one for `docker load`.

        With a `platform`, of each index only the image for that. `out` needs no more than `write`.
        Raises as `resolve`, before anything is written.
        """
        # An idle engine is 0.1 MB smaller without what reads and writes archives.
        from wherry.images.archive import save

        with self.hold():
            reach = self._housekeeping.reach
            save(self._lookup, reach, self.blobs, self.attachments, names, out, platform)

    def load(self, source: Source, platform: Platform | None = None) -> _Texts:
        """Read what `docker save`, `save` or skopeo wrote, compressed or not; all or nothing.

        With a `platform`, of each index only the image for that stays. Returns the names, or the
        ids of images without a name. `source` needs no more than `read`. Raises InvalidImage,
        DigestMismatch, StorageFull, NoSuchPlatform; then the store is as it was.
        """
        from wherry.images.archive import load

        written: set[Digest] = set()
        unwanted: _Descriptors = []
        try:
            with self.hold():
                loaded = load(self.blobs, self._housekeeping.reach, source, written)
                if platform is not None:
                    targets = (target for target, _ in loaded.targets)
                    named = [*zip(targets, loaded.names, strict=True)]
                    unwanted = others(self.blobs, named, platform)
                entries = [Entry(target, reference) for target, reference in loaded.targets]
                self._enter(entries, loaded.attachments)
        except BaseException:
            # Of an index that was here before it may have brought half an image.
            known = [entry.target for entry in self._catalog.entries()]
            unwanted = manifests_below(self.blobs, known)
            raise
        finally:
            self._housekeeping.discard(written)
            # What was here before stays.
            self._housekeeping.drop([each for each in unwanted if each.digest in written])
        return loaded.names

    def remove(self, name: str, *, force: bool = False, in_use: Collection[Digest] = ()) -> Removal:
        """Take a name off an image, and with its last name the image out of the store.

        By id, all names go. `in_use` are the ids of images that containers use: with `force` they
        lose their names but stay, dangling; so does one that a hold is working with. Raises
        ImageInUse, and what `resolve` raises.
        """
        return self._housekeeping.remove(name, force, frozenset(in_use))

    def remove_platforms(
        self, name: str, platforms: Sequence[Platform], in_use: Collection[Digest] = ()
    ) -> Removal:
        """Remove the images for some platforms of what `name` stands for; the name stays.

        Every index that names one of them goes without it. `in_use` is as in `remove`. Raises
        ImageInUse, also where nothing would be left, NoSuchPlatform, and what `resolve` raises.
        """
        return self._housekeeping.remove_platforms(name, platforms, frozenset(in_use))

    def prune(
        self,
        *,
        all: bool = False,
        in_use: Collection[Digest] = (),
        until: datetime | None = None,
        labels: Sequence[str] = (),
        without_labels: Sequence[str] = (),
    ) -> Removal:
        """Remove dangling images, or `all` that no container uses, and collect garbage.

        Only images made before `until`, with each of `labels` and none of `without_labels` (KEY or
        KEY=VALUE). `in_use` are ids of images, and digests of blobs that are to stay.
        """
        return self._housekeeping.prune(
            all=all,
            in_use=frozenset(in_use),
            until=until,
            labels=labels,
            without_labels=without_labels,
        )

    def collect(self, in_use: Collection[Digest] = ()) -> int:
        """Remove what no image needs, layers of the build cache too; the bytes given back."""
        return self._housekeeping.collect(frozenset(in_use))

    def discard_layers(self, layers: Iterable[Layer], in_use: Collection[Digest] = ()) -> int:
        """Remove those of some layers that no image needs and no hold spares, unpacked ones too.

        `in_use` is as in `prune`. Returns the bytes given back.
        """
        names: set[str] = set()
        for layer in layers:
            names.add(layer.descriptor.digest)
            names.update(self._rootfs.keys([layer]))
        return self._housekeeping.discard(names, frozenset(in_use))

    def sweep(self) -> None:
        """Remove what was left half-made when somebody was killed. For the engine's start."""
        self._housekeeping.sweep()

    def usage(self, in_use: Collection[Digest] = ()) -> Usage:
        """What the store takes on disk, and what `prune(all=True, in_use=in_use)` would free."""
        return self._housekeeping.usage(frozenset(in_use))

    def modules(self, image: Image | None = None) -> frozenset[str]:
        """The SHA-256 of the Wasm modules in all unpacked layers, or in those of an image."""
        names: Iterable[str] = self._rootfs.names()
        if image is not None:
            names = self._rootfs.keys(image.layers)
        return self._rootfs.modules(names)

    def left_out(self, image: Image) -> _Texts:
        """Device nodes of an unpacked image that this process was not allowed to make."""
        keys = self._rootfs.keys(image.layers)
        return self._rootfs.left_out(keys)

    def forget_code(self, modules: Collection[str]) -> None:
        """Remove the compiled code of those of `modules` that no unpacked layer has."""
        self._housekeeping.forget_code(modules)

    def check(self) -> _Texts:
        """Read everything and compare it with its digest; one line for each thing wrong."""
        from wherry.images.checking import Fault

        return [str(found) for found in self.checking() if isinstance(found, Fault)]

    def checking(
        self,
        *,
        repair: bool = False,
        busy: Collection[Path] = (),
        layers: Collection[Layer] = (),
    ) -> "Generator[Fault | Progress, None, None]":
        """Read everything and compare it with what it must be, layers with their blobs.

        With `repair`, damaged layers are made anew, but for those in `busy` (as `lowerdirs` gives
        them), on which containers run; and damaged blobs are removed, so that they can come again.
        `layers` are looked at beside those of images, if they are unpacked.
        """
        return self._housekeeping.check(repair=repair, busy=busy, layers=layers)

    def list(self) -> _Images:
        """All images, dangling ones too; for an index the one `resolve` would take."""
        return [*self._lookup.images()]

    def _enter(self, new: Sequence[Entry], hanging: Sequence[Attachment] = ()) -> None:
        """Put entries into the catalog, and what hangs on them, in one step."""
        with self.hold(), self._catalog.locked():
            for entry in new:
                if not self.blobs.has(entry.digest):
                    raise ImageNotFound(f"no such image: {entry.digest}")
            attachments = self.attachments.beside(hanging)
            self._catalog.replace(entered(self._catalog.entries(), new), attachments)
        self._lookup.forget()


def entered(entries: Sequence[Entry], new: Sequence[Entry]) -> Sequence[Entry]:
    """The catalog after `new` came in: names move, and what lost its last one is dangling."""
    result = [*entries]
    for entry in new:
        before = [old for old in result if entry.reference and old.reference == entry.reference]
        result = [old for old in result if old not in before]
        digests = {old.digest for old in result}
        result += [Entry(old.target) for old in before if old.digest not in digests]
        if entry.reference:
            result = [old for old in result if old.reference or old.digest != entry.digest]
            result.append(entry)
        elif entry.digest not in {old.digest for old in result}:
            result.append(entry)
    return result
