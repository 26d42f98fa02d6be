"""The root directory of a container: a mount namespace of its own, or a plain directory.

Where the kernel gives us namespaces, the root is mounted in the container's own and entered by
pivot_root. Where it does not (an ordinary user on a system without user namespaces, an unprivileged
Linux container), the guest is held by WASI alone: its root is a directory with the image's files
copied into it, and its volumes are directories it is handed. Nothing else of the host has a name.
"""

import os
from collections.abc import Sequence

from wherry.oci import runtime as spec
from wherry.runtime.exits import NOT_FOUND, NOT_RUNNABLE, LaunchError
from wherry.runtime.sandbox import mounts
from wherry.runtime.sandbox import syscalls as sys
from wherry.runtime.sandbox.merged import merge


class MountedRoot:
    """A root made of mounts."""

    def __init__(
        self, config: spec.Spec, bundle: str, layers: Sequence[spec.Mount], devices: str
    ) -> None:
        """Mount everything; raises LaunchError and OSError. `devices` is bound at /dev."""
        target = os.path.join(bundle, config.root.path if config.root else "rootfs")
        mounts.mount_root(layers, target)
        self.fd = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        """The root from outside, with O_PATH."""
        self.preopens = [("/", "/")]
        """What the guest may open, once entered: directories and the guest's names for them."""
        self._readonly = config.root is not None and config.root.readonly
        for mount in config.mounts or ():
            if _is_for_guests(mount):
                mounts.mount_into(self.fd, mount)
        self._mount_devices(devices)

    def _mount_devices(self, devices: str) -> None:
        try:
            target = mounts.make_beneath(self.fd, "/dev", directory=True)
        except OSError:
            return  # a root that is read-only and has no /dev: the guest does without
        sys.mount(devices, f"/proc/self/fd/{target}", "", sys.MS_BIND | sys.MS_REC)
        os.close(target)

    def enter(self, workdir: str) -> None:
        """Make this the process's root and leave the host's behind. Raises LaunchError, OSError."""
        _make_workdir(self.fd, workdir)
        os.fchdir(self.fd)
        os.close(self.fd)
        if self._readonly:
            sys.mount_setattr(".", sys.MOUNT_ATTR_RDONLY, recursive=False)
        sys.pivot_root(".", ".")
        sys.umount2(".", sys.MNT_DETACH)
        try:
            os.chdir(workdir)
        except OSError as error:
            raise LaunchError(
                f"the working directory {workdir} cannot be entered: {error.strerror}",
                NOT_RUNNABLE,
            ) from None


class PlainRoot:
    """A root that is a directory of the host, for systems without namespaces."""

    def __init__(self, config: spec.Spec, bundle: str, layers: Sequence[spec.Mount]) -> None:
        """Copy the image's files together; raises LaunchError and OSError."""
        path = os.path.join(bundle, config.root.path if config.root else "rootfs")
        for layer in layers:
            path = merge(layer, path)
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.preopens = [(path, "/")]
        for number, mount in enumerate(config.mounts or ()):
            if _is_for_guests(mount):
                self.preopens.append((_directory(mount, bundle, number), mount.destination))

    def enter(self, workdir: str) -> None:
        """Only makes the working directory: the process stays where it is."""
        _make_workdir(self.fd, workdir)
        os.close(self.fd)


def _directory(mount: spec.Mount, bundle: str, number: int) -> str:
    """The directory of the host that stands for a mount."""
    if mount.type == "tmpfs":
        path = os.path.join(bundle, f"tmpfs-{number}")
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path
    if "ro" in (mount.options or ()):
        raise LaunchError(
            f"{mount.destination} cannot be mounted read-only without namespaces "
            "(see 'wherry info')"
        )
    if not os.path.isdir(mount.source):
        raise LaunchError(
            f"{mount.source} cannot be mounted on {mount.destination}: "
            "without namespaces only directories can (see 'wherry info')"
        )
    return mount.source


def _is_for_guests(mount: spec.Mount) -> bool:
    if mount.type in mounts.KERNEL_FILESYSTEMS:
        return False
    return not (mount.type == "tmpfs" and mount.destination.startswith("/dev"))


def _make_workdir(root: int, workdir: str) -> None:
    try:
        os.close(mounts.make_beneath(root, workdir, directory=True))
    except OSError as error:
        raise LaunchError(
            f"the working directory {workdir} cannot be made: {error.strerror}", NOT_FOUND
        ) from None
