"""Writing files, folders and links into a tree beneath its root, as tar entries say.

Owners that cannot be set, because the process is not root or its user namespace does not map
them, are recorded in an extended attribute instead, with the mode they go with.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec

from wherry.images.beneath import Root, remove_tree
from wherry.images.tar import Entry, Kind
from wherry.wasm import sniff

OWNER = "user.containers.override_stat"
"""The owner and mode a file should have: `UID:GID:MODE`, decimal and octal."""
OVERLAY_XATTRS = ("trusted.overlay.", "user.overlay.")
"""What overlayfs itself goes by; never taken from an archive or put into one."""

_RECORDED = re.compile(rb"(\d{1,10}):(\d{1,10}):([0-7]{1,7})(?::.*)?", re.DOTALL)
_MAX_ID = (1 << 32) - 2
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IGNORED = frozenset({errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL, errno.ERANGE})
_MAX_MAJOR, _MAX_MINOR = 1 << 12, 1 << 20
"""The kernel's bounds of the two numbers of a device."""
_CHUNK = 1 << 20
_MAX_MODULES = 1000
_MODULE = b"\0(; \t\r\n"
"""What a Wasm file may begin with."""


class _Folder(msgspec.Struct):
    mode: int
    mtime: int
    uid: int
    gid: int
    xattrs: dict[str, bytes]


class TreeWriter:
    """Writes entries below `path`; folders get their final mode and time at the end.

    A context manager. Entry names are clean and relative ("" is the top); a name that exists is
    replaced, a folder by a folder is merged. Raises OSError, whose `filename` is the entry's.
    `bytes` are those of the files written, `modules` the SHA-256 of those that are Wasm (not of
    sparse ones, and of no more than a thousand), `left_out` the paths of device nodes that could
    not be made. `root` is the open folder.
    """

    def __init__(self, path: Path) -> None:
        self.root = Root(path)
        self._folders: dict[str, _Folder] = {}
        self._ids = (os.geteuid(), os.getegid())
        self.bytes = 0
        self.modules: set[str] = set()
        self.left_out: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self.root:
            if kind is None:
                self._finish_folders()

    def place(self, path: str) -> tuple[int, str]:
        """The folder of `path`, made if need be, and the last part of the path."""
        folder, _, name = path.rpartition("/")
        return self.root.folder(folder, make=True), name

    def add(self, path: str, entry: Entry, read: Callable[[int], bytes]) -> None:
        """Write one entry at `path`; `read` gives a file's stored content."""
        match entry.kind:
            case Kind.DIRECTORY:
                self._folder(path, entry)
            case Kind.FILE:
                self._file(path, entry, read)
            case Kind.SYMLINK:
                at, name = self._vacate(path)
                os.symlink(entry.target, name, dir_fd=at)
                self._finish(at, name, entry)
            case Kind.FIFO:
                at, name = self._vacate(path)
                os.mkfifo(name, 0o600, dir_fd=at)
                self._finish(at, name, entry)
            case Kind.CHARACTER | Kind.BLOCK:
                self._device(path, entry)

    def hardlink(self, path: str, target: str) -> None:
        """Make `path` another name of `target`; both are beneath the root."""
        source_folder, _, source = target.rpartition("/")
        source_at = os.dup(self.root.folder(source_folder))
        try:
            status = os.stat(source, dir_fd=source_at, follow_symlinks=False)
            at, name = self.place(path)
            if _same(status, at, name):
                return
            at, name = self._vacate(path)
            os.link(source, name, src_dir_fd=source_at, dst_dir_fd=at, follow_symlinks=False)
        finally:
            os.close(source_at)

    def remove(self, path: str) -> None:
        """Remove whatever is at `path`."""
        at, name = self.place(path)
        remove_tree(name, at)
        self.root.forget()
        self._folders = {
            known: folder
            for known, folder in self._folders.items()
            if known != path and not known.startswith(f"{path}/")
        }

    def exists(self, path: str) -> os.stat_result | None:
        """What is at `path`, if anything, without following it."""
        try:
            folder, _, name = path.rpartition("/")
            at = self.root.folder(folder)
            return os.stat(name or ".", dir_fd=at, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def setxattr(self, path: str, name: str, value: bytes) -> None:
        """Set an attribute of the folder `path`."""
        os.setxattr(_proc(self.root.folder(path)), name, value)

    def removexattr(self, path: str, name: str) -> None:
        """Take an attribute off the folder `path`."""
        os.removexattr(_proc(self.root.folder(path)), name)

    def _folder(self, path: str, entry: Entry) -> None:
        if path:
            at, name = self.place(path)
            try:
                os.mkdir(name, 0o700, dir_fd=at)
            except FileExistsError:
                status = os.stat(name, dir_fd=at, follow_symlinks=False)
                if not stat.S_ISDIR(status.st_mode):
                    self.remove(path)
                    at, name = self.place(path)
                    os.mkdir(name, 0o700, dir_fd=at)
        self._folders[path] = _Folder(entry.mode, entry.mtime, entry.uid, entry.gid, entry.xattrs)

    def _file(self, path: str, entry: Entry, read: Callable[[int], bytes]) -> None:
        at, name = self.place(path)
        try:
            fd = os.open(name, _WRITE, 0o600, dir_fd=at)
        except FileExistsError:
            at, name = self._vacate(path)
            fd = os.open(name, _WRITE, 0o600, dir_fd=at)
        try:
            if entry.extents is not None:
                self._sparse(fd, entry, read)
            else:
                self._content(fd, read)
            self.bytes += entry.size
            self._owner(fd, entry.uid, entry.gid, entry.mode)
            if entry.xattrs:
                _set_xattrs(fd, entry.xattrs)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _device(self, path: str, entry: Entry) -> None:
        if entry.major >= _MAX_MAJOR or entry.minor >= _MAX_MINOR:
            raise OSError(errno.EINVAL, "no device has such a number", path)
        at, name = self._vacate(path)
        form = stat.S_IFCHR if entry.kind is Kind.CHARACTER else stat.S_IFBLK
        device = os.makedev(entry.major, entry.minor)
        if not device:
            # To overlayfs this would say that the name is deleted.
            self.left_out.add(path)
            return
        try:
            os.mknod(name, form | 0o600, device, dir_fd=at)
        except PermissionError:
            self.left_out.add(path)
        else:
            self._finish(at, name, entry)

    def _content(self, fd: int, read: Callable[[int], bytes]) -> None:
        data = read(_CHUNK)
        module = None
        if data[:1] in _MODULE and len(self.modules) < _MAX_MODULES and sniff(data[:4096]):
            module = hashlib.sha256()
        while data:
            _write(fd, data)
            if module is not None:
                module.update(data)
            data = read(_CHUNK)
        if module is not None:
            self.modules.add(module.hexdigest())

    def _sparse(self, fd: int, entry: Entry, read: Callable[[int], bytes]) -> None:
        for offset, length in entry.extents or ():
            os.lseek(fd, offset, os.SEEK_SET)
            left = length
            while left:
                data = read(min(_CHUNK, left))
                _write(fd, data)
                left -= len(data)
        os.ftruncate(fd, entry.size)

    def _owner(self, fd: int, uid: int, gid: int, mode: int) -> None:
        """Owner, then mode: a change of owner clears the set-id bits."""
        if (uid, gid) != self._ids:
            try:
                os.fchown(fd, uid, gid)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EINVAL):
                    raise
                _set_xattr(fd, OWNER, f"{uid}:{gid}:{mode:o}".encode())
        os.fchmod(fd, mode)

    def _finish(self, at: int, name: str, entry: Entry) -> None:
        """Owner and time of what cannot be opened."""
        try:
            os.chown(name, entry.uid, entry.gid, dir_fd=at, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL):
                raise
        if entry.kind is not Kind.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=at)
        if entry.xattrs:
            _set_xattrs(f"{_proc(at)}/{name}", entry.xattrs)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=at, follow_symlinks=False)

    def _vacate(self, path: str) -> tuple[int, str]:
        at, name = self.place(path)
        try:
            os.unlink(name, dir_fd=at)
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError):
            self.remove(path)
            return self.place(path)
        else:
            # It may have been a link that folders were reached through.
            self.root.forget()
            return self.place(path)
        return at, name

    def _finish_folders(self) -> None:
        for path in sorted(self._folders, reverse=True):
            folder = self._folders[path]
            try:
                fd = self.root.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    continue  # A later entry took it away, by another way that leads there.
                raise
            try:
                if folder.xattrs:
                    _set_xattrs(fd, folder.xattrs)
                self._owner(fd, folder.uid, folder.gid, folder.mode)
                os.utime(fd, ns=(folder.mtime, folder.mtime))
            finally:
                os.close(fd)


def recorded_owner(value: bytes) -> tuple[int, int, int] | None:
    """Owner, group and mode of an attribute OWNER; None where a container has written another."""
    found = _RECORDED.fullmatch(value)
    if found is None or max(int(found[1]), int(found[2])) > _MAX_ID:
        return None
    return int(found[1]), int(found[2]), int(found[3], 8) & 0o7777


def _set_xattrs(file: int | str, xattrs: dict[str, bytes]) -> None:
    for name, value in xattrs.items():
        if not name.startswith(OVERLAY_XATTRS) and name != OWNER:
            _set_xattr(file, name, value)


def _set_xattr(file: int | str, name: str, value: bytes) -> None:
    """Set an attribute if the kernel and the filesystem let us."""
    try:
        os.setxattr(file, name, value, follow_symlinks=isinstance(file, int))
    except OSError as error:
        if error.errno not in _IGNORED:
            raise


def _same(status: os.stat_result, at: int, name: str) -> bool:
    try:
        there = os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(status, there)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _proc(fd: int) -> str:
    return f"/proc/self/fd/{fd}"
