"""COPY and ADD: from which files to which places (Dockerfile reference, "COPY", "ADD")."""

import posixpath
from collections.abc import Callable

import msgspec

from wherry.build.errors import BuildError
from wherry.build.excluding import without_excluded
from wherry.build.files import FileTree, find, join, parent, resolve
from wherry.build.layer_plan import LayerPlan, Override
from wherry.build.patterns import is_wild
from wherry.images.tar import Kind


class Transfer(msgspec.Struct, frozen=True):
    """A COPY or ADD with its variables replaced.

    `documents` are the names and contents of here-documents, `downloads` what was fetched: each
    its name, if it has one, and the tree in which it is the only file; `repositories` are all that
    is in their trees. `origin` says in errors
    where the files come from ("the build context"), `missing_hint` why one may not be there.
    `unpack` opens an archive as a tree; None for what is no archive or is not to be unpacked.
    """

    keyword: str
    sources: tuple[str, ...]
    documents: tuple[tuple[str, bytes], ...]
    downloads: tuple[tuple[str, FileTree], ...]
    repositories: tuple[FileTree, ...]
    destination: str
    origin: str
    missing_hint: str
    override: Override
    unpack: Callable[[FileTree, str], FileTree | None]
    unpack_download: Callable[[FileTree, str], FileTree | None]
    exclude: tuple[str, ...] = ()
    parents: bool = False


class _Found(msgspec.Struct, frozen=True):
    """A source that is there, and what it is called from where --parents begins."""

    path: str
    below: str


def plan_transfer(transfer: Transfer, files: FileTree, root: FileTree, workdir: str) -> LayerPlan:
    """What the layer above `root` gets. `workdir` is absolute. Raises BuildError."""
    found = [each for source in transfer.sources for each in _find(transfer, files, source)]
    count = len(found) + len(transfer.documents) + len(transfer.downloads)
    count += len(transfer.repositories)
    if not count:
        raise BuildError(f"{transfer.keyword}: the pattern matches nothing in {transfer.origin}")
    plan = LayerPlan(root)
    destination = transfer.destination
    target = resolve(root, posixpath.join(workdir, destination))
    into = posixpath.basename(destination) in ("", ".", "..") or plan.is_directory(target)
    if count > 1 and not into and not transfer.parents:
        message = f"{transfer.keyword}: there are several sources"
        raise BuildError(f"{message}, so the destination is a directory: write {destination}/")
    for each in found:
        source = resolve(files, each.path)
        tree = without_excluded(files, source, each.path, transfer.exclude)
        if tree is None:
            continue
        if transfer.parents:
            _add_with_parents(plan, transfer, tree, each, target)
            continue
        place = join(target, posixpath.basename(each.path)) if into else target
        _add(plan, transfer, tree, source, target, place)
    for name, data in transfer.documents:
        plan.add_data(join(target, name) if into else target, data, transfer.override)
    for name, tree in transfer.downloads:
        if into and not name:
            message = f"{transfer.keyword}: the URL says no name for the file"
            raise BuildError(f"{message}: write the whole destination, not a directory")
        archive = transfer.unpack_download(tree, "file")
        if archive is not None:
            plan.add(archive, "", target, transfer.override)
        else:
            plan.add(tree, "file", join(target, name) if into else target, transfer.override)
    for tree in transfer.repositories:
        kept = without_excluded(tree, "", "", transfer.exclude)
        assert kept is not None
        plan.add(kept, "", target, transfer.override)
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


def _add_with_parents(
    plan: LayerPlan, transfer: Transfer, files: FileTree, found: _Found, target: str
) -> None:
    """Copy a source to the same place below `target`, with the folders above it as they are."""
    above = []
    path, below = parent(found.path), parent(found.below)
    while below:
        above.append((path, below))
        path, below = parent(path), parent(below)
    for path, below in reversed(above):
        plan.add_directory(files, resolve(files, path), join(target, below), transfer.override)
    entry = files.entry(found.path)
    place = join(target, found.below) if found.below else target
    if entry is not None and entry.kind is Kind.DIRECTORY:
        plan.add_directory(files, found.path, place, transfer.override)
    plan.add(files, found.path, place, transfer.override)


def _find(transfer: Transfer, files: FileTree, source: str) -> list[_Found]:
    pivot, dot, rest = source.partition("/./")
    start = _inside(transfer, pivot) if transfer.parents and dot else ""
    inside = _inside(transfer, f"{pivot}/{rest}" if dot else source)
    found = find(files, inside, deep=transfer.parents)
    if not found and not is_wild(inside):
        hint = transfer.missing_hint
        raise BuildError(f"{transfer.keyword}: {source!r} is not in {transfer.origin}{hint}")
    depth = len([part for part in start.split("/") if part not in ("", ".")])
    return [_Found(path, "/".join(path.split("/")[depth:])) for path in found]


def _inside(transfer: Transfer, source: str) -> str:
    """`source` below the root of the files. Raises BuildError if it is not."""
    inside = posixpath.normpath(source.lstrip("/") or ".")
    if inside.split("/")[0] == "..":
        raise BuildError(f"{transfer.keyword}: {source!r} climbs out of {transfer.origin}")
    return inside
