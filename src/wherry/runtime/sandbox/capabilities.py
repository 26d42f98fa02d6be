"""Giving up privileges for good: capabilities(7) and no_new_privs (prctl(2))."""

import ctypes
import errno
import os
from collections.abc import Iterable

from wherry.oci import runtime as spec

PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

CAPABILITY_VERSION_3 = 0x20080522

_NAMES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
    NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
    SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
    SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
    WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
"""In the order of their numbers, without CAP_."""

_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc.prctl
_prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]

# struct __user_cap_header_struct, then two struct __user_cap_data_struct, all zero: none.
_HEADER = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
_NONE = (ctypes.c_uint32 * 6)()


def empty_bounding_set() -> None:
    """Let this process and its children gain no capability by execve(2); what is held stays.

    The zygote does it once for all containers: forty calls. Without CAP_SETPCAP the set stays as
    it is, which is of no use to anybody once `set_no_new_privs` was called too. Raises OSError.
    """
    bound(())


def bound(names: Iterable[str]) -> None:
    """Let execve(2) give only these capabilities ("CAP_CHOWN"); see `empty_bounding_set`."""
    kept = _numbers(names)
    capability = 0
    while _prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0:
        if capability not in kept and _prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            if ctypes.get_errno() != errno.EPERM:
                raise _error("prctl(PR_CAPBSET_DROP)")
            break
        capability += 1


def drop_all() -> None:
    """Empty the ambient, permitted, effective and inheritable sets. Raises OSError."""
    drop_ambient()
    if _libc.capset(_HEADER, _NONE) < 0:
        raise _error("capset")


def drop_ambient() -> None:
    """Empty the ambient set. Raises OSError."""
    if _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0:
        raise _error("prctl(PR_CAP_AMBIENT)")


def keep_across_setuid() -> None:
    """Let a change of user leave the permitted set as it is, until execve(2). Raises OSError."""
    if _prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0:
        raise _error("prctl(PR_SET_KEEPCAPS)")


def set_to(given: spec.Capabilities) -> None:
    """Set the sets of a Linux program as its bundle has them, but gain nothing. Raises OSError."""
    drop_ambient()
    held = (ctypes.c_uint32 * 6)()
    if _libc.capget(_HEADER, held) < 0:
        raise _error("capget")
    wanted = [_numbers(names or ()) for names in (given.effective, given.permitted)]
    inheritable = _numbers(given.inheritable or ())
    sets = (ctypes.c_uint32 * 6)()
    for number in range(64):
        word, bit = number // 32, 1 << number % 32
        if not held[3 * word + 1] & bit:
            continue
        for place, numbers in enumerate((*wanted, inheritable)):
            if number in numbers and (place or number in wanted[1]):
                sets[3 * word + place] |= bit
    if _libc.capset(_HEADER, sets) < 0:
        raise _error("capset")
    for number in _numbers(given.ambient or ()) & inheritable & wanted[1]:
        # The kernel refuses what is not held; a set without it is what was asked for at most.
        _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0)


def hide() -> None:
    """Let nobody but who may trace everybody (CAP_SYS_PTRACE) look into this process by /proc.

    It and its forks run an interpreter of the host's: /proc/PID/exe would hand that file to root of
    another container in the same pid namespace, to read and, once nobody runs it, to write.
    Raises OSError.
    """
    if _prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0:
        raise _error("prctl(PR_SET_DUMPABLE)")


def set_no_new_privs() -> None:
    """Make execve(2) unable to give this thread anything it has not. Raises OSError."""
    if _prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0:
        raise _error("prctl(PR_SET_NO_NEW_PRIVS)")


def _numbers(names: Iterable[str]) -> set[int]:
    """Numbers of capabilities; names that nobody knows give nobody anything."""
    known = {f"CAP_{name}": number for number, name in enumerate(_NAMES.split())}
    return {known[name] for name in names if name in known}


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
