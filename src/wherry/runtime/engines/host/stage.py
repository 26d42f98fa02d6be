"""Where a host's program stands when it starts in a container: a mount that has no place.

The container's root has neither the program nor what it is loaded from, and nothing of the host's
may be put there. So those files are bound into a small file system, which is cloned to a mount
that is nowhere (open_tree(2)) and becomes the process's working directory: the loader finds the
program and its libraries by relative names, and the guest, which is handed `/`, has no name for
any of it. /proc is not needed.
"""

import os
from typing import NoReturn

from wherry.runtime.engines.host.program import HostProgram
from wherry.runtime.exits import LaunchError
from wherry.runtime.sandbox import syscalls as sys

_PROGRAM = "wasmtime"
_LOADER = "loader"
_LIBRARIES = "lib"

_SEALED = sys.MOUNT_ATTR_RDONLY | sys.MOUNT_ATTR_NOSUID | sys.MOUNT_ATTR_NODEV
_FLAGS = sys.MS_NOSUID | sys.MS_NODEV


class Stage:
    """A program and its code, ready to be started from wherever the root is by then."""

    code = "code"
    """How the program calls what it is to run."""

    def __init__(self, program: HostProgram, code: str, scratch: str) -> None:
        """Assemble it on the folder `scratch`, in a mount namespace that is the caller's own.

        `code` is the path of what the program is to run. Raises OSError.
        """
        files = {_PROGRAM: program.path, self.code: code}
        if program.loader:
            files[_LOADER] = program.loader
        files.update((f"{_LIBRARIES}/{name}", path) for name, path in program.libraries.items())
        os.makedirs(scratch, mode=0o700, exist_ok=True)
        sys.mount("tmpfs", scratch, "tmpfs", _FLAGS, "mode=755,size=64k")
        os.mkdir(f"{scratch}/{_LIBRARIES}")
        for name, path in files.items():
            os.close(os.open(f"{scratch}/{name}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
            _bind(path, f"{scratch}/{name}")
        sys.mount_setattr(scratch, sys.MOUNT_ATTR_RDONLY, recursive=False)
        self._folder = sys.open_tree(scratch, sys.OPEN_TREE_CLONE | sys.AT_RECURSIVE)
        sys.umount2(scratch, sys.MNT_DETACH)
        self._begin: list[str] = []
        if program.loader:
            self._begin = ["--inhibit-cache", "--library-path", _LIBRARIES, f"./{_PROGRAM}"]
        first = _LOADER if program.loader else _PROGRAM
        self._first = os.open(first, os.O_PATH | os.O_CLOEXEC, dir_fd=self._folder)

    def inode(self) -> int:
        """Of the code that was put there. Raises OSError."""
        return os.stat(self.code, dir_fd=self._folder).st_ino

    def enter(self) -> None:
        """Make it the working directory, while that may still be changed. Raises OSError."""
        os.fchdir(self._folder)

    def start(self, title: str, words: list[str], environment: dict[str, str]) -> NoReturn:
        """Become the program. `title` is what `ps` shows first. Raises LaunchError."""
        _become(self._first, [title, *self._begin, *words], environment)


class HostRoot:
    """The same where the host's root stays in sight, because there are no namespaces."""

    def __init__(self, program: HostProgram, code: int) -> None:
        """`code` is a descriptor of what the program is to run. Raises OSError."""
        os.set_inheritable(code, True)
        self.code = f"/proc/self/fd/{code}"
        self._begin = [program.path] if program.loader else []
        first = program.loader or program.path
        self._first = os.open(first, os.O_PATH | os.O_CLOEXEC)

    def enter(self) -> None:
        """Nothing: all that it needs has a path."""

    def start(self, title: str, words: list[str], environment: dict[str, str]) -> NoReturn:
        """Become the program, as a `Stage` does. Raises LaunchError."""
        _become(self._first, [title, *self._begin, *words], environment)


def _become(first: int, argv: list[str], environment: dict[str, str]) -> NoReturn:
    """Execute what is open as `first`: no other way is let through by then."""
    try:
        for stream in range(3):
            os.set_inheritable(stream, True)
        os.execve(first, argv, environment)  # noqa: S606
    except (OSError, ValueError) as error:
        raise LaunchError(f"the wasmtime command cannot be started: {error}") from None


def _bind(source: str, target: str) -> None:
    tree = sys.open_tree(source, sys.OPEN_TREE_CLONE)
    place = os.open(target, os.O_PATH | os.O_CLOEXEC)
    try:
        sys.mount_setattr(f"/proc/self/fd/{tree}", _SEALED, recursive=False)
        sys.move_mount(tree, place)
    finally:
        os.close(tree)
        os.close(place)
