"""The cache of compiled code.

Code is found by the module's digest, the engine's release, its settings and the CPU. Loading code
trusts it blindly, so an entry counts only if its file still has the owner, mode, size and inode
that were written down when it was stored. Digests are remembered by the module file's identity, so
that a start reads none of the module.
"""

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import msgspec

from wherry.runtime.engines import settings
from wherry.runtime.exits import ENGINE_FAILED, NOT_RUNNABLE, LaunchError
from wherry.runtime.facts import Facts
from wherry.runtime.interpreter import command

_SETTLED = 2_000_000_000
"""Nanoseconds. A file changed less than this ago may change again within the same time stamp."""

MAX_MODULE = 1 << 30
"""Bytes; a larger module is refused."""


class _Entry(msgspec.Struct):
    """What is written down about a cached code file."""

    inode: int
    size: int
    sha256: str
    facts: Facts


@dataclass(frozen=True, slots=True)
class CompiledCode:
    """Code in the cache, open for reading. The holder closes `descriptor`."""

    descriptor: int
    facts: Facts


class CodeCache:
    """Compiled code below one directory that only its owner may enter."""

    def __init__(self, root: Path) -> None:
        self.root = root
        key = _engine_key()
        self._codes = {False: root / key, True: root / f"{key}-bounded"}
        self._digests = root / "digests"
        for folder in (root, *self._codes.values(), self._digests):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def peek(self, module: int, *, bounded: bool = False) -> CompiledCode | None:
        """The code of the module open as `module` if it is at hand, without reading the module.

        `bounded` code is for engines with a limit on memory (see `engines.memory`).
        """
        digest = self._remembered(module)
        return _open(self._codes[bounded], digest) if digest else None

    def get(self, module: int, name: str, *, bounded: bool = False) -> CompiledCode:
        """The code of the module open as `module`, compiled if need be; may take long.

        Raises LaunchError (126) if it is not valid WebAssembly; `name` is for the message.
        """
        if os.fstat(module).st_size > MAX_MODULE:
            limit = MAX_MODULE >> 20
            raise LaunchError(f"{name} is larger than the {limit} MiB a module may have", 126)
        folder, digest = self._codes[bounded], self._digest(module)
        found = _open(folder, digest)
        if found is not None:
            return found
        with _locked(folder / f"{digest}.lock"):
            found = _open(folder, digest)
            if found is None:
                _compile(module, folder / digest, name, bounded)
                found = _open(folder, digest)
        if found is None:
            raise LaunchError(f"{name}: its compiled code vanished from {folder}")
        return found

    def _remembered(self, module: int) -> str | None:
        try:
            return (self._digests / _identity(os.fstat(module))).read_text()
        except OSError:
            return None

    def _digest(self, module: int) -> str:
        remembered = self._remembered(module)
        if remembered:
            return remembered
        before = os.fstat(module)
        with _reopened(module) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time_ns() - before.st_ctime_ns > _SETTLED:
            _write(self._digests / _identity(before), digest.encode())
        return digest


def default_root() -> Path:
    """Where code is cached: below wherry's data root (WHERRY_ROOT, or the usual place)."""
    root = os.environ.get("WHERRY_ROOT")
    if root:
        return Path(root) / "cache"
    if os.geteuid() == 0:
        return Path("/var/lib/wherry/cache")
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(data) / "wherry" / "cache"


def _identity(status: os.stat_result) -> str:
    # Not the device: an overlay has another one with every mount.
    return f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ctime_ns:x}"


def _engine_key() -> str:
    library = os.stat(settings.library())
    with open("/proc/cpuinfo") as file:
        cpu = next((line for line in file if line.startswith(("flags", "Features"))), "")
    facts = f"{library.st_size} {library.st_mtime_ns} {settings.IDENTITY} {cpu}"
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def _write(path: Path, content: bytes) -> None:
    # Several containers may bring the same module at once, each in a thread of its own.
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)


def _reopened(module: int) -> BufferedReader:
    """The file open as `module`, with a position of its own."""
    return open(f"/proc/self/fd/{module}", "rb")


def _open(folder: Path, digest: str) -> CompiledCode | None:
    try:
        entry = msgspec.json.decode((folder / f"{digest}.json").read_bytes(), type=_Entry)
        descriptor = os.open(folder / digest, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, msgspec.DecodeError):
        return None
    found = os.fstat(descriptor)
    trusted = (
        found.st_uid == os.geteuid()
        and found.st_mode & 0o777 == 0o600
        and found.st_size == entry.size
        and found.st_ino == entry.inode
    )
    if not trusted:
        os.close(descriptor)
        return None
    return CompiledCode(descriptor, entry.facts)


def _compile(module: int, target: Path, name: str, bounded: bool) -> None:
    import subprocess
    import tempfile

    with (
        _reopened(module) as source,
        tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as output,
    ):
        try:
            process = subprocess.run(
                command("wherry.runtime.compiler", "bounded" if bounded else "plain"),
                stdin=source,
                stdout=output,
                stderr=subprocess.PIPE,
                env={"PATH": os.defpath},
                check=False,
            )
            said = process.stderr.decode(errors="replace").strip().splitlines()
            if process.returncode == 1 and said:
                raise LaunchError(f"{name}: {said[-1]}", NOT_RUNNABLE)
            if process.returncode != 0 or not said:
                raise LaunchError(
                    f"{name}: the compiler ended with status {process.returncode}"
                    + (f": {said[-1]}" if said else ""),
                    ENGINE_FAILED,
                )
            os.fsync(output.fileno())
            stored = os.fstat(output.fileno())
            with open(output.name, "rb") as content:
                sha256 = hashlib.file_digest(content, "sha256").hexdigest()
            facts = msgspec.json.decode(said[-1], type=Facts)
            os.rename(output.name, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(output.name)
            raise
    entry = _Entry(
        inode=stored.st_ino,
        size=stored.st_size,
        sha256=sha256,
        facts=facts,
    )
    _write(target.with_name(f"{target.name}.json"), msgspec.json.encode(entry))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
