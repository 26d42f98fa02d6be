"""A root filesystem as one tar: what its layers come to, for `--output type=local` and `tar`."""

import os
from collections.abc import Mapping

from wherry.build.files import join
from wherry.build.rootfs import Rootfs
from wherry.images.tar import Entry, Kind, TarWriter
from wherry.images.tar.writer import Output

_CHUNK = 1 << 20


def export_files(roots: Mapping[str, Rootfs], out: Output) -> None:
    """Write the files of each of `roots` below the directory of that name, which may be "".

    Directories come before what is in them, and the topmost first of all. Other names of one file
    are hard links. Devices are left out.
    """
    tar = TarWriter(out)
    tar.add(Entry(".", Kind.DIRECTORY, 0o755))
    for prefix, root in roots.items():
        if prefix:
            tar.add(Entry(prefix, Kind.DIRECTORY, 0o755))
        _write(root, tar, prefix)
    tar.finish()


def _write(root: Rootfs, tar: TarWriter, prefix: str) -> None:
    linked: dict[tuple[int, int], str] = {}
    pending = [*reversed(root.names(""))]
    while pending:
        path = pending.pop()
        entry = root.entry(path)
        if entry is None or entry.kind in (Kind.CHARACTER, Kind.BLOCK):
            continue
        entry.name = name = join(prefix, path)
        if entry.kind is Kind.DIRECTORY:
            pending += [join(path, one) for one in reversed(root.names(path))]
        elif entry.kind is Kind.FILE:
            with root.open(path) as content:
                status = os.fstat(content.fileno())
                inode = (status.st_dev, status.st_ino)
                if status.st_nlink > 1 and inode in linked:
                    tar.add(Entry(name, Kind.HARDLINK, target=linked[inode]))
                    continue
                linked[inode] = name
                tar.add(entry)
                left = entry.size
                while left and (data := content.read(min(_CHUNK, left))):
                    tar.write(data)
                    left -= len(data)
            continue
        tar.add(entry)
