"""Files of this machine as a tar stream, produced while it is read."""

from __future__ import annotations

import os
import stat
import tarfile

from wherry.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PORTION = 1 << 18
END = b"\0" * 1024
"""What a tar archive ends with."""


class FileChanged(ClientError):
    """A file became shorter while it was read."""


def member(
    name: str, status: os.stat_result, *, link: str = "", owners: bool = False
) -> tarfile.TarInfo | None:
    """The head of one file, None for what is no file, folder or symbolic link.

    Owners are root's unless asked for; hard links become files of their own.
    """
    info = tarfile.TarInfo(name)
    mode = status.st_mode
    if stat.S_ISREG(mode):
        info.size = status.st_size
    elif stat.S_ISDIR(mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(mode):
        info.type = tarfile.SYMTYPE
        info.linkname = link
    else:
        return None
    info.mode = stat.S_IMODE(mode)
    info.mtime = int(status.st_mtime)
    if owners:
        info.uid, info.gid = status.st_uid, status.st_gid
    return info


def head(info: tarfile.TarInfo) -> bytes:
    """The bytes of a member's head."""
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def in_memory(name: str, content: bytes) -> bytes:
    """A whole member that is no file of this machine."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o644
    return head(info) + content + b"\0" * (-len(content) % 512)


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
    link = os.readlink(root) if stat.S_ISLNK(status.st_mode) else ""
    info = member(name, status, link=link, owners=owners)
    if info is None:
        raise ClientError(f"{root}: neither a file nor a folder")
    yield from _one(root, info)
    if info.isdir():
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
        link = os.readlink(entry.path) if entry.is_symlink() else ""
        inner_name = f"{name}/{entry.name}" if name else entry.name
        status = entry.stat(follow_symlinks=False)
        info = member(inner_name, status, link=link, owners=owners)
        if info is not None:
            yield from _one(entry.path, info)
            if is_folder:
                yield from _inside(entry.path, inner_name, inner, skips, owners)


def _one(path: str, info: tarfile.TarInfo) -> Iterator[bytes]:
    if not info.isreg():
        yield head(info)
        return
    with open(path, "rb") as file:
        start = head(info)
        left = info.size
        while left:
            portion = file.read(min(left, _PORTION))
            if not portion:
                raise FileChanged(f"{path} became shorter while it was read; try again")
            left -= len(portion)
            yield start + portion
            start = b""
        yield start + b"\0" * (-info.size % 512)
