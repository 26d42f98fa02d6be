"""Who the process is and what it may use, before its privileges go."""

import contextlib
import errno
import os
import resource

from wherry.oci import runtime as spec
from wherry.runtime.exits import LaunchError


def set_limits(process: spec.Process) -> None:
    """Set the resource limits. Raises LaunchError for one that does not exist."""
    for limit in process.rlimits or ():
        kind = getattr(resource, limit.type, None)
        if not isinstance(kind, int):
            raise LaunchError(f"there is no resource limit {limit.type}")
        _, hard = resource.getrlimit(kind)
        # Without CAP_SYS_RESOURCE a hard limit only goes down: then it stays where it is.
        ceiling = limit.hard if hard == resource.RLIM_INFINITY else min(limit.hard, hard)
        resource.setrlimit(kind, (min(limit.soft, ceiling), ceiling))


def set_oom_score(process: spec.Process) -> None:
    """Set how soon the kernel kills this process when memory runs out."""
    if process.oom_score_adj is None:
        return
    # Lowering it needs CAP_SYS_RESOURCE.
    with contextlib.suppress(PermissionError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(process.oom_score_adj))


def become(user: spec.User) -> None:
    """Change to the user and groups of the container. Raises LaunchError and OSError."""
    if user.umask is not None:
        os.umask(user.umask)
    with contextlib.suppress(PermissionError):  # a user namespace with one id maps no groups
        os.setgroups(user.additional_gids or [])
    try:
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise LaunchError(
            f"user {user.uid}:{user.gid} does not exist in this user namespace: "
            "give yourself a range of ids (/etc/subuid, newuidmap), or run as root in the container"
        ) from None
