"""What is kept about a container between commands: a folder of its own below `--root`.

Its files are as few and as plain as they can be, so that the commands asked most (`state`, `kill`,
`start`) decode nothing:

    container.json  what `state` prints, but for pid and status
    config.json     the bundle's, as it was at `create`
    cgroup          the path of its cgroup
    process         its process: pid, and when that started, for pids are used again
    start           the socket on which the process waits for `start`; gone once it was told
    paused          there while the container is paused

A folder without `process` is a container being made, or what is left of one whose maker died.
Commands that change a container hold a lock on its folder.
"""

import errno
import fcntl
import os
import stat

from wherry.pids import process_start
from wherry.runtime.exits import LaunchError

FAILED = 1
"""Exit status of a command that cannot do what it was asked: runc's."""

MAX_ID = 1024

_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
_FOREIGN = ("state.json", "status")
"""What runc and crun keep in such a folder."""


class NoContainer(LaunchError):
    """There is no container of that id. Callers look for these words, which are runc's."""

    def __init__(self, identifier: str) -> None:
        super().__init__(f"container {identifier}: container does not exist", FAILED)


class Foreign(LaunchError):
    """A container of that id is there, but a Linux runtime made it: it is to be handed on."""

    def __init__(self, identifier: str) -> None:
        super().__init__(f"container {identifier} belongs to a Linux runtime", FAILED)


class Record:
    """The folder of one container."""

    def __init__(self, root: str, identifier: str) -> None:
        self.id = identifier
        self.folder = f"{root}/{identifier}"
        self._descriptor = -1

    @classmethod
    def make(cls, root: str, identifier: str) -> "Record":
        """Make the folder and lock it. Raises LaunchError."""
        record = cls(root, _checked(identifier))
        try:
            os.makedirs(root, mode=0o711, exist_ok=True)
            os.mkdir(record.folder, 0o700)
        except FileExistsError:
            raise LaunchError(f"container with id {identifier} already exists", FAILED) from None
        except OSError as error:
            raise LaunchError(
                f"containers cannot be kept in {root} (--root): {error.strerror}", FAILED
            ) from None
        record.lock()
        return record

    @classmethod
    def find(cls, root: str, identifier: str) -> "Record":
        """Find a container made before. Raises NoContainer, Foreign or LaunchError."""
        record = cls(root, _checked(identifier))
        try:
            os.stat(f"{record.folder}/container.json")
        except FileNotFoundError:
            if any(os.path.exists(f"{record.folder}/{name}") for name in _FOREIGN):
                raise Foreign(identifier) from None
            if not os.path.isdir(record.folder):
                raise NoContainer(identifier) from None
        except OSError as error:
            raise LaunchError(f"{record.folder}: {error.strerror}", FAILED) from None
        return record

    @classmethod
    def find_locked(cls, root: str, identifier: str) -> "Record":
        """Find a container made before and lock it."""
        record = cls.find(root, identifier)
        record.lock()
        return record

    def lock(self) -> None:
        """Keep other commands from changing the container while this process lives."""
        try:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            self._descriptor = os.open(self.folder, flags)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except FileNotFoundError:
            raise NoContainer(self.id) from None
        if not os.fstat(self._descriptor).st_nlink:
            raise NoContainer(self.id)  # it was deleted while we waited

    def unlock(self) -> None:
        """Let other commands go on."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def path(self, name: str) -> str:
        """A file of the folder, by a short path that fits a socket's address; needs the lock."""
        return f"/proc/self/fd/{self._descriptor}/{name}"

    def read(self, name: str) -> bytes:
        """A file's content; empty if there is none."""
        try:
            with open(f"{self.folder}/{name}", "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return b""

    def write(self, name: str, content: bytes) -> None:
        """Write a file: all of it, or none if the machine stops meanwhile. Raises OSError."""
        temporary = f"{self.folder}/.{name}.new"
        with open(temporary, "wb") as file:
            file.write(content)
        os.rename(temporary, f"{self.folder}/{name}")

    def remove(self, name: str) -> None:
        """Remove a file that may be gone."""
        try:
            os.unlink(f"{self.folder}/{name}")
        except FileNotFoundError:
            return

    def delete(self) -> None:
        """Remove the folder and all in it. Raises OSError."""
        # Moved away first: what is left of a half-removed folder is no container.
        doomed = f"{os.path.dirname(self.folder)}/.{os.getpid()}.deleted"
        os.rename(self.folder, doomed)
        for name in os.listdir(doomed):
            try:
                os.unlink(f"{doomed}/{name}")
            except IsADirectoryError:
                os.rmdir(f"{doomed}/{name}")
        os.rmdir(doomed)
        self.unlock()

    @property
    def cgroup(self) -> str:
        """The path of its cgroup; empty if it has none yet."""
        return self.read("cgroup").decode()

    @property
    def bundle(self) -> str:
        """The folder that the container was made from."""
        import msgspec

        return str(msgspec.json.decode(self.read("container.json"))["bundle"])

    def set_process(self, pid: int) -> None:
        """Write down the container's process. Raises OSError."""
        self.write("process", f"{pid} {process_start(pid)}".encode())

    @property
    def pid(self) -> int:
        """The container's process while it is alive, else 0."""
        pid, _, start = self.read("process").decode().partition(" ")
        return int(pid) if start and process_start(int(pid)) == start else 0

    def status(self) -> tuple[str, int]:
        """How it is, in the words of the runtime spec and `paused`; and its pid, or 0."""
        if not os.path.exists(f"{self.folder}/process"):
            return ("creating" if self._is_being_made() else "stopped"), 0
        pid = self.pid
        if not pid:
            return "stopped", 0
        if self._is_waiting():
            return "created", pid
        return ("paused" if os.path.exists(f"{self.folder}/paused") else "running"), pid

    def _is_waiting(self) -> bool:
        try:
            return stat.S_ISSOCK(os.stat(f"{self.folder}/start").st_mode)
        except FileNotFoundError:
            return False

    def _is_being_made(self) -> bool:
        """Whether its maker is at work: the lock is held."""
        try:
            folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            if self._descriptor < 0:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno == errno.EWOULDBLOCK
        finally:
            os.close(folder)
        return False


def identifiers(root: str) -> list[str]:
    """The ids of all containers below `root`, those of Linux runtimes too."""
    try:
        entries = os.listdir(root)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LaunchError(f"{root}: {error.strerror}", FAILED) from None
    return sorted(name for name in entries if name[0] != "." and os.path.isdir(f"{root}/{name}"))


def _checked(identifier: str) -> str:
    """An id that names a folder and nothing else, with runc's letters. Raises LaunchError."""
    if (
        not identifier
        or len(identifier) > MAX_ID
        or not _ALLOWED.issuperset(identifier)
        or identifier[0] == "."
    ):
        raise LaunchError(
            f"invalid container ID {identifier[:80]!r}: it may have letters, digits, _+-.",
            FAILED,
        )
    return identifier
