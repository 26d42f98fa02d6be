"""Reading archives: every file in one becomes a blob, then the documents say what is what.

So an archive may come from a pipe, with its documents anywhere in it, and nothing is unpacked
under a name that the archive chose.
"""

import hashlib
import posixpath
from collections.abc import Collection
from contextlib import suppress

import msgspec
from msgspec.structs import replace

from wherry.images.archive.hanging import by_cosign, split
from wherry.images.archive.saving import DockerImage
from wherry.images.beneath import clean
from wherry.images.blobs import BlobStore
from wherry.images.catalog import Attachment, reference_of, unnamed
from wherry.images.compression import Source, decompressed
from wherry.images.errors import DigestMismatch, InvalidImage
from wherry.images.image import checked, document, images_named, read_image
from wherry.images.reach import Key, Reach, key_of
from wherry.images.tar import Entry, InvalidTar, Kind, TarReader
from wherry.oci import (
    Descriptor,
    Digest,
    ImageConfig,
    Index,
    InvalidDigest,
    InvalidDocument,
    InvalidReference,
    Manifest,
    MediaType,
    Reference,
    decode,
    encode,
    parse_digest,
    parse_reference,
)
from wherry.oci.document import MAX_DOCUMENT

_MAX_FILES = 100_000
_MAX_LINKS = 8
_MAX_UNLISTED = 64 << 10
_CHUNK = 1 << 20
_UNKNOWN = "application/octet-stream"
_RATIO = 200
_FREE = 1 << 30


class Loaded(msgspec.Struct):
    """What an archive brought: targets with their names, what hangs on them, names for people."""

    targets: list[tuple[Descriptor, Reference | None]] = []
    attachments: list[Attachment] = []
    names: list[str] = []


def load(blobs: BlobStore, reach: Reach, source: Source, written: set[Digest]) -> Loaded:
    """Read an archive into `blobs` and check all of it.

    Digests of new blobs are added to `written`, whatever happens then. To be called inside a
    hold. Raises InvalidImage, DigestMismatch, StorageFull.
    """
    archive = _Archive(blobs, written)
    try:
        archive.read(source)
    except InvalidTar as error:
        raise InvalidImage(f"this is no image archive: {error}") from None
    loaded = Loaded()
    if "index.json" in archive.files and "oci-layout" in archive.files:
        targets, loaded.attachments = _oci_targets(archive)
    elif "manifest.json" in archive.files:
        targets = _docker_targets(archive)
    else:
        raise InvalidImage(
            "this is no image archive: neither an OCI index.json nor Docker's manifest.json is in "
            "it; files of a container are imported, not loaded"
        )
    # Of one image there may be as many names, and indexes, as there are bytes for them.
    whole: set[Key] = set()
    ids: dict[str, str] = {}
    for target, reference in targets:
        reach.verify(target, whole)
        loaded.targets.append((target, reference))
        loaded.names.append(reference.familiar if reference else _id(blobs, target, ids))
    if not loaded.targets:
        raise InvalidImage("the archive holds no image")
    for hanging in {key_of(each.target): each.target for each in loaded.attachments}.values():
        reach.verify_attachment(hanging)
    return loaded


def _id(blobs: BlobStore, target: Descriptor, known: dict[str, str]) -> str:
    """The id of the first image of a target that is whole; `known` are ids of manifests."""
    first = next(each for each in images_named(blobs, target) if blobs.has(checked(each.digest)))
    if first.digest not in known:
        known[first.digest] = read_image(blobs, first).id
    return known[first.digest]


class _Archive:
    """The files of an archive as blobs, by their path in it."""

    def __init__(self, blobs: BlobStore, written: set[Digest]) -> None:
        self.blobs = blobs
        self.files: dict[str, Descriptor] = {}
        self.written = written
        self._links: dict[str, str] = {}

    def read(self, source: Source) -> None:
        """Store every file. Raises InvalidTar, InvalidImage, DigestMismatch, StorageFull."""
        counted = _Counting(source)
        reader = TarReader(_Bounded(decompressed(counted), counted))
        for count, entry in enumerate(reader):
            if count >= _MAX_FILES:
                raise InvalidImage(f"an archive of more than {_MAX_FILES} files")
            self._take(reader, entry)

    def find(self, path: str) -> Descriptor:
        """The file at `path`, links followed: old archives share layers so.

        Raises InvalidImage.
        """
        try:
            place = clean(path)
            for _ in range(_MAX_LINKS):
                if place in self.files:
                    return self.files[place]
                place = self._links[place]
        except (KeyError, ValueError):
            pass
        raise InvalidImage(f"the archive has no file {path!r}")

    def document(self, path: str) -> bytes:
        """The bytes of a small file. Raises InvalidImage."""
        return self.blobs.read(Digest(self.find(path).digest), MAX_DOCUMENT)

    def unlisted(self, listed: Collection[str]) -> list[Descriptor]:
        """Manifests with a `subject` that are not in `listed`: `cosign save` names none of them."""
        found = []
        for path, file in self.files.items():
            if not path.startswith("blobs/") or file.size > _MAX_UNLISTED:
                continue
            with suppress(InvalidDocument):
                data = self.blobs.read(Digest(file.digest), _MAX_UNLISTED)
                if decode(data, Manifest, path).subject and file.digest not in listed:
                    found.append(replace(file, media_type=MediaType.MANIFEST))
        return found

    def _take(self, reader: TarReader, entry: Entry) -> None:
        try:
            path = clean(entry.name)
            if entry.kind is Kind.SYMLINK:
                target = posixpath.join(posixpath.dirname(path), entry.target)
                self._links[path] = clean(posixpath.normpath(target))
            elif entry.kind is Kind.HARDLINK:
                self._links[path] = clean(entry.target)
        except ValueError as error:
            raise InvalidImage(f"the archive is not safe: {error}") from None
        if entry.kind is not Kind.FILE:
            return
        if entry.extents is not None:
            raise InvalidImage(f"the archive has a sparse file: {entry.name!r}")
        with self.blobs.writer() as writer:
            while data := reader.read(_CHUNK):
                writer.write(data)
            found = writer.commit(_UNKNOWN, _announced(path), entry.size)
        if writer.created:
            self.written.add(Digest(found.digest))
        self.files[path] = found


def _oci_targets(
    archive: _Archive,
) -> tuple[list[tuple[Descriptor, Reference | None]], list[Attachment]]:
    index = document(archive.document("index.json"), Index, "index.json of the archive")
    entries = [*index.manifests]
    if by_cosign(entries):
        entries += archive.unlisted({each.digest for each in entries})
    images, hanging = split(archive.blobs, entries)
    return [(unnamed(found), reference_of(found)) for found in images], hanging


def _docker_targets(archive: _Archive) -> list[tuple[Descriptor, Reference | None]]:
    images = document(
        archive.document("manifest.json"), list[DockerImage], "manifest.json of the archive"
    )
    targets: list[tuple[Descriptor, Reference | None]] = []
    for image in images:
        target = _docker_image(archive, image)
        try:
            names = [parse_reference(name).with_default_tag() for name in image.repo_tags or ()]
        except InvalidReference as error:
            raise InvalidImage(f"manifest.json of the archive: {error}") from None
        targets += [(target, name) for name in names] or [(target, None)]
    return targets


def _docker_image(archive: _Archive, image: DockerImage) -> Descriptor:
    """Write a manifest for one of Docker's images: the config stays as it is, and so its id."""
    found = archive.find(image.config)
    raw = archive.document(image.config)
    config = document(raw, ImageConfig, f"config {image.config!r} of the archive")
    files = [archive.find(path) for path in image.layers or ()]
    diff_ids = config.rootfs.diff_ids
    if len(files) != len(diff_ids):
        raise InvalidImage(
            f"image {image.config!r} of the archive: {len(files)} layers, "
            f"but its config speaks of {len(diff_ids)}"
        )
    layers = [
        _docker_layer(archive.blobs, file, diff_id)
        for file, diff_id in zip(files, diff_ids, strict=True)
    ]
    manifest = Manifest(
        schema_version=2,
        config=Descriptor(media_type=MediaType.CONFIG, digest=found.digest, size=found.size),
        layers=layers,
    )
    with archive.blobs.writer() as writer:
        writer.write(encode(manifest))
        written = writer.commit(MediaType.MANIFEST)
    if writer.created:
        archive.written.add(Digest(written.digest))
    return Descriptor(
        media_type=written.media_type,
        digest=written.digest,
        size=written.size,
        platform=config.platform,
    )


def _docker_layer(blobs: BlobStore, file: Descriptor, diff_id: str) -> Descriptor:
    """The descriptor of a layer, its content checked: Docker's archives name no layer digests."""
    kind = MediaType.LAYER
    if file.digest != diff_id:
        with blobs.open(Digest(file.digest)) as blob:
            counted = _Counting(blob)
            content = decompressed(counted)
            bounded = _Bounded(content, counted)
            digest = hashlib.sha256()
            while data := bounded.read(_CHUNK):
                digest.update(data)
        if f"sha256:{digest.hexdigest()}" != diff_id:
            raise DigestMismatch(
                f"a layer's content has the digest sha256:{digest.hexdigest()}, "
                f"the config says {diff_id}"
            )
        kind = {"gzip": MediaType.LAYER_GZIP, "zstd": MediaType.LAYER_ZSTD}[content.compression]
    return Descriptor(media_type=kind, digest=file.digest, size=file.size)


class _Counting:
    def __init__(self, source: Source) -> None:
        self._source = source
        self.size = 0

    def read(self, size: int) -> bytes:
        data = self._source.read(size)
        self.size += len(data)
        return data


class _Bounded:
    """Refuses what grows far beyond what was read for it."""

    def __init__(self, content: Source, stored: _Counting) -> None:
        self._content = content
        self._stored = stored
        self._size = 0

    def read(self, size: int) -> bytes:
        data = self._content.read(size)
        self._size += len(data)
        if self._size > max(_FREE, self._stored.size * _RATIO):
            raise InvalidImage("a decompression bomb: far more content than bytes stored")
        return data


def _announced(path: str) -> Digest | None:
    """The digest that a path in a layout promises."""
    parts = path.split("/")
    if len(parts) != 3 or parts[0] != "blobs":
        return None
    try:
        return parse_digest(f"{parts[1]}:{parts[2]}")
    except InvalidDigest:
        raise InvalidImage(f"the archive has a blob with the name {path!r}") from None
