"""What is told of an image, before it is a document."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from wherry.wasm import Anatomy


class Package(NamedTuple):
    """A package that some package manager has installed.

    `kind` and `namespace` are purl's ("deb" and "debian", "pypi" and ""). `licenses` are SPDX
    expressions or names, as they were told. `place` is the file that tells of it; `qualifiers` are
    the purl's. `sha1` is in hexadecimal.
    """

    kind: str
    name: str
    version: str
    place: str
    namespace: str = ""
    licenses: tuple[str, ...] = ()
    qualifiers: tuple[tuple[str, str], ...] = ()
    description: str = ""
    homepage: str = ""
    supplier: str = ""
    sha1: str = ""
    files: int | None = None
    """How many files it has installed, if it tells."""


class Module(NamedTuple):
    """A module or component that lies at `place`, in the layer of that digest ("" for a file)."""

    place: str
    anatomy: Anatomy
    layer: str = ""
    is_program: bool = False
    """Whether it is what a container of the image runs."""


class Layer(NamedTuple):
    """A layer of an image: its blob. `size` is in bytes."""

    digest: str
    media_type: str
    size: int


class Subject(NamedTuple):
    """What the bill is for. `created` is RFC 3339, or empty.

    Of an image `name` is its familiar name without tag or digest, `version` the tag, `digest` the
    manifest's and `platform` as people write it; of a file `name` is its name, and `digest` its.
    """

    name: str
    digest: str
    is_image: bool
    version: str = ""
    created: str = ""
    platform: str = ""
    author: str = ""


class Files(Protocol):
    """The files of an image, as its containers see them. Paths have no leading slash."""

    def walk(self) -> Iterator[str]:
        """The paths of all regular files, sorted in each folder."""

    def read(self, path: str, limit: int) -> bytes | None:
        """The content of a file, links followed; None if there is none, or it is larger."""
