"""A tree of files written to a folder of this machine."""

from pathlib import Path

from wherry.build.errors import BuildError
from wherry.build.files import FileTree, join
from wherry.images.tar import Kind
from wherry.images.tree import TreeWriter


def copy_tree(tree: FileTree, path: str, target: Path) -> None:
    """Write what is at `path` in `tree` as `target`: a file, or a directory that may be there.

    Devices are left out. Raises BuildError.
    """
    entry = tree.entry(path)
    try:
        if entry is not None and entry.kind is Kind.FILE:
            with TreeWriter(target.parent) as writer, tree.open(path) as content:
                writer.add(target.name, entry, content.read)
            return
        target.mkdir(exist_ok=True)
        with TreeWriter(target) as writer:
            pending = [("", path)]
            while pending:
                name, path = pending.pop()
                entry = tree.entry(path)
                if entry is None or entry.kind in (Kind.CHARACTER, Kind.BLOCK):
                    continue
                if entry.kind is Kind.FILE:
                    with tree.open(path) as content:
                        writer.add(name, entry, content.read)
                    continue
                writer.add(name, entry, lambda size: b"")
                if entry.kind is Kind.DIRECTORY:
                    pending += [(join(name, one), join(path, one)) for one in tree.names(path)]
    except OSError as error:
        raise BuildError(f"{path!r} cannot be copied: {error.strerror or error}") from None
