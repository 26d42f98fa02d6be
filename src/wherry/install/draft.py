"""Changes to a machine's files, thought through before any is made.

A `Draft` is read as if its changes were there already. It can be shown as a diff, which is what
`--dry-run` does, and carried out one change after the other, in the order they were drafted: each
is atomic, so that a crash leaves some of them made and the others not.
"""

import contextlib
import difflib
import os
import stat
from dataclasses import dataclass

from wherry.install.errors import InstallError
from wherry.install.host import Host


@dataclass(frozen=True)
class FileChange:
    """A file gets other contents, comes to be (`before` is None), or goes (`after` is None)."""

    path: str
    before: bytes | None
    after: bytes | None
    mode: int
    """Permissions of a file that comes to be; one that is there keeps its own."""
    like: str | None = None
    """The file that a new one is a copy of, with its owner and permissions."""

    def show(self) -> str:
        """A unified diff; of a copy just that it is one."""
        if self.like is not None and self.after is not None:
            return f"copy {self.like} to {self.path}\n"
        old, new = ("/dev/null" if content is None else self.path
                    for content in (self.before, self.after))  # fmt: skip
        lines = difflib.unified_diff(_lines(self.before), _lines(self.after), old, new)
        shown = "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in lines
        )
        return shown or f"--- {old}\n+++ {new}\n"

    def tell(self) -> str:
        """One line, once it is done."""
        if self.after is None:
            return f"removed {self.path}"
        return f"{'wrote' if self.before is None else 'changed'} {self.path}"

    def make(self, host: Host) -> None:
        """Do it, all or nothing. Raises OSError."""
        found = host.at(self.path)
        if self.after is None:
            found.unlink(missing_ok=True)
            _sync_folder(str(found.parent))
            return
        # A fixed name: what a crash left behind is overwritten by the next attempt.
        beside = f"{found.parent}/.{found.name}.wherry-new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(beside, flags, 0o600)
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(self.after)
            model = host.at(host.resolve(self.like)) if self.like else found
            _take_over(str(model), descriptor, self.mode)
            os.fsync(descriptor)
            os.rename(beside, found)
        except BaseException:
            os.unlink(beside)
            raise
        finally:
            os.close(descriptor)
        _sync_folder(str(found.parent))


@dataclass(frozen=True)
class LinkChange:
    """A symbolic link is made, points elsewhere, or goes (`after` is None)."""

    path: str
    before: str | None
    after: str | None

    def show(self) -> str:
        """One line."""
        if self.after is None:
            return f"remove link {self.path} -> {self.before}\n"
        instead = f" (instead of {self.before})" if self.before else ""
        return f"link {self.path} -> {self.after}{instead}\n"

    def tell(self) -> str:
        """One line, once it is done."""
        if self.after is None:
            return f"removed {self.path}"
        return f"linked {self.path} to {self.after}"

    def make(self, host: Host) -> None:
        """Do it, all or nothing. Raises OSError."""
        found = host.at(self.path)
        if self.after is None:
            found.unlink(missing_ok=True)
        else:
            beside = found.parent / f".{found.name}.wherry-new"
            beside.unlink(missing_ok=True)
            beside.symlink_to(self.after)
            beside.rename(found)
        _sync_folder(str(found.parent))


@dataclass(frozen=True)
class FolderChange:
    """A folder is made, or removed if nothing else is in it."""

    path: str
    exists: bool

    def show(self) -> str:
        """One line."""
        if self.exists:
            return f"make folder {self.path}\n"
        return f"remove folder {self.path}, if nothing else is in it\n"

    def tell(self) -> str:
        """One line, once it is done."""
        return f"{'made' if self.exists else 'removed'} folder {self.path}"

    def make(self, host: Host) -> None:
        """Do it. Raises OSError."""
        found = host.at(self.path)
        if self.exists:
            found.mkdir(mode=0o755, exist_ok=True)
            _sync_folder(str(found.parent))
            return
        with contextlib.suppress(OSError):
            found.rmdir()


Change = FileChange | LinkChange | FolderChange


class Draft:
    """A machine's files with changes that are not made yet."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._changes: dict[str, Change] = {}

    @property
    def changes(self) -> list[Change]:
        """What differs from the machine as it is, in the order to be made."""
        return [change for change in self._changes.values() if not _is_nothing(change)]

    def read(self, path: str) -> bytes | None:
        """A file's bytes, None when there is none. Raises InstallError."""
        change = self._changes.get(self.host.resolve(path))
        if isinstance(change, FileChange):
            return change.after
        return self.host.read(path)

    def read_link(self, path: str) -> str | None:
        """Where a link points, None when there is none."""
        change = self._changes.get(self._spot(path))
        return change.after if isinstance(change, LinkChange) else self.host.read_link(path)

    def exists(self, path: str) -> bool:
        """Whether anything has that name, also a link to nowhere."""
        change = self._changes.get(self._spot(path))
        match change:
            case None:
                return self.host.exists(path)
            case FolderChange():
                return change.exists
            case _:
                return change.after is not None

    def write(
        self, path: str, content: bytes, *, mode: int = 0o644, like: str | None = None
    ) -> None:
        """Give a file its contents; its folder must be there."""
        real = self.host.resolve(path)
        before = self.host.read(real)
        self._changes[real] = FileChange(real, before, content, mode, like)

    def remove(self, path: str) -> None:
        """Remove a file."""
        real = self.host.resolve(path)
        self._changes[real] = FileChange(real, self.host.read(real), None, 0)

    def link(self, path: str, target: str) -> None:
        """Make a link, or let one that is there point elsewhere; its folder must be there."""
        spot = self._spot(path)
        self._changes[spot] = LinkChange(spot, self.host.read_link(path), target)

    def unlink(self, path: str) -> None:
        """Remove a link."""
        spot = self._spot(path)
        self._changes[spot] = LinkChange(spot, self.host.read_link(path), None)

    def make_folders(self, path: str) -> list[str]:
        """Make a folder and those above it; the ones that are missing, from the top."""
        missing = []
        path = self.host.resolve(path)
        while not self.exists(path):
            missing.append(path)
            path = os.path.dirname(path)
        for folder in reversed(missing):
            self._changes[folder] = FolderChange(folder, exists=True)
        return missing[::-1]

    def remove_folder(self, path: str) -> None:
        """Remove a folder if it is empty by then."""
        if self.host.exists(path):
            self._changes[path] = FolderChange(path, exists=False)

    def show(self) -> str:
        """All changes for a person, before they are made."""
        return "".join(change.show() for change in self.changes)

    def make(self) -> None:
        """Make the changes. Raises InstallError for the first that cannot be made."""
        for change in self.changes:
            try:
                change.make(self.host)
            except OSError as error:
                raise InstallError(
                    f"{change.path}: {error.strerror}; what was done before it is kept, "
                    "and the same command goes on from there"
                ) from None

    def _spot(self, path: str) -> str:
        """The place of a link itself: only the folders before it are resolved."""
        parent, name = os.path.split(os.path.normpath(path))
        return os.path.join(self.host.resolve(parent), name)


def _is_nothing(change: Change) -> bool:
    return not isinstance(change, FolderChange) and change.before == change.after


def _lines(content: bytes | None) -> list[str]:
    return (content or b"").decode(errors="replace").splitlines(keepends=True)


def _take_over(model: str, descriptor: int, mode: int) -> None:
    """Owner, permissions and labels of the file that is there, else `mode`."""
    try:
        status = os.stat(model)
    except OSError:
        os.fchmod(descriptor, mode)
        return
    new = os.fstat(descriptor)
    if (new.st_uid, new.st_gid) != (status.st_uid, status.st_gid):
        os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
    # SELinux's label and ACLs; where they cannot be kept, none are needed.
    with contextlib.suppress(OSError):
        for name in os.listxattr(model):
            os.setxattr(descriptor, name, os.getxattr(model, name))


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
