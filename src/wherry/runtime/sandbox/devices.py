"""A `/dev` for guests: made once by the zygote, bound into every container.

A Wasm guest opens at most /dev/null and its like; there are no terminals in it. A container with
mounts of its own in /dev gets one of its own, in which the same devices are bound.
"""

import os
import stat

from wherry.runtime.sandbox import syscalls as sys

_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9)}


def prepare(path: str) -> None:
    """Mount a read-only tmpfs with the devices at `path`, in the caller's mount namespace.

    Raises OSError.
    """
    os.makedirs(path, mode=0o700, exist_ok=True)
    before = os.umask(0)
    mount_empty(path)
    for name, (major, minor) in _DEVICES.items():
        node = f"{path}/{name}"
        try:
            os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            # Nodes on a mount of a user namespace exist but do not open.
            os.close(os.open(node, os.O_RDONLY | os.O_CLOEXEC))
        except PermissionError:
            _bind(f"/dev/{name}", node)
    os.umask(before)
    seal(path)


def mount_empty(path: str) -> None:
    """Mount a file system at `path` that has room for devices and mount points. Raises OSError."""
    sys.mount("tmpfs", path, "tmpfs", sys.MS_NOSUID | sys.MS_NOEXEC, "mode=755,size=64k")


def furnish(path: str, source: str) -> None:
    """Bind the devices that are in `source` into the folder `path`. Raises OSError."""
    for name in _DEVICES:
        _bind(f"{source}/{name}", f"{path}/{name}")


def seal(path: str) -> None:
    """Let nothing more be made at `path`. Raises OSError."""
    sys.mount_setattr(path, sys.MOUNT_ATTR_RDONLY, recursive=False)


def _bind(source: str, target: str) -> None:
    if os.path.lexists(target):
        os.unlink(target)
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    sys.mount(source, target, "", sys.MS_BIND)
