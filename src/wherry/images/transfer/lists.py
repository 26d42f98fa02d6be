"""Manifest lists: indexes that are put together by hand, and not images here until they are pushed.

What is in one may be in the store or only in a registry. A list is a file of its own, replaced
whole; it keeps nothing in the store.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from wherry.images.durable import replace_file
from wherry.images.errors import ImageNotFound, InvalidImage, StoreDamaged, storage_errors
from wherry.oci import (
    Descriptor,
    Index,
    MediaType,
    Platform,
    Reference,
    parse_reference,
)

_LIMIT = 4 << 20


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One image of a list: what it was called, and its manifest with the platform it is for."""

    name: str
    descriptor: Descriptor


class ManifestList(msgspec.Struct, frozen=True, kw_only=True):
    """A list being made: its whole name, and its images in the order they were added."""

    name: str
    members: list[Member]

    def document(self) -> Index:
        """The index as it will be pushed: Docker's kind if all in it is of that, else OCI's."""
        docker = all(
            each.descriptor.media_type == MediaType.DOCKER_MANIFEST for each in self.members
        )
        return Index(
            schema_version=2,
            media_type=MediaType.DOCKER_INDEX if docker else MediaType.INDEX,
            manifests=[each.descriptor for each in self.members],
        )


class Annotation(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What is to be said of the platform of one image in a list; what is empty stays."""

    manifest: str
    os: str = msgspec.field(name="OS", default="")
    architecture: str = ""
    variant: str = ""
    os_version: str = msgspec.field(name="OSVersion", default="")
    os_features: list[str] = msgspec.field(name="OSFeatures", default_factory=list)


class ManifestLists:
    """The lists below `folder`. Blocking."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, reference: Reference) -> ManifestList | None:
        """The list of that name. Raises StoreDamaged when its file is damaged."""
        path = self._path(reference)
        try:
            with open(path, "rb") as file:
                return msgspec.json.decode(file.read(_LIMIT), type=ManifestList)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise StoreDamaged(f"the manifest list in {path} is damaged: {error}") from None

    def create(self, reference: Reference, members: Sequence[Member], *, amend: bool) -> None:
        """Make a list, or with `amend` add to the one that is there. Raises InvalidImage."""
        known = self.get(reference)
        if known and not amend:
            raise InvalidImage(
                f"the manifest list {reference.familiar} is there already: add to it by --amend, "
                "or remove it first"
            )
        before = known.members if known else []
        digests = {each.descriptor.digest for each in members}
        kept = [each for each in before if each.descriptor.digest not in digests]
        self._write(reference, [*kept, *members])

    def annotate(self, reference: Reference, annotation: Annotation) -> None:
        """Say what an image of a list is for. Raises ImageNotFound, InvalidReference."""
        found = self._existing(reference)
        index = self._index(found, annotation.manifest)
        member = found.members[index]
        platform = member.descriptor.platform or Platform(architecture="", os="")
        platform = Platform(
            architecture=annotation.architecture or platform.architecture,
            os=annotation.os or platform.os,
            variant=annotation.variant or platform.variant,
            os_version=annotation.os_version or platform.os_version,
            os_features=annotation.os_features or platform.os_features,
        )
        members = [*found.members]
        members[index] = replace(member, descriptor=replace(member.descriptor, platform=platform))
        self._write(reference, members)

    def member(self, reference: Reference, name: str) -> Member:
        """The image `name` of a list. Raises ImageNotFound, InvalidReference."""
        found = self._existing(reference)
        return found.members[self._index(found, name)]

    def remove(self, reference: Reference) -> None:
        """Forget a list. Raises ImageNotFound."""
        try:
            self._path(reference).unlink()
        except FileNotFoundError:
            raise _no_list(reference) from None

    def _existing(self, reference: Reference) -> ManifestList:
        found = self.get(reference)
        if found is None:
            raise _no_list(reference)
        return found

    def _index(self, found: ManifestList, name: str) -> int:
        wanted = parse_reference(name).with_default_tag()
        for index, member in enumerate(found.members):
            if wanted.digest == member.descriptor.digest or str(wanted) == member.name:
                return index
        raise ImageNotFound(f"{name} is not in the manifest list {found.name}")

    def _write(self, reference: Reference, members: Sequence[Member]) -> None:
        made = ManifestList(name=str(reference), members=[*members])
        with storage_errors("write a manifest list"):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            replace_file(self._path(reference), msgspec.json.encode(made))

    def _path(self, reference: Reference) -> Path:
        return self._folder / f"{hashlib.sha256(str(reference).encode()).hexdigest()}.json"


def _no_list(reference: Reference) -> ImageNotFound:
    return ImageNotFound(f"no manifest list {reference.familiar} was made here")
