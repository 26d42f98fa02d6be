"""The command of an OCI runtime: called, waited for, its errors read."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import msgspec

from wherry.runtime.exits import ENGINE_FAILED, NOT_FOUND, NOT_RUNNABLE, LaunchError
from wherry.runtime.linux import child

PATIENCE = 120.0
"""Seconds that one call may take; hooks are run within it."""

_MAX_LOG = 64 << 10
_NOT_FOR_CONTAINERS = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
"""Variables by which runc would hand things of the shim's own to the container."""


_REASONS = {
    "executable file not found": NOT_FOUND,
    "executable file `": NOT_FOUND,
    "no such file or directory": NOT_FOUND,
    "permission denied": NOT_RUNNABLE,
    "exec format error": NOT_RUNNABLE,
    "is a directory": NOT_RUNNABLE,
}
"""What runc and crun say of a program that cannot be run, and Docker's exit code for that."""


_CRUN = "crun"
_ALL_IDS = ["0", "0", "4294967295"]


class _LogLine(msgspec.Struct):
    msg: str = ""
    level: str = ""


@dataclass(frozen=True, slots=True)
class OciRuntime:
    """runc or crun: its path, where it keeps the state of containers, who makes its cgroups.

    `files` are the limits of open files that containers start with.
    """

    program: str
    root: str
    systemd_cgroup: bool
    files: tuple[int, int]
    patience: float = field(default=PATIENCE)
    has_cgroup: bool = True
    """The container is to have one; without, its limits are nobody's."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        return os.path.basename(self.program)

    def argv(self, *arguments: str, log: str = "") -> list[str]:
        """The command line of a call."""
        argv = [self.program, "--root", self.root]
        if log:
            argv += ["--log", log, "--log-format", "json"]
        if self.systemd_cgroup:
            argv.append("--systemd-cgroup")
        if _maps_ids() and self.name != _CRUN:
            # By itself it tells an ordinary user's namespace by the variable USER.
            argv += ["--rootless", "true"]
        if _maps_ids() and not self.has_cgroup and self.name == _CRUN:
            argv += ["--cgroup-manager", "disabled"]
        return [*argv, *arguments]

    async def call(self, *arguments: str, streams: Sequence[int] = ()) -> None:
        """Run one command to its end, on `streams` or on none. Raises LaunchError."""
        with _nothing() as nothing, memory_file(b"") as log:
            argv = self.argv(*arguments, log=log.path)
            pid = child.spawn(argv, environment(), streams or (nothing,) * 3, self.files)
            code = await child.wait(pid, self.patience)
            if code == 0:
                return
            if code is None:
                said = f"no answer within {self.patience:g} s"
            else:
                said = last_error(log.read()) or f"ended with {code} and without a word"
        raise LaunchError(f"{self.name} {arguments[0]}: {said}", _exit_code(said))


class MemoryFile:
    """A file without a name, which another process of this user opens by `path`."""

    def __init__(self, content: bytes) -> None:
        self._descriptor = os.memfd_create("wherry", os.MFD_CLOEXEC)
        self.path = f"/proc/{os.getpid()}/fd/{self._descriptor}"
        os.write(self._descriptor, content)

    def read(self) -> bytes:
        """The end of what is in it, at most 64 KiB."""
        size = os.fstat(self._descriptor).st_size
        return os.pread(self._descriptor, _MAX_LOG, max(0, size - _MAX_LOG))

    def close(self) -> None:
        """Forget it."""
        os.close(self._descriptor)


@contextmanager
def memory_file(content: bytes) -> Iterator[MemoryFile]:
    """A file with `content` that is gone afterwards."""
    file = MemoryFile(content)
    try:
        yield file
    finally:
        file.close()


def environment() -> Mapping[str, str]:
    """What a runtime is started with; its hooks may see it, the container does not."""
    return {key: value for key, value in os.environ.items() if key not in _NOT_FOR_CONTAINERS}


def last_error(log: bytes) -> str:
    """The last error in a log of JSON lines, as one line; empty if there is none."""
    found = ""
    for line in log.splitlines():
        try:
            entry = msgspec.json.decode(line, type=_LogLine)
        except msgspec.DecodeError:
            continue
        if entry.level in ("error", "fatal", "panic") and entry.msg:
            found = entry.msg
    return " ".join(found.split())[:1000]


def _exit_code(said: str) -> int:
    """Docker's code for a runtime's reason: it has no other way to tell."""
    if "exec" in said:
        for phrase, code in _REASONS.items():
            if phrase in said.lower():
                return code
    return ENGINE_FAILED


@cache
def _maps_ids() -> bool:
    """Whether this is a user namespace in which ids are not those of the machine."""
    with open("/proc/self/uid_map") as file:
        return file.read().split() != _ALL_IDS


@contextmanager
def _nothing() -> Iterator[int]:
    descriptor = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
