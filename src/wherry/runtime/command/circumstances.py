"""What a command runs in: all that a process made for it by another one must have, too.

Imported by a command that does hardly anything but ask: it reads a few files and imports nothing.
"""

import os
import sys

from wherry import __version__

_NAMESPACES = (
    "cgroup",
    "ipc",
    "mnt",
    "net",
    "pid",
    "pid_for_children",
    "time",
    "time_for_children",
    "user",
    "uts",
)

_STATUS = (
    b"Umask:",
    b"Uid:",
    b"Gid:",
    b"Groups:",
    b"SigBlk:",
    b"SigIgn:",
    b"CapInh:",
    b"CapPrm:",
    b"CapEff:",
    b"CapBnd:",
    b"CapAmb:",
    b"Cpus_allowed:",
    b"Mems_allowed:",
)
"""Lines of proc_pid_status(5)."""

_FREE = (b"NoNewPrivs:\t0", b"Seccomp:\t0")
"""Lines of a process that is under no filter. Filters cannot be compared."""

_FILES = ("cgroup", "limits", "oom_score_adj", "attr/current")


def circumstances() -> bytes | None:
    """A description, equal for two processes only if it is all the same who of them acts.

    None where that cannot be told. It holds no NUL.
    """
    try:
        status = _read("status").split(b"\n")
        if any(line not in status for line in _FREE):
            return None
        found = [line for line in status if line.startswith(_STATUS)]
        found += [os.readlink(f"/proc/self/ns/{kind}").encode() for kind in _NAMESPACES]
        found += [_read(name) for name in _FILES]
        root = os.open("/", os.O_PATH | os.O_CLOEXEC)
        try:
            # With the number of the mount: a directory may be seen with other mounts beneath it.
            found.append(_read(f"fdinfo/{root}"))
        finally:
            os.close(root)
    except OSError:
        return None
    found.append(f"{__version__} {sys.executable} {os.path.dirname(__file__)}".encode())
    return b"\n".join(found).replace(b"\0", b"")


def _read(name: str) -> bytes:
    try:
        with open(f"/proc/self/{name}", "rb", buffering=0) as file:
            return file.read()
    except OSError:
        if name != "attr/current":  # where there are no labels there is none to be read
            raise
        return b""
