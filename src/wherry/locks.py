"""Locks on files and folders (flock(2)): the kernel frees them, whatever way their holder ends."""

import fcntl
import os


def try_lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Lock what is open as `descriptor`, unless somebody else has locked it; whether it is locked.

    `kind` may be LOCK_SH. The lock is that of the open file: who inherits it holds the lock, too.
    """
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: str | os.PathLike[str]) -> bool:
    """Whether anybody holds the file or folder at `path`; nobody does what cannot be opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)
