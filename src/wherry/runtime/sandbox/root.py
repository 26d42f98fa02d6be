"""The root directory of a container: a mount namespace of its own, or a plain directory.

Where the kernel gives us namespaces, the root is mounted in the container's own and entered by
pivot_root. Where it does not (an ordinary user on a system without user namespaces, an unprivileged
Linux container), the guest is held by WASI alone: its root is a directory with the image's files
copied into it, and its volumes are directories it is handed. Nothing else of the host has a name.
A further process of a container enters the root that the first one made.
"""

import os
import signal
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from wherry.oci import runtime as spec
from wherry.runtime.exits import NOT_FOUND, NOT_RUNNABLE, LaunchError
from wherry.runtime.sandbox import devices, mounts, namespaces
from wherry.runtime.sandbox import syscalls as sys

_OWN_FILES = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"})
"""Files that engines bind into every container, writable for no reason that counts here."""


_NAMES = frozenset({"/etc/hosts", "/etc/resolv.conf"})
"""Those that say where the names in rules of egress lead."""


class Preopen(NamedTuple):
    """A directory handed to the guest."""

    host: str
    guest: str
    writable: bool = True


class MountedRoot:
    """A root made of mounts."""

    def __init__(
        self, config: spec.Spec, bundle: str, layers: Sequence[spec.Mount], dev: str
    ) -> None:
        """Mount everything; raises LaunchError and OSError. `dev` has what comes to /dev."""
        target = os.path.join(bundle, config.root.path if config.root else "rootfs")
        mounts.mount_root([layer for layer in layers if not layer.destination], target)
        self.fd = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        """The root from outside, with O_PATH."""
        for layer in layers:
            if layer.destination:
                mounts.mount_into(self.fd, layer)
        self.preopens = [Preopen("/", "/")]
        """What the guest may open, once this is entered."""
        self._readonly = config.root is not None and config.root.readonly
        wanted = [mount for mount in config.mounts or () if _is_for_guests(mount)]
        if spec.EGRESS in (config.annotations or {}):
            wanted = list(map(_kept_from_guests, wanted))
        among_devices = [mount for mount in wanted if _is_among_devices(mount)]
        for mount in wanted:
            if mount not in among_devices:
                mounts.mount_into(self.fd, mount)
        self._mount_devices(dev, among_devices)

    def _mount_devices(self, source: str, others: Sequence[spec.Mount]) -> None:
        """Mount /dev, and `others` in it: Kubernetes has a file there in every container."""
        try:
            target = mounts.make_beneath(self.fd, "/dev", directory=True)
        except OSError:
            if not others:
                return  # a root that is read-only and has no /dev: the guest does without
            raise
        path = f"/proc/self/fd/{target}"
        if not others:
            sys.mount(source, path, "", sys.MS_BIND | sys.MS_REC)
            os.close(target)
            return
        devices.mount_empty(path)
        os.close(target)
        mounted = mounts.make_beneath(self.fd, "/dev", directory=True)
        path = f"/proc/self/fd/{mounted}"
        devices.furnish(path, source)
        for mount in others:
            mounts.mount_into(self.fd, mount)
        devices.seal(path)
        os.close(mounted)

    def enter(self, workdir: str, *, executable: bool = True) -> None:
        """Make this the process's root and leave the host's behind. Raises LaunchError, OSError.

        Unless `executable` nobody in here maps code out of its files any more (MS_NOEXEC).
        """
        _make_workdir(self.fd, workdir)
        os.fchdir(self.fd)
        os.close(self.fd)
        if not executable:
            sys.mount_setattr(".", sys.MOUNT_ATTR_NOEXEC, recursive=True)
        if self._readonly:
            sys.mount_setattr(".", sys.MOUNT_ATTR_RDONLY, recursive=False)
        sys.pivot_root(".", ".")
        sys.umount2(".", sys.MNT_DETACH)
        _change_to(workdir)


class EmptyRoot:
    """A root with nothing in it, for who needs no files."""

    def __init__(self, target: str) -> None:
        """Take the place of the folder `target`. Raises OSError."""
        os.makedirs(target, mode=0o755, exist_ok=True)
        sys.mount("tmpfs", target, "tmpfs", mounts.NOTHING, "mode=555,size=4k")
        self._target = target

    def enter(self, workdir: str) -> None:
        """Make this the process's root and leave the host's behind. Raises OSError."""
        os.chdir(self._target)
        sys.pivot_root(".", ".")
        sys.umount2(".", sys.MNT_DETACH)
        os.chdir(workdir)


class JoinedRoot:
    """The root of a running container, for a further process in it."""

    def __init__(self, first: int, pidfd: int) -> None:
        """`first` is the container's first process; its `pidfd` is closed by `enter`.

        Raises OSError, also for a process that has ended meanwhile, and LaunchError for one that
        has the host's root.
        """
        self.fd = os.open(f"/proc/{first}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.preopens = [Preopen("/", "/")]
        self._pidfd = pidfd
        # The pid namespace was entered by being born in it.
        self._namespaces = namespaces.foreign(first) & ~sys.CLONE_NEWPID
        # It lives: so its number was its own all the while, and what was opened is its root.
        signal.pidfd_send_signal(pidfd, 0)
        if not self._namespaces & sys.CLONE_NEWNS:
            raise LaunchError("the container's first process has no root of its own to join")

    def enter(self, workdir: str, *, executable: bool = True) -> None:
        """Join the container's namespaces and root. Raises LaunchError and OSError.

        `executable` as for a `MountedRoot`.
        """
        sys.setns(self._pidfd, self._namespaces)
        os.close(self._pidfd)
        os.fchdir(self.fd)
        os.close(self.fd)
        os.chroot(".")
        if not executable:
            sys.mount_setattr(".", sys.MOUNT_ATTR_NOEXEC, recursive=True)
        _change_to(workdir)


class PlainRoot:
    """A root that is a directory of the host, for systems without namespaces."""

    def __init__(
        self,
        config: spec.Spec,
        bundle: str,
        layers: Sequence[spec.Mount],
        *,
        running: bool = False,
    ) -> None:
        """Copy the image's files together; raises LaunchError and OSError.

        Of a container that is `running` it takes what is there.
        """
        # Only here, for what copies files imports a lot.
        from wherry.runtime.sandbox.merged import merge

        self._running = running
        path = os.path.join(bundle, config.root.path if config.root else "rootfs")
        for layer in layers:
            if not layer.destination:
                path = merge(layer, path)
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        readonly = config.root is not None and config.root.readonly
        self.preopens = [Preopen(path, "/", writable=not readonly)]
        files = [layer for layer in layers if layer.destination]
        for number, mount in enumerate([*files, *(config.mounts or ())]):
            if _is_for_guests(mount):
                self._add(mount, os.path.join(bundle, f"tmpfs-{number}"))

    def _add(self, mount: spec.Mount, scratch: str) -> None:
        readonly = "ro" in (mount.options or ())
        source = mount.source
        if mount.type == "tmpfs":
            source = scratch
            os.makedirs(source, mode=0o700, exist_ok=True)
        elif mount.type == "overlay":
            source = self._merged(mount, scratch)
        if self._running and not os.path.isdir(source):
            return
        if os.path.isdir(source):
            self.preopens.append(Preopen(source, mount.destination, writable=not readonly))
        elif os.path.isfile(source) and (readonly or mount.destination in _OWN_FILES):
            self._copy(source, mount.destination)
        else:
            raise LaunchError(
                f"{source} cannot be mounted on {mount.destination}: without namespaces "
                "only directories and read-only files can (see 'wherry info')"
            )

    def _merged(self, mount: spec.Mount, scratch: str) -> str:
        """The folder with the layers of an overlay copied into it: an image that is mounted."""
        from wherry.runtime.sandbox.merged import merge

        upper, work = os.path.join(scratch, "upper"), os.path.join(scratch, "work")
        if not self._running:
            for folder in (upper, work):
                os.makedirs(folder, mode=0o700, exist_ok=True)
            own = [*(mount.options or ()), f"upperdir={upper}", f"workdir={work}"]
            merge(msgspec.structs.replace(mount, options=own), upper)
        return upper

    def _copy(self, source: str, destination: str) -> None:
        import shutil

        target = mounts.make_beneath(self.fd, destination, directory=False)
        try:
            with open(source, "rb") as file, open(f"/proc/self/fd/{target}", "wb") as copy:
                shutil.copyfileobj(file, copy)
        finally:
            os.close(target)

    def enter(self, workdir: str, *, executable: bool = True) -> None:
        """Only makes the working directory: the process stays where it is."""
        if not self._running:
            _make_workdir(self.fd, workdir)
        os.close(self.fd)


def _is_for_guests(mount: spec.Mount) -> bool:
    if mount.type in mounts.KERNEL_FILESYSTEMS:
        return False
    return not (mount.type == "tmpfs" and mount.destination.startswith("/dev"))


def _change_to(workdir: str) -> None:
    try:
        os.chdir(workdir)
    except OSError as error:
        raise LaunchError(
            f"the working directory {workdir} cannot be entered: {error.strerror}", NOT_RUNNABLE
        ) from None


def _is_among_devices(mount: spec.Mount) -> bool:
    return os.path.normpath(mount.destination).startswith("/dev/")


def _make_workdir(root: int, workdir: str) -> None:
    try:
        os.close(mounts.make_beneath(root, workdir, directory=True))
    except OSError as error:
        raise LaunchError(
            f"the working directory {workdir} cannot be made: {error.strerror}", NOT_FOUND
        ) from None


def _kept_from_guests(mount: spec.Mount) -> spec.Mount:
    """What rules of egress trust in is the engine's to write, not the guest's.

    It would be read by a further process in the container, and by Docker's next start of it.
    """
    if mount.destination.rstrip("/") not in _NAMES:
        return mount
    return msgspec.structs.replace(mount, options=[*(mount.options or ()), "ro"])
