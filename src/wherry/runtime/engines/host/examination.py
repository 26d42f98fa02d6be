"""Finding out what a program of the host is loaded from."""

import os
import re
import stat
import struct
import subprocess

from wherry.runtime.engines.host.program import HostProgram
from wherry.runtime.exits import LaunchError

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_PT_INTERP = 3

_LOADED_LATER = ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2")
"""What a C library before glibc 2.34 loads when it first looks up a name (nss(5))."""

_SECONDS = 20


def identity(path: str) -> str:
    """What changes when another file comes to a path. Raises OSError."""
    status = os.stat(path)
    numbers = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return "-".join(f"{number:x}" for number in numbers)


def examine(path: str) -> HostProgram:
    """Find out what a program is loaded from, and have it tell its release.

    It need not be executable: then its loader starts it. Raises LaunchError.
    """
    try:
        loader = _interpreter(path)
    except (OSError, struct.error) as error:
        raise LaunchError(f"{path} cannot be read as a program: {error}") from None
    if not loader and not os.access(path, os.X_OK):
        raise LaunchError(f"{path} is not executable: chmod +x it")
    start = [loader, path] if loader else [path]
    if not os.stat(path).st_mode & stat.S_IROTH:
        raise LaunchError(f"{path} cannot be read by a container's user: chmod o+r it")
    words = _output([*start, "--version"]).split()
    if words[:1] != ["wasmtime"] or not re.fullmatch(r"\d[\w.+-]*", (*words, "")[1]):
        raise LaunchError(f"{path} does not tell its release")
    libraries = _libraries(_output([loader, "--list", path])) if loader else {}
    return HostProgram(path, identity(path), words[1], loader, libraries)


def _interpreter(path: str) -> str:
    """The program's dynamic loader (PT_INTERP of elf(5)); empty if it has none."""
    with open(path, "rb") as file:
        header = _EHDR.unpack(file.read(_EHDR.size))
        offset, size, count = header[5], header[9], header[10]
        for number in range(count):
            file.seek(offset + number * size)
            kind, _, start, _, _, length, _, _ = _PHDR.unpack(file.read(_PHDR.size))
            if kind == _PT_INTERP:
                file.seek(start)
                return os.fsdecode(file.read(min(length, 4096)).rstrip(b"\0"))
    return ""


def _libraries(listing: str) -> dict[str, str]:
    """Paths by name, of what the loader lists: `libc.so.6 => /lib/…/libc.so.6 (0x7f…)`."""
    found: dict[str, str] = {}
    for line in listing.splitlines():
        name, arrow, where = line.strip().partition(" => ")
        path = where.rpartition(" (")[0] or where
        if arrow and path.startswith("/") and "/" not in name:
            found[name] = path
    if "libc.so.6" in found:
        beside = os.path.dirname(os.path.realpath(found["libc.so.6"]))
        for name in _LOADED_LATER:
            if os.path.exists(f"{beside}/{name}"):
                found.setdefault(name, f"{beside}/{name}")
    return found


def _output(argv: list[str]) -> str:
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={"PATH": os.defpath},
            timeout=_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise LaunchError(f"{argv[-2]} does not start: {error}") from None
    return done.stdout.decode(errors="replace")
