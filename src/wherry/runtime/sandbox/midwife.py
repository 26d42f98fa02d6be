"""Birth in another pid namespace, for those who could not come back from it.

A process that joins a pid namespace stays where it is; only its children are born there. To have
children at home again it must join its own, which takes CAP_SYS_ADMIN over it: nobody within a user
namespace has that over the machine's. There another process goes, gives birth, and dies; its child
comes to the nearest ancestor that takes in orphans.
"""

import errno
import os
import struct

from wherry.runtime.sandbox import syscalls as sys

_FOUND = struct.Struct("iii")
"""An error number, or 0 and the pid and the pidfd of the child."""


def is_needed() -> bool:
    """Whether this process could not come back to its own pid namespace. Raises OSError."""
    home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        sys.setns(home, sys.CLONE_NEWPID)
    except PermissionError:
        return True
    finally:
        os.close(home)
    return False


def take_orphans() -> None:
    """Let this process be the parent of what it, or its children, have given birth to here."""
    sys.prctl(sys.PR_SET_CHILD_SUBREAPER, 1)


def clone(namespace: int, flags: int) -> tuple[int, int]:
    """clone3 into a pid namespace. Raises OSError.

    With CLONE_PARENT the parent of the caller must take in orphans, else the caller does.
    """
    if not flags & sys.CLONE_PARENT:
        take_orphans()
    told, telling = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    orphaned, orphaning = os.pipe2(os.O_CLOEXEC)
    open_here = [told, telling, orphaned, orphaning]
    try:
        # What it opens is open here, too: the pidfd of the child.
        midwife, midwife_fd = sys.clone3(sys.CLONE_FILES)
        if midwife == 0:
            if not _give_birth(namespace, flags & ~sys.CLONE_PARENT, telling):
                os._exit(0)
            # Only now that it has the parent it keeps may it be tied to that one's death.
            os.close(orphaning)
            open_here.remove(orphaning)
            if not os.read(orphaned, 1):
                os._exit(1)
            return 0, -1
        os.waitid(os.P_PIDFD, midwife_fd, os.WEXITED)
        os.close(midwife_fd)
        try:
            number, pid, pidfd = _FOUND.unpack(os.read(told, _FOUND.size))
        except BlockingIOError:
            raise OSError(errno.ECHILD, "the process that was to clone it has died") from None
        if number:
            raise OSError(number, f"clone3: {os.strerror(number)}")
        os.write(orphaning, b"1")
        return pid, pidfd
    finally:
        for fd in open_here:
            os.close(fd)


def _give_birth(namespace: int, flags: int, writer: int) -> bool:
    """In the midwife: tell of the child; True in the child itself."""
    try:
        sys.setns(namespace, sys.CLONE_NEWPID)
        pid, pidfd = sys.clone3(flags)
    except OSError as error:
        os.write(writer, _FOUND.pack(error.errno or errno.EIO, 0, -1))
        return False
    if pid == 0:
        return True
    os.write(writer, _FOUND.pack(0, pid, pidfd))
    return False
