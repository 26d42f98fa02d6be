"""A tar stream from a container, written to this machine without leaving the chosen place.

Every name is walked component by component with O_NOFOLLOW: symbolic links of the archive are
content, never a way.
"""

from __future__ import annotations

import os
import tarfile

from wherry.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

_PORTION = 1 << 18
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class UnpackError(ClientError):
    """The archive is damaged, or names a place where it must not write."""


class PortionsFile:
    """Portions of bytes as the file that `tarfile` wants to read."""

    def __init__(self, portions: Iterator[bytes]) -> None:
        self._portions = portions
        self._rest = b""

    def read(self, size: int) -> bytes:
        """`size` bytes; fewer only at the end."""
        while len(self._rest) < size:
            portion = next(self._portions, b"")
            if not portion:
                break
            self._rest += portion
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def unpack(
    portions: Iterator[bytes],
    target: str,
    *,
    owners: bool = False,
    complain: Callable[[str], None],
) -> int:
    """Writes the archive's root as `target`, and what is below it; the bytes of all files.

    The root is the archive's first member; members outside of it are an error. Files get their
    mode, time and, with `owners`, their owner; set-user-id bits only then. Devices and FIFOs are
    left out and told to `complain`. Raises `UnpackError` and OSError.
    """
    parent = os.open(os.path.dirname(target) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    writer = _Writer(parent, os.path.basename(target), owners=owners, complain=complain)
    stream: IO[bytes] = PortionsFile(portions)  # type: ignore[assignment]
    try:
        with tarfile.open(fileobj=stream, mode="r|", errorlevel=2) as archive:
            for info in archive:
                writer.write(archive, info)
        writer.finish()
    except tarfile.TarError as error:
        raise UnpackError(f"the engine sent a damaged archive: {error}") from error
    finally:
        os.close(parent)
    return writer.size


class _Writer:
    def __init__(
        self, parent: int, name: str, *, owners: bool, complain: Callable[[str], None]
    ) -> None:
        self._parent = parent
        self._name = name
        self._owners = owners
        self._complain = complain
        self._root: str | None = None
        self._folders: list[tuple[list[str], tarfile.TarInfo]] = []
        self.size = 0

    def write(self, archive: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        path = self._place(info.name)
        folder, name = self._open_parent(path), path[-1]
        try:
            if info.isdir():
                _make_folder(folder, name)
                self._folders.append((path, info))
            elif info.isreg():
                self._write_file(folder, name, archive, info)
            elif info.issym():
                _clear(folder, name)
                os.symlink(info.linkname, name, dir_fd=folder)
                self._own(folder, name, info)
            elif info.islnk():
                self._link(folder, name, info.linkname)
            else:
                self._complain(f"{info.name}: a device or FIFO, left out")
        finally:
            os.close(folder)

    def _place(self, name: str) -> list[str]:
        """Where a member goes, from the parent of the target on."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise UnpackError(f"the archive names a place outside of itself: {name!r}")
        if self._root is None:
            self._root = "/".join(parts)
        root = self._root.split("/") if self._root else []
        if parts[: len(root)] != root:
            raise UnpackError(f"the archive holds more than what was asked for: {name!r}")
        return [self._name, *parts[len(root) :]]

    def _open_parent(self, path: list[str]) -> int:
        folder = os.dup(self._parent)
        for part in path[:-1]:
            try:
                deeper = os.open(part, _FOLDER, dir_fd=folder)
            except OSError as error:
                raise UnpackError(f"{'/'.join(path)}: {part} is not a folder") from error
            finally:
                os.close(folder)
            folder = deeper
        return folder

    def _write_file(
        self, folder: int, name: str, archive: tarfile.TarFile, info: tarfile.TarInfo
    ) -> None:
        _clear(folder, name)
        content = archive.extractfile(info)
        assert content is not None
        descriptor = os.open(name, _FILE, 0o600, dir_fd=folder)
        with open(descriptor, "wb") as file:
            while portion := content.read(_PORTION):
                file.write(portion)
                self.size += len(portion)
            file.flush()
            self._own(folder, name, info)
            os.fchmod(descriptor, self._mode(info))
            os.utime(descriptor, (info.mtime, info.mtime))

    def _link(self, folder: int, name: str, linkname: str) -> None:
        source = self._place(linkname)
        origin = self._open_parent(source)
        try:
            _clear(folder, name)
            os.link(source[-1], name, src_dir_fd=origin, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(origin)

    def finish(self) -> None:
        """Modes and times of folders, the innermost first, once nothing is written to them."""
        for path, info in reversed(self._folders):
            parent = self._open_parent(path)
            try:
                folder = os.open(path[-1], _FOLDER, dir_fd=parent)
            finally:
                os.close(parent)
            try:
                if self._owners:
                    os.fchown(folder, info.uid, info.gid)
                os.fchmod(folder, self._mode(info))
                os.utime(folder, (info.mtime, info.mtime))
            finally:
                os.close(folder)

    def _own(self, folder: int, name: str, info: tarfile.TarInfo) -> None:
        if self._owners:
            os.chown(name, info.uid, info.gid, dir_fd=folder, follow_symlinks=False)

    def _mode(self, info: tarfile.TarInfo) -> int:
        return info.mode & (0o7777 if self._owners else 0o777)


def _make_folder(parent: int, name: str) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        try:
            os.close(os.open(name, _FOLDER, dir_fd=parent))
        except OSError:
            _clear(parent, name)
            os.mkdir(name, 0o700, dir_fd=parent)


def _clear(parent: int, name: str) -> None:
    """Makes room for a file; a folder in its place is not removed."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        raise UnpackError(f"{name}: a folder is in the place of a file") from None
