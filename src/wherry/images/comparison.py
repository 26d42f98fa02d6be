"""Whether a folder is as an outline says: content, owners, modes, times, links.

What the kernel itself keeps beside (times of access, labels of security modules) is not compared.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from wherry.images.beneath import Root
from wherry.images.outline import content_hash
from wherry.images.walk import open_file

_ATTRIBUTES = ("user.", "trusted.overlay.", "security.capability")
_Inodes = dict[tuple[int, int], str]


def differences(
    expected: Path, digests: Mapping[int, bytes], found: Path, since: int
) -> Iterator[str]:
    """One short line for each path that is not as expected; what lies in such a one is left out.

    `expected` is an outline with the `digests` of its files, begun at `since` (nanoseconds): what
    is no older are folders that the layer does not speak of, and deletions, whose time may be any.
    Neither is changed by anybody meanwhile. Raises OSError.
    """
    with Root(expected) as one, Root(found) as other:
        links: tuple[_Inodes, _Inodes] = ({}, {})
        pending = [""]
        while pending:
            path = pending.pop()
            what = _difference(one, digests, other, path, links)
            folder = stat.S_ISDIR(_status(one, path).st_mode)
            if not what and not _same_time(one, other, path, since):
                what = "has another time"
            if what:
                yield f"/{_shown(path)} {what}"
            if what.startswith("is ") or not folder:
                continue
            wanted, there = _names(one, path), _names(other, path)
            for name in sorted(wanted ^ there):
                what = "is missing" if name in wanted else "does not belong there"
                yield f"/{_shown(_below(path, name))} {what}"
            pending += (_below(path, name) for name in sorted(wanted & there, reverse=True))


def _difference(
    one: Root,
    digests: Mapping[int, bytes],
    other: Root,
    path: str,
    links: tuple[_Inodes, _Inodes],
) -> str:
    """What is another in itself; "" if nothing is."""
    wanted, found = _status(one, path), _status(other, path)
    kind = stat.S_IFMT(wanted.st_mode)
    if kind != stat.S_IFMT(found.st_mode):
        return "is something else"
    if wanted.st_mode != found.st_mode:
        right = f"{stat.S_IMODE(wanted.st_mode):o}"
        return f"has the mode {stat.S_IMODE(found.st_mode):o} instead of {right}"
    if (wanted.st_uid, wanted.st_gid) != (found.st_uid, found.st_gid):
        right = f"{wanted.st_uid}:{wanted.st_gid}"
        return f"belongs to {found.st_uid}:{found.st_gid} instead of {right}"
    if _attributes(one, path) != _attributes(other, path):
        return "has other extended attributes"
    if wanted.st_rdev != found.st_rdev:
        return "is another device"
    if kind == stat.S_IFREG:
        digest = digests.get(wanted.st_ino, b"")
        if not _same_content(digest, other, path, wanted, found, links):
            return "has other content"
    if kind == stat.S_IFLNK and _target(one, path) != _target(other, path):
        return "leads elsewhere"
    return ""


def _same_time(one: Root, other: Root, path: str, since: int) -> bool:
    wanted, found = _status(one, path).st_mtime_ns, _status(other, path).st_mtime_ns
    return wanted == found or wanted >= since


def _same_content(
    digest: bytes,
    other: Root,
    path: str,
    wanted: os.stat_result,
    found: os.stat_result,
    links: tuple[_Inodes, _Inodes],
) -> bool:
    """A file with several names is read by the first of them; all must be names of one file."""
    if wanted.st_size != found.st_size or wanted.st_nlink != found.st_nlink:
        return False
    if wanted.st_nlink > 1:
        first, also = (
            known.setdefault((status.st_dev, status.st_ino), path)
            for known, status in zip(links, (wanted, found), strict=True)
        )
        if first != also or first != path:
            return first == also
    with open_file(other, path) as file:
        return hashlib.file_digest(file, content_hash).digest() == digest


def _status(root: Root, path: str) -> os.stat_result:
    folder, _, name = path.rpartition("/")
    return os.stat(name or ".", dir_fd=root.folder(folder), follow_symlinks=False)


def _target(root: Root, path: str) -> str:
    folder, _, name = path.rpartition("/")
    return os.readlink(name, dir_fd=root.folder(folder))


def _attributes(root: Root, path: str) -> dict[str, bytes]:
    folder, _, name = path.rpartition("/")
    place = f"/proc/self/fd/{root.folder(folder)}/{name or '.'}"
    return {
        key: os.getxattr(place, key, follow_symlinks=False)
        for key in os.listxattr(place, follow_symlinks=False)
        if key.startswith(_ATTRIBUTES)
    }


def _names(root: Root, path: str) -> set[str]:
    fd = root.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        return set(os.listdir(fd))
    finally:
        os.close(fd)


def _shown(path: str) -> str:
    """A path as one line of text, whatever bytes it is made of."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in path)


def _below(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
