"""Giving up privileges for good: capabilities(7) and no_new_privs (prctl(2))."""

import ctypes
import errno
import os

PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

CAPABILITY_VERSION_3 = 0x20080522

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
    capability = 0
    while _prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0:
        if _prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            if ctypes.get_errno() != errno.EPERM:
                raise _error("prctl(PR_CAPBSET_DROP)")
            break
        capability += 1


def drop_all() -> None:
    """Empty the ambient, permitted, effective and inheritable sets. Raises OSError."""
    if _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0:
        raise _error("prctl(PR_CAP_AMBIENT)")
    if _libc.capset(_HEADER, _NONE) < 0:
        raise _error("capset")


def set_no_new_privs() -> None:
    """Make execve(2) unable to give this thread anything it has not. Raises OSError."""
    if _prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0:
        raise _error("prctl(PR_SET_NO_NEW_PRIVS)")


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
