"""A folder whose inside is untrusted: every path in it is resolved beneath its top.

Paths are resolved by openat2(2) with RESOLVE_IN_ROOT: `..` stops at the top, absolute links start
there, so that no name and no link leads out, whoever changes the folder meanwhile.
"""

import ctypes
import errno
import os
import stat
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Self

_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10
_O_PATH = 0o10000000
_OPEN_FOLDERS = 64
_RECURSION = 100
_MAX_DEPTH = 256
_DIRECTORY = _O_PATH | os.O_DIRECTORY | os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class Root:
    """An open folder. A context manager; not for use by several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, _DIRECTORY)
        self._folders: OrderedDict[str, int] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()
        os.close(self.fd)

    def open(self, path: str, flags: int, mode: int = 0) -> int:
        """Open `path` beneath the root, following links inside it. Raises OSError."""
        how = _OpenHow(flags | os.O_CLOEXEC, mode, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
        name = os.fsencode(path) or b"."
        while True:
            fd: int = _libc.syscall(
                _SYS_OPENAT2, self.fd, name, ctypes.byref(how), ctypes.sizeof(how)
            )
            if fd >= 0:
                return fd
            error = ctypes.get_errno()
            if error not in (errno.EAGAIN, errno.EINTR):
                raise OSError(error, os.strerror(error), path)

    def folder(self, path: str, *, make: bool = False) -> int:
        """A descriptor of the folder `path`, kept open here; made with its parents on demand.

        Valid until `forget` or many other calls. Raises OSError.
        """
        if not path:
            return self.fd
        fd = self._folders.get(path)
        if fd is not None:
            self._folders.move_to_end(path)
            return fd
        try:
            fd = self.open(path, _DIRECTORY)
        except FileNotFoundError:
            if not make:
                raise
            parent, _, name = path.rpartition("/")
            os.mkdir(name, 0o755, dir_fd=self.folder(parent, make=True))
            fd = self.open(path, _DIRECTORY)
        self._folders[path] = fd
        if len(self._folders) > _OPEN_FOLDERS:
            os.close(self._folders.popitem(last=False)[1])
        return fd

    def forget(self) -> None:
        """Close the kept descriptors: after anything but a file was removed or replaced."""
        for fd in self._folders.values():
            os.close(fd)
        self._folders.clear()


def clean(path: str) -> str:
    """`path` relative to the root, without `.`, `..` and empty parts; "" is the root itself.

    Raises ValueError for a path that climbs above the root, or is nested too deep.
    """
    if path.count("/") > _MAX_DEPTH:
        raise ValueError(f"{path[:80]!r}… is nested more than {_MAX_DEPTH} folders deep")
    if path[:1].isalnum() and "//" not in path and "/." not in path and path[-1] != "/":
        return path
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                raise ValueError(f"{path!r} climbs out of the root")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def remove_tree(name: str, dir_fd: int) -> None:
    """Remove a file or a whole folder, following nothing. What another removes first is fine."""
    pending = [name]
    while pending:
        with suppress(FileNotFoundError):
            _remove(pending.pop(), dir_fd, 0, dir_fd, pending)


def _remove(name: str, dir_fd: int, depth: int, top: int, pending: list[str]) -> None:
    try:
        os.unlink(name, dir_fd=dir_fd)
    except (IsADirectoryError, PermissionError):
        if depth < _RECURSION:
            _remove_folder(name, dir_fd, depth, top, pending)
        else:
            pending.append(os.urandom(16).hex())
            os.rename(name, pending[-1], src_dir_fd=dir_fd, dst_dir_fd=top)


def _remove_folder(name: str, dir_fd: int, depth: int, top: int, pending: list[str]) -> None:
    """Remove a folder; what lies too deep for recursion moves up to `top`, into `pending`."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=dir_fd)
    except PermissionError:
        os.chmod(name, stat.S_IRWXU, dir_fd=dir_fd)
        fd = os.open(name, flags, dir_fd=dir_fd)
    try:
        os.fchmod(fd, stat.S_IRWXU)
        for child in os.listdir(fd):
            _remove(child, fd, depth + 1, top, pending)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=dir_fd)
