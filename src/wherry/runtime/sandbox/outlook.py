"""What the zygote sees of the host's mounts: its mount namespace, and whether it stays up to date.

Where the host's root is shared, as systemd makes it, mounts made later arrive in every copy of the
host's namespace. Elsewhere (OpenRC, a Docker within a container) none arrives, and a copy made once
would never show the files of an image that was mounted after it.
"""

import os
import select

from wherry.runtime.sandbox import syscalls as sys


class Outlook:
    """A mount namespace of the caller's own, copied from the host's.

    Raises PermissionError where the kernel gives us none.
    """

    def __init__(self) -> None:
        self._host: int | None = None
        self._changes = select.poll()
        # Opened here, it is the host's table of mounts whatever namespace we are in later.
        self._table = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        host = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        propagates = _propagates()
        _copy()
        if not propagates:
            try:
                self._return_to(host)
                self._host = host
            except PermissionError:
                pass  # a user namespace was entered since: from there is no way back
            else:
                _copy()
        if self._host is None:
            for descriptor in (host, self._root, self._table):
                os.close(descriptor)
        else:
            self._changes.register(self._table, select.POLLPRI)

    def is_stale(self) -> bool:
        """Whether the host has mounted or unmounted something since this was asked last.

        The kernel tells who polls the table of mounts (proc(5)). Then `renew` it.
        """
        return self._host is not None and bool(self._changes.poll(0))

    def renew(self) -> None:
        """Copy the host's mounts again; what was mounted in the copy is gone. Raises OSError."""
        if self._host is not None:
            self._return_to(self._host)
            _copy()

    def _return_to(self, host: int) -> None:
        sys.setns(host, sys.CLONE_NEWNS)
        # That leads to the namespace's own root, which is not ours if we were started in a chroot.
        os.fchdir(self._root)
        os.chroot(".")


def _copy() -> None:
    sys.unshare(sys.CLONE_NEWNS)
    # Mounts of the host appear here if they do anywhere, but none made here appears there.
    sys.mount("", "/", "", sys.MS_REC | sys.MS_SLAVE)


def _propagates() -> bool:
    """Whether mounts that are made below the root from now on arrive in copies of it."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        roots = [fields for fields in map(str.split, file) if fields[4] == "/"]
    # The last one covers the others. Optional fields end with a dash.
    return bool(roots) and any(
        field.startswith("shared:") for field in roots[-1][6 : roots[-1].index("-")]
    )
