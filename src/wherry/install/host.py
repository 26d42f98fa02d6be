"""The machine wherry is put into: `/`, or a folder that will be `/` of another (`--root`).

Paths are absolute and mean the machine's own; `Host.at` says where they are found from here.
Symbolic links are followed as that machine would, so none leads out of its folder.
"""

import os
import stat
from pathlib import Path

from wherry.install.errors import InstallError

LARGEST_FILE = 16 << 20
"""Bytes of a configuration file; larger ones are refused."""

_MOST_LINKS = 40


class Host:
    """A machine's files. Nothing here writes."""

    def __init__(self, root: str = "/") -> None:
        self.root = Path(os.path.realpath(root))
        if not self.root.is_dir():
            raise InstallError(f"--root {root}: there is no such folder")

    @property
    def is_this_machine(self) -> bool:
        """Whether this is the machine we run on, so that its programs may be asked."""
        return self.root == Path("/")

    def at(self, path: str) -> Path:
        """Where the machine's `path` is found from here; its last part may be a link."""
        parent, name = os.path.split(os.path.normpath(path))
        if self.is_this_machine:
            return Path(parent, name)
        return Path(f"{self.root}{self.resolve(parent)}", name)

    def resolve(self, path: str) -> str:
        """The machine's path without symbolic links; what does not exist is kept as it is.

        Raises InstallError for links that lead in circles.
        """
        done, left, links = "/", os.path.normpath(path).split("/"), 0
        while left:
            part = left.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                done = os.path.dirname(done)
                continue
            here = os.path.join(done, part)
            try:
                target = os.readlink(f"{self.root}{here}")
            except OSError:
                done = here
                continue
            links += 1
            if links > _MOST_LINKS:
                raise InstallError(f"{path}: its symbolic links lead in circles")
            if target.startswith("/"):
                done = "/"
            left = target.split("/") + left
        return done

    def read(self, path: str) -> bytes | None:
        """A file's bytes, None when there is none. Raises InstallError for what is no file."""
        found = self.at(self.resolve(path))
        try:
            with open(found, "rb", opener=_open_plainly) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise InstallError(f"{path}: is not a regular file")
                content = file.read(LARGEST_FILE + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError:
            raise InstallError(f"{path}: is a folder, a file was expected") from None
        except PermissionError:
            hint = "; use sudo" if os.geteuid() else ""
            raise InstallError(f"{path}: you may not read it{hint}") from None
        except OSError as error:
            raise InstallError(f"{path}: {error.strerror}") from None
        if len(content) > LARGEST_FILE:
            raise InstallError(f"{path}: larger than {LARGEST_FILE >> 20} MiB")
        return content

    def read_link(self, path: str) -> str | None:
        """Where a symbolic link points, None when there is no link."""
        try:
            return os.readlink(self.at(path))
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        """Whether anything has that name, also a link to nowhere."""
        return os.path.lexists(self.at(path))

    def find_program(self, name: str, path: str) -> str | None:
        """The first `name` in the folders of `path` that may be run, as the machine would find it.

        Links are followed within the machine.
        """
        for folder in path.split(":"):
            if not folder.startswith("/"):
                continue
            candidate = f"{folder.rstrip('/')}/{name}"
            found = self.at(self.resolve(candidate))
            if found.is_file() and os.access(found, os.X_OK):
                return candidate
        return None


def _open_plainly(path: str, flags: int) -> int:
    # A FIFO in place of a file must not hold us.
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
