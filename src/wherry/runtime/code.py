"""The cache of compiled code.

Code is found by the module's digest, the engine's release, its settings and the CPU. Loading code
trusts it blindly, so an entry counts only if its file still has the owner, mode, size and inode
that were written down when it was stored. Digests are remembered by the module file's identity, so
that a start reads none of the module.
"""

import contextlib
import fcntl
import functools
import os
import time
import zlib
from collections.abc import Iterator
from io import BufferedReader
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from wherry.runtime.engines import settings
from wherry.runtime.engines.host import HostProgram, words
from wherry.runtime.exits import LaunchError
from wherry.runtime.facts import Entry, Facts, mode_of
from wherry.runtime.sandbox import syscalls as sys

if TYPE_CHECKING:
    from wherry.runtime.engines.host.installed import Installed

_SETTLED = 2_000_000_000
"""Nanoseconds. A file changed less than this ago may change again within the same time stamp."""

_NOTES = 16 << 20
"""Bytes that remembered digests may take; those of modules that went are never asked for again."""

MAX_MODULE = 1 << 30
"""Bytes; a larger module is refused."""


class CompiledCode(NamedTuple):
    """Code in the cache, open for reading. The holder closes `descriptor`."""

    descriptor: int
    facts: Facts
    program: HostProgram | None = None
    """What it is for, if not for the embedded engine; and then its path, which no process in a
    container sees once its root has changed."""
    path: str = ""


class CodeCache:
    """Compiled code below one directory that only its owner may enter."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.fspath(root)
        key = _engine_key()
        self._codes = {False: f"{self.root}/{key}", True: f"{self.root}/{key}-bounded"}
        self._doors: dict[str, int] = {}
        self._digests = f"{self.root}/digests"
        self._programs = f"{self.root}/programs"
        self._installed: Installed | None = None
        self._make_folders()

    def _make_folders(self) -> None:
        """Make those that are not there: at first, and after somebody has removed the cache."""
        for folder in (self.root, *self._codes.values(), self._digests):
            os.makedirs(folder, mode=0o700, exist_ok=True)

    def _find(self, digest: str, bounded: bool) -> CompiledCode | None:
        """The code of a digest, for the embedded engine or for the `wasmtime` command."""
        found = self._open(self._codes[bounded], digest)
        if found is None:
            with contextlib.suppress(LaunchError):
                return self._find_for_program(digest)
        return found

    def _find_for_program(self, digest: str) -> CompiledCode | None:
        """The same for the command. Raises LaunchError if there is none."""
        program = self._program()
        folder = self._folder_for(program)
        found = self._open(folder, digest) if os.path.isdir(folder) else None
        return found and found._replace(program=program, path=f"{folder}/{digest}")

    def _program(self) -> HostProgram:
        """The `wasmtime` command. Raises LaunchError."""
        if self._installed is None:
            from wherry.runtime.engines.host.installed import Installed

            self._installed = Installed(self._programs)
        return self._installed.find()

    def _folder_for(self, program: HostProgram) -> str:
        facts = zlib.crc32(f"{program.identity} {words.IDENTITY} {_cpu()}".encode())
        return f"{self.root}/wasmtime-{program.release}-{facts:08x}"

    def _open(self, folder: str, digest: str) -> CompiledCode | None:
        """The code of a digest by way of a mount that is read-only.

        A container's process holds it open while it runs. Whoever gets at that process, as a debug
        container may, could open the file by its descriptor once more, for writing.
        """
        door = self._doors.get(folder)
        if door is not None:
            found = _open(door, digest)
            if found is not None or _leads_to(door, folder):
                return found
            # The cache was removed and made anew. The old door stays open: another thread may be
            # on its way through it, and its number must not become that of another folder.
        try:
            door = self._doors[folder] = _read_only(folder)
        except FileNotFoundError:
            return None
        return _open(door, digest)

    def peek(self, module: int, *, bounded: bool = False) -> CompiledCode | None:
        """The code of the module open as `module` if it is at hand, without reading the module.

        `bounded` code is for engines with a limit on memory (see `engines.memory`).
        """
        digest = self._remembered(module)
        return self._find(digest, bounded) if digest else None

    def get(self, module: int, name: str, *, bounded: bool = False) -> CompiledCode:
        """The code of the module open as `module`, compiled if need be; may take long.

        Raises LaunchError (126) if it is not valid WebAssembly; `name` is for the message.
        """
        if os.fstat(module).st_size > MAX_MODULE:
            limit = MAX_MODULE >> 20
            raise LaunchError(f"{name} is larger than the {limit} MiB a module may have", 126)
        folder, digest = self._codes[bounded], self._digest(module)
        found = self._find(digest, bounded)
        if found is not None:
            return found
        self._make_folders()
        with _locked(f"{folder}/{digest}.lock"):
            found = self._find(digest, bounded)
            if found is None:
                self._compile(module, digest, name, bounded)
                found = self._find(digest, bounded)
                self._make_room(digest)
        if found is None:
            raise LaunchError(f"{name}: its compiled code vanished from {folder}")
        return found

    def _compile(self, module: int, digest: str, name: str, bounded: bool) -> None:
        # Here: it starts processes, which who has all modules compiled already does not.
        from wherry.runtime.compiling import ProgramNeeded, compile_module

        folder, program, lacking = self._codes[bounded], None, ""
        try:
            program = self._program()
        except LaunchError as error:
            lacking = error.message
        try:
            with _reopened(module) as source:
                compiled = compile_module(
                    source, digest, folder, name, bounded=bounded, program=program
                )
        except ProgramNeeded as need:
            raise LaunchError(f"{name} needs the wasmtime command {need}: {lacking}") from None
        if compiled.entry.facts.hosted and program is not None:
            folder = self._folder_for(program)
            os.makedirs(folder, mode=0o700, exist_ok=True)
        os.rename(compiled.path, f"{folder}/{digest}")
        _write(f"{folder}/{digest}.json", msgspec.json.encode(compiled.entry))

    def _make_room(self, digest: str) -> None:
        """Also of what other releases of the engine have left."""
        from wherry.shelf import make_room

        folders = [entry.path for entry in os.scandir(self.root) if entry.is_dir()]
        others = (self._digests, self._programs)
        make_room((folder for folder in folders if folder not in others), digest)
        make_room((self._digests,), "", _NOTES)

    def _remembered(self, module: int) -> str | None:
        try:
            with open(f"{self._digests}/{_identity(module, os.fstat(module))}") as file:
                return file.read()
        except OSError:
            return None

    def _digest(self, module: int) -> str:
        remembered = self._remembered(module)
        if remembered:
            return remembered
        import hashlib  # it loads OpenSSL, which who starts known modules need not have

        before = os.fstat(module)
        with _reopened(module) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time_ns() - before.st_ctime_ns > _SETTLED:
            self._make_folders()
            _write(f"{self._digests}/{_identity(module, before)}", digest.encode())
        return digest


def _identity(module: int, status: os.stat_result) -> str:
    # Not the device: an overlay has another one with every mount. But the kind: what a volume's
    # server says of its files must not pass for what this kernel says of an image's.
    kind, times = sys.fstatfs_type(module), (status.st_mtime_ns, status.st_ctime_ns)
    return "-".join(f"{number:x}" for number in (kind, status.st_ino, status.st_size, *times))


def _engine_key() -> str:
    library = os.stat(settings.library())
    facts = zlib.crc32(f"{settings.IDENTITY} {_cpu()}".encode())
    return f"{library.st_size:x}-{library.st_mtime_ns:x}-{facts:08x}"


@functools.cache
def _cpu() -> str:
    """What this machine's processor can do."""
    with open("/proc/cpuinfo") as file:
        return next((line for line in file if line.startswith(("flags", "Features"))), "")


def _write(path: str, content: bytes) -> None:
    # Several containers may bring the same module at once, each in a thread of its own.
    folder, name = os.path.split(path)
    temporary = f"{folder}/.{name}.{os.urandom(8).hex()}"
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)


def _reopened(module: int) -> BufferedReader:
    """The file open as `module`, with a position of its own."""
    return open(f"/proc/self/fd/{module}", "rb")


def _read_only(folder: str) -> int:
    """A folder, opened as a read-only mount of its own where the kernel lets us make one."""
    try:
        door = sys.open_tree(folder, sys.OPEN_TREE_CLONE)
    except OSError:
        return os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    sys.mount_setattr(f"/proc/self/fd/{door}", sys.MOUNT_ATTR_RDONLY, recursive=False)
    return door


def _leads_to(door: int, folder: str) -> bool:
    """Whether a door is still of the folder that has that path."""
    try:
        return os.path.samestat(os.fstat(door), os.stat(folder))
    except FileNotFoundError:
        return False


def _open(folder: int, digest: str) -> CompiledCode | None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(f"{digest}.json", flags, dir_fd=folder), "rb") as file:
            entry = msgspec.json.decode(file.read(), type=Entry)
        descriptor = os.open(digest, flags, dir_fd=folder)
    except (OSError, msgspec.DecodeError):
        return None
    found = os.fstat(descriptor)
    trusted = (
        found.st_uid == os.geteuid()
        and found.st_mode & 0o777 == mode_of(entry.facts)
        and found.st_size == entry.size
        and found.st_ino == entry.inode
    )
    if not trusted:
        os.close(descriptor)
        return None
    return CompiledCode(descriptor, entry.facts)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
