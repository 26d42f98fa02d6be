"""Files that are kept because they may be wanted again, but only so many bytes of them.

Whoever may run containers decides what is kept, and must not fill the disk by that. Compiled code
is such a shelf: below one root are folders, and in them files that are called by the digest of the
module that the code is of (64 hexadecimal digits), with what belongs to them behind a dot. Beside
those lie NOTES, where one module's digest is the content of each file.
"""

import contextlib
import os
from collections.abc import Collection, Iterable

_DIGEST = 64

NOTES = "digests"
"""The folder in which files tell digests, so that who has a module's file need not read it."""

SHARE = 10
"""The part of its file system that a shelf may take is one of so many."""

LEAST = 2 << 30
"""Bytes that it may take at least."""


def make_room(folders: Iterable[str], spare: str, most: int | None = None) -> None:
    """Remove what was used longest ago from the shelf that lies in `folders`, until it is small.

    Files of one name but for what follows a dot go together; those called `spare` stay. `most` is
    in bytes, by default a share of the file system. What goes meanwhile, goes.
    """
    used: dict[tuple[str, str], list[os.stat_result]] = {}
    for folder in folders:
        with contextlib.suppress(OSError):
            for entry in os.scandir(folder):
                with contextlib.suppress(OSError):
                    if entry.is_file(follow_symlinks=False):
                        key = (folder, entry.name.partition(".")[0])
                        used.setdefault(key, []).append(entry.stat(follow_symlinks=False))
    sizes = {key: sum(status.st_blocks for status in files) * 512 for key, files in used.items()}
    left = sum(sizes.values())
    for key in sorted(used, key=lambda key: max(_last_use(status) for status in used[key])):
        if left <= (_default(key[0]) if most is None else most):
            return
        if key[1] and key[1] != spare:
            _remove(*key)
            left -= sizes[key]


def sizes(root: str | os.PathLike[str]) -> dict[str, int]:
    """What is kept below `root`, by what it is called for: bytes on disk."""
    found: dict[str, int] = {}
    for folder in _folders(root):
        for entry in _files(folder):
            with contextlib.suppress(OSError):
                name, status = entry.name.partition(".")[0], entry.stat(follow_symlinks=False)
                if len(name) == _DIGEST:  # Else it is about no module.
                    found[name] = found.get(name, 0) + status.st_blocks * 512
    return found


def forget(root: str | os.PathLike[str], digests: Collection[str]) -> None:
    """Remove from the shelf below `root` what is called by `digests`, and the notes of them.

    Whoever has it open keeps it; whoever wants it next makes it again.
    """
    for folder in _folders(root):
        for name in {entry.name.partition(".")[0] for entry in _files(folder)}.intersection(
            digests
        ):
            _remove(folder, name)
    for entry in _files(os.path.join(root, NOTES)):
        with contextlib.suppress(OSError), open(entry.path) as note:
            if note.read(80) in digests:
                os.unlink(entry.path)


def _folders(root: str | os.PathLike[str]) -> list[str]:
    try:
        with os.scandir(root) as entries:
            found = [each for each in entries if each.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [entry.path for entry in found if entry.name != NOTES]


def _files(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if entry.is_file(follow_symlinks=False)]
    except OSError:
        return []


def _last_use(status: os.stat_result) -> float:
    # Where the time of access is not kept, that of making has to do.
    return max(status.st_atime, status.st_mtime)


def _default(folder: str) -> int:
    system = os.statvfs(folder)
    return max(LEAST, system.f_blocks * system.f_frsize // SHARE)


def _remove(folder: str, name: str) -> None:
    for file in sorted(os.listdir(folder), reverse=True):  # what tells of a file before the file
        if file.partition(".")[0] == name:
            with contextlib.suppress(OSError):
                os.unlink(f"{folder}/{file}")
