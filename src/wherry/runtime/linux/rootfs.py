"""The root filesystem of a Linux container, mounted in the shim's own mount namespace.

The runtime expects it in the bundle, as containerd's shim for runc mounts it.
"""

import errno
import os
from collections.abc import Sequence

from wherry.oci import runtime as spec
from wherry.runtime.sandbox import mounts
from wherry.runtime.sandbox import syscalls as sys


def root_of(config: spec.Spec, bundle: str) -> str:
    """Where the root filesystem of a bundle is expected."""
    return os.path.join(bundle, config.root.path if config.root else "rootfs")


def mount(layers: Sequence[spec.Mount], target: str) -> None:
    """Mount `layers` at `target`, as they are asked for. Raises LaunchError and OSError."""
    try:
        mounts.mount_root(layers, target, for_wasm=False)
    except BaseException:
        unmount(target)
        raise


def unmount(target: str) -> None:
    """Unmount all that lies at `target`; what is in use still goes out of sight. Raises OSError."""
    flags = sys.UMOUNT_NOFOLLOW
    while True:
        try:
            sys.umount2(target, flags)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return
            if error.errno != errno.EBUSY or flags & sys.MNT_DETACH:
                raise
            flags |= sys.MNT_DETACH
