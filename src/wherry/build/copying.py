"""COPY and ADD: from which files to which places (Dockerfile reference, "COPY", "ADD")."""

import posixpath
from collections.abc import Callable

import msgspec

from wherry.build.errors import BuildError
from wherry.build.files import FileTree, find, join, resolve
from wherry.build.layer_plan import LayerPlan, Override
from wherry.build.patterns import is_wild
from wherry.images.tar import Kind

_REMOTE = ("http://", "https://", "git://", "git@", "ftp://")


class Transfer(msgspec.Struct, frozen=True):
    """A COPY or ADD with its variables replaced.

    `documents` are the names and contents of here-documents. `origin` says in errors where the
    files come from ("the build context"), `missing_hint` why one may not be there. `unpack` opens
    an archive among them as a tree; None for what is no archive, which for COPY is everything.
    """

    keyword: str
    sources: tuple[str, ...]
    documents: tuple[tuple[str, bytes], ...]
    destination: str
    origin: str
    missing_hint: str
    override: Override
    unpack: Callable[[FileTree, str], FileTree | None]


def plan_transfer(transfer: Transfer, files: FileTree, root: FileTree, workdir: str) -> LayerPlan:
    """What the layer above `root` gets. `workdir` is absolute. Raises BuildError."""
    found = [path for source in transfer.sources for path in _find(transfer, files, source)]
    if not found and not transfer.documents:
        raise BuildError(f"{transfer.keyword}: the pattern matches nothing in {transfer.origin}")
    plan = LayerPlan(root)
    destination = transfer.destination
    target = resolve(root, posixpath.join(workdir, destination))
    into = posixpath.basename(destination) in ("", ".", "..") or plan.is_directory(target)
    if len(found) + len(transfer.documents) > 1 and not into:
        message = f"{transfer.keyword}: there are several sources"
        raise BuildError(f"{message}, so the destination is a directory: write {destination}/")
    for path in found:
        source = resolve(files, path)
        place = join(target, posixpath.basename(path)) if into else target
        _add(plan, transfer, files, source, target, place)
    for name, data in transfer.documents:
        plan.add_data(join(target, name) if into else target, data, transfer.override)
    return plan


def _add(
    plan: LayerPlan, transfer: Transfer, files: FileTree, source: str, target: str, place: str
) -> None:
    """Copy `source`: as the file `place`, or its content into the directory `target`."""
    entry = files.entry(source)
    if entry is None:
        raise BuildError(f"{transfer.keyword}: /{source}, where a link leads, does not exist")
    if entry.kind is Kind.FILE and (archive := transfer.unpack(files, source)):
        plan.add(archive, "", target, transfer.override)
    else:
        where = target if entry.kind is Kind.DIRECTORY else place
        plan.add(files, source, where, transfer.override)


def _find(transfer: Transfer, files: FileTree, source: str) -> list[str]:
    if source.startswith(_REMOTE):
        message = f"{transfer.keyword}: {source} is remote, which is not supported yet"
        raise BuildError(f"{message}: download it first, then COPY the file")
    inside = posixpath.normpath(source.lstrip("/") or ".")
    if inside.split("/")[0] == "..":
        raise BuildError(f"{transfer.keyword}: {source!r} climbs out of {transfer.origin}")
    found = find(files, inside)
    if not found and not is_wild(inside):
        hint = transfer.missing_hint
        raise BuildError(f"{transfer.keyword}: {source!r} is not in {transfer.origin}{hint}")
    return found
