"""Files of this machine as a tar stream, produced while it is read."""

from __future__ import annotations

import os
import stat

from wherry.client.errors import ClientError
from wherry.tar_header import BLOCK, DIRECTORY, FILE, SYMLINK, header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PORTION = 1 << 18


class FileChanged(ClientError):
    """A file became shorter while it was read."""


def in_memory(name: str, content: bytes) -> bytes:
    """A whole member that is no file of this machine."""
    head = header(name, FILE, mode=0o644, size=len(content))
    return head + content + b"\0" * (-len(content) % BLOCK)


def pack(
    root: str,
    name: str,
    *,
    skips: Callable[[str, bool], bool] = lambda path, folder: False,
    owners: bool = False,
    follow: bool = False,
) -> Iterator[bytes]:
    """The members for a file, or for a folder and all in it in the order of names.

    `root` is called `name` in the archive; `skips(path, is_folder)` gets paths relative to it and
    leaves out what it says yes to, for a folder with all that is in it. With `follow` a symbolic
    link at the root is replaced by its target. Raises `FileChanged` and OSError.
    """
    status = os.stat(root) if follow else os.lstat(root)
    if not _travels(status.st_mode):
        raise ClientError(f"{root}: neither a file nor a folder")
    yield from _one(root, name, status, owners)
    if stat.S_ISDIR(status.st_mode):
        yield from _inside(root, name, "", skips, owners)


def _inside(
    folder: str, name: str, path: str, skips: Callable[[str, bool], bool], owners: bool
) -> Iterator[bytes]:
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        inner = f"{path}/{entry.name}" if path else entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if skips(inner, is_folder):
            continue
        inner_name = f"{name}/{entry.name}" if name else entry.name
        status = entry.stat(follow_symlinks=False)
        if _travels(status.st_mode):
            yield from _one(entry.path, inner_name, status, owners)
            if is_folder:
                yield from _inside(entry.path, inner_name, inner, skips, owners)


def _travels(mode: int) -> bool:
    """Devices, pipes and sockets stay at home."""
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


def _one(path: str, name: str, status: os.stat_result, owners: bool) -> Iterator[bytes]:
    """A member. Owners are root's unless asked for; hard links become files of their own."""
    mode = status.st_mode
    flag = SYMLINK if stat.S_ISLNK(mode) else DIRECTORY if stat.S_ISDIR(mode) else FILE
    size = status.st_size if flag == FILE else 0
    start = header(
        name,
        flag,
        mode=stat.S_IMODE(mode),
        uid=status.st_uid if owners else 0,
        gid=status.st_gid if owners else 0,
        size=size,
        mtime=int(status.st_mtime),
        target=os.readlink(path) if flag == SYMLINK else "",
    )
    if flag != FILE:
        yield start
        return
    with open(path, "rb") as file:
        left = size
        while left:
            portion = file.read(min(left, _PORTION))
            if not portion:
                raise FileChanged(f"{path} became shorter while it was read; try again")
            left -= len(portion)
            yield start + portion
            start = b""
        yield start + b"\0" * (-size % BLOCK)
