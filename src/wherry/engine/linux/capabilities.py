"""Capabilities of Linux programs: Docker's default set, and what people add to it or take away."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from wherry.engine.errors import InvalidRequest

_NUMBERED = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
    "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
    "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
    "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip
"""By their numbers (linux/capability.h)."""

_PREFIX = "CAP_"
_ALL = "ALL"

DEFAULT = tuple(
    f"{_PREFIX}{name}"
    for name in (
        "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID",
        "SETFCAP", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
    )
)  # fmt: skip
"""Docker's default set."""


def choose_capabilities(
    add: Iterable[str], drop: Iterable[str], *, privileged: bool = False
) -> list[str]:
    """The capabilities of a container, by Docker's rules. Raises InvalidRequest.

    A `privileged` one has all that this process can give, whatever else is said.
    """
    added, dropped = _names(add, "--cap-add"), _names(drop, "--cap-drop")
    if privileged:
        return grantable()
    if _ALL in added:
        chosen = [name for name in grantable() if name not in dropped]
    elif _ALL in dropped:
        chosen = []
    else:
        chosen = [name for name in DEFAULT if name not in dropped]
    chosen += [name for name in added if name not in (*chosen, _ALL)]
    missing = [name for name in added if name != _ALL and name not in grantable()]
    if missing:
        raise InvalidRequest(
            f"--cap-add {missing[0]}: wherryd does not have this capability, so cannot give it"
        )
    return [name for name in chosen if name in grantable()]


@cache
def grantable() -> list[str]:
    """All that this process has, and so can hand to a container."""
    status = Path("/proc/self/status").read_text()
    permitted = next(line for line in status.splitlines() if line.startswith("CapPrm:"))
    bits = int(permitted.split()[1], 16)
    return [f"{_PREFIX}{name}" for number, name in enumerate(_NUMBERED) if bits >> number & 1]


def _names(given: Iterable[str], flag: str) -> list[str]:
    """In the kernel's spelling, each once."""
    names = []
    for text in given:
        name = text.strip().upper().removeprefix(_PREFIX)
        if name not in (_ALL, *_NUMBERED):
            raise InvalidRequest(
                f"{flag}: unknown capability {text[:40]!r}: they are called like NET_ADMIN"
            )
        names.append(name if name == _ALL else f"{_PREFIX}{name}")
    return list(dict.fromkeys(names))
