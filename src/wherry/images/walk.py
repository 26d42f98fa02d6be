"""Reading a tree of files beneath its root as tar entries, in sorted order."""

import errno
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from io import FileIO

from wherry.images.beneath import Root
from wherry.images.tar import Entry, Kind
from wherry.images.tree import OVERLAY_XATTRS, OWNER, recorded_owner

_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFCHR: Kind.CHARACTER,
    stat.S_IFBLK: Kind.BLOCK,
}
_CAPABILITY = "security.capability"
_NO_XATTRS = frozenset({errno.ENOTSUP, errno.ENODATA, errno.EPERM, errno.ENOENT})


def walk(root: Root, top: str = "") -> Iterator[Entry]:
    """`top` (clean, relative) and everything below it; a folder comes before what is in it.

    An entry's name is its path beneath the root, and so is a hard link's target. Sockets are
    left out. Raises OSError.
    """
    linked: dict[tuple[int, int], str] = {}
    pending = [top]
    while pending:
        path = pending.pop()
        try:
            entry = _entry(root, path, linked)
        except FileNotFoundError:
            if path == top:
                raise
            continue  # It was removed meanwhile.
        if entry is None:
            continue
        yield entry
        if entry.kind is Kind.DIRECTORY:
            fd = root.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                names = sorted(os.listdir(fd), reverse=True)
            finally:
                os.close(fd)
            pending += (f"{path}/{name}" if path else name for name in names)


def entry_at(root: Root, path: str) -> Entry | None:
    """What is at `path` (clean, relative), a file by its first name; None if it is a socket.

    Raises OSError.
    """
    return _entry(root, path, {})


def open_file(root: Root, path: str) -> FileIO:
    """A regular file beneath the root, never a pipe or device that it was replaced by.

    Such a one is not even opened, which a device might take for an order. Raises OSError.
    """
    place = root.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        return reopened(place, path)
    finally:
        os.close(place)


def reopened(place: int, path: str) -> FileIO:
    """The content of the regular file that `place`, an O_PATH descriptor, is. Raises OSError."""
    if not stat.S_ISREG(os.fstat(place).st_mode):
        raise OSError(errno.EINVAL, "is no regular file", path)
    return FileIO(os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC), "rb")


def extents_of(file: FileIO, size: int) -> list[tuple[int, int]]:
    """The (offset, length) of what is stored of a file of `size` bytes, its holes left out."""
    found: list[tuple[int, int]] = []
    end = 0
    while end < size:
        try:
            start = os.lseek(file.fileno(), end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
        found.append((start, end - start))
    return found


class Extents:
    """Reads what is stored of a file, one extent after the other."""

    def __init__(self, file: FileIO, extents: Iterable[tuple[int, int]]) -> None:
        self._file = file
        self._pending = deque(extents)

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; b"" at the end. Raises OSError when the file has become shorter."""
        if not self._pending:
            return b""
        offset, length = self._pending.popleft()
        data = os.pread(self._file.fileno(), min(size, length), offset)
        if not data:
            raise OSError(errno.EIO, "became shorter while it was read")
        if len(data) < length:
            self._pending.appendleft((offset + len(data), length - len(data)))
        return data


def xattrs_of(place: str | int) -> dict[str, bytes]:
    """The extended attributes that belong to the content; a link's are its own."""
    follow = isinstance(place, int)
    found = {}
    try:
        for name in os.listxattr(place, follow_symlinks=follow):
            if name.startswith("user.") or name == _CAPABILITY:
                found[name] = os.getxattr(place, name, follow_symlinks=follow)
    except OSError as error:
        if error.errno not in _NO_XATTRS:
            raise
    return found


def _entry(root: Root, path: str, linked: dict[tuple[int, int], str]) -> Entry | None:
    folder, _, name = path.rpartition("/")
    at = root.folder(folder)
    status = os.stat(name or ".", dir_fd=at, follow_symlinks=False)
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return None
    inode = (status.st_dev, status.st_ino)
    if kind is Kind.FILE and status.st_nlink > 1:
        if inode in linked:
            return Entry(path, Kind.HARDLINK, target=linked[inode])
        linked[inode] = path
    entry = Entry(
        path,
        kind,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_size if kind is Kind.FILE else 0,
        status.st_mtime_ns,
    )
    if kind is Kind.SYMLINK:
        entry.target = os.readlink(name, dir_fd=at)
    if kind in (Kind.CHARACTER, Kind.BLOCK):
        entry.major, entry.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    xattrs = xattrs_of(f"/proc/self/fd/{at}/{name}" if name else f"/proc/self/fd/{at}/.")
    if owner := recorded_owner(xattrs.pop(OWNER, b"")):
        entry.uid, entry.gid, entry.mode = owner
    entry.xattrs = {
        key: value for key, value in xattrs.items() if not key.startswith(OVERLAY_XATTRS)
    }
    return entry
