"""The build context: what the client sent, as it arrives and as the Dockerfile's files."""

from pathlib import Path
from typing import Self

from wherry.build.archive import ArchiveTree
from wherry.build.compressed import BLOCK, is_tar, unpack_archive
from wherry.build.errors import BuildError
from wherry.build.files import resolve
from wherry.build.patterns import IgnoreRules
from wherry.build.spool import Spool
from wherry.images.tar import Entry, Kind, TarWriter

_MAX_TEXT = 1 << 20
_LOWER_CASE = "dockerfile"


class Context:
    """A build context: a tar archive, plain or compressed, that is written into it.

    `folder` is where what does not fit in memory goes; the data root's `build`. A context manager:
    leaving it drops everything.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._spool = Spool(folder)
        self.may_be_dockerfile = False
        """Whether what was written, if it is no archive, is a Dockerfile that needs no files."""

    def write(self, data: bytes) -> int:
        """Take the next bytes of the archive. Raises BuildError when there is no room."""
        return self._spool.write(data)

    def files(self) -> ArchiveTree:
        """The files in it, once all of it was written. Raises BuildError."""
        with self._spool.open() as source:
            plain = is_tar(source.read(BLOCK))
        if not plain:
            with self._spool.open() as source:
                unpacked = unpack_archive(source, self._folder)
            if unpacked is None and self.may_be_dockerfile and self._spool.size <= _MAX_TEXT:
                unpacked = self._with_dockerfile()
            if unpacked is None:
                raise BuildError("the build context is not a tar archive: send one, or a folder")
            self._spool.close()
            self._spool = unpacked
        return ArchiveTree(self._spool, own=True)

    def _with_dockerfile(self) -> Spool:
        with self._spool.open() as source:
            text = source.read()
        spool = Spool(self._folder)
        archive = TarWriter(spool)
        archive.file(Entry("Dockerfile", Kind.FILE, 0o644, size=len(text)), text)
        archive.finish()
        return spool

    def close(self) -> None:
        """Drop everything."""
        self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_dockerfile(files: ArchiveTree, path: str) -> tuple[str, bytes]:
    """The Dockerfile's name, for errors, and its content. Raises BuildError."""
    content = _read(files, path)
    if content is None and path == "Dockerfile":
        path, content = _LOWER_CASE, _read(files, _LOWER_CASE)
    if content is None:
        name = "Dockerfile" if path == _LOWER_CASE else path
        raise BuildError(f"there is no {name} in the build context: add it, or name one with -f")
    return path, content


def apply_ignore_file(files: ArchiveTree, dockerfile: str) -> None:
    """Drop what the .dockerignore excludes, if the client did not. Raises BuildError."""
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        content = _read(files, name)
        if content is not None:
            rules = IgnoreRules(content.decode("utf-8-sig", "replace"))
            if rules:
                files.ignore(rules)
            return


def _read(files: ArchiveTree, path: str) -> bytes | None:
    path = resolve(files, path)
    entry = files.entry(path)
    if entry is None or entry.kind is not Kind.FILE:
        return None
    if entry.size > _MAX_TEXT:
        raise BuildError(f"{path} is larger than {_MAX_TEXT >> 20} MiB")
    with files.open(path) as file:
        return file.read()
