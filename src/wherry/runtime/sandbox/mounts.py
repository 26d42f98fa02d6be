"""A container's mounts, made in its own mount namespace and gone with it.

Destinations are resolved by the kernel inside the new root (openat2, RESOLVE_IN_ROOT), so that no
symlink of an image leads a mount out of it.
"""

import errno
import os
import stat
from collections.abc import Sequence

from wherry.oci.runtime import Mount
from wherry.runtime.exits import LaunchError
from wherry.runtime.sandbox import syscalls as sys

_FLAGS = {
    "ro": sys.MS_RDONLY,
    "nosuid": sys.MS_NOSUID,
    "nodev": sys.MS_NODEV,
    "noexec": sys.MS_NOEXEC,
    "sync": sys.MS_SYNCHRONOUS,
    "dirsync": sys.MS_DIRSYNC,
    "noatime": sys.MS_NOATIME,
    "nodiratime": sys.MS_NODIRATIME,
    "relatime": sys.MS_RELATIME,
    "strictatime": sys.MS_STRICTATIME,
    "bind": sys.MS_BIND,
    "rbind": sys.MS_BIND | sys.MS_REC,
}
_IGNORED = frozenset(
    {"rw", "suid", "dev", "exec", "async", "atime", "defaults", "copy", "nocopy", "z", "Z"}
    | {kind + word for kind in ("", "r") for word in ("private", "slave", "shared", "unbindable")}
)
"""Options that change nothing here: propagation ends at the container, whose mounts are private."""

_COPY_UP = "tmpcopyup"
"""Option of runc's, and Podman's with --read-only: a tmpfs begins with what it hides."""

KERNEL_FILESYSTEMS = frozenset({"proc", "sysfs", "cgroup", "cgroup2", "mqueue", "devpts"})
"""Not mounted for Wasm guests: they have no use for them, and each is attack surface and time."""

_ALWAYS = sys.MS_NODEV | sys.MS_NOSUID
"""A device node in an image or a volume would open a device of the host: no guest has any but ours.
"""

_ATTRIBUTES = {
    sys.MS_RDONLY: sys.MOUNT_ATTR_RDONLY,
    sys.MS_NOSUID: sys.MOUNT_ATTR_NOSUID,
    sys.MS_NODEV: sys.MOUNT_ATTR_NODEV,
    sys.MS_NOEXEC: sys.MOUNT_ATTR_NOEXEC,
}

NOTHING = sys.MS_RDONLY | sys.MS_NOEXEC | _ALWAYS
"""Flags of a mount that is of no use."""

_MAX_DATA = 4095
"""Bytes of mount(2)'s data argument: one page with its final NUL."""


def mount_root(layers: Sequence[Mount], target: str, *, for_wasm: bool = True) -> None:
    """Mount the root filesystem at `target`: `layers` in order, as containerd gives them.

    Without any, the directory `target` itself becomes the root. A Linux program's has device nodes
    and set-uid programs, unless its options say otherwise. Raises LaunchError.
    """
    always = _ALWAYS if for_wasm else 0
    if not layers:
        if not os.path.isdir(target):
            raise LaunchError(f"the bundle's root filesystem {target} is no directory")
        sys.mount(target, target, "", sys.MS_BIND | sys.MS_REC)
        sys.mount_setattr(target, _attributes(always), recursive=True)
        return
    os.makedirs(target, mode=0o755, exist_ok=True)
    for layer in layers:
        flags, data = _split_options(layer.options or ())
        flags |= always
        if layer.type == "overlay":
            _mount_overlay(target, flags, data)
        elif flags & sys.MS_BIND or layer.type == "bind":
            sys.mount(layer.source, target, "", sys.MS_BIND | flags & sys.MS_REC)
            sys.mount_setattr(target, _attributes(flags), recursive=True)
        else:
            sys.mount(layer.source or layer.type, target, layer.type, flags, ",".join(data))


def mount_into(root: int, mount: Mount) -> None:
    """Mount what `config.json` asks for at its destination beneath `root` (an O_PATH descriptor).

    Raises LaunchError naming the mount.
    """
    flags, data = _split_options(mount.options or ())
    flags |= _ALWAYS
    binds = bool(flags & sys.MS_BIND) or mount.type == "bind"
    try:
        if binds and not os.path.isabs(mount.source):
            raise LaunchError(f"mount of {mount.destination}: {mount.source!r} is not absolute")
        directory = not binds or stat.S_ISDIR(os.stat(mount.source).st_mode)
        target = make_beneath(root, mount.destination, directory=directory)
        try:
            path = f"/proc/self/fd/{target}"
            if binds:
                _bind(mount.source, target, flags)
            elif mount.type == "overlay":
                _mount_overlay(path, flags, data)
            else:
                sys.mount(mount.source or mount.type, path, mount.type, flags, ",".join(data))
                if _COPY_UP in (mount.options or ()):
                    _copy_up(root, path, mount.destination)
        finally:
            os.close(target)
    except OSError as error:
        raise LaunchError(
            f"cannot mount {mount.source or mount.type} on {mount.destination}: {error.strerror}"
        ) from None


def _copy_up(root: int, below: str, destination: str) -> None:
    """Copy what a mount hides, at `below`, into the mount at `destination`."""
    # Here because hardly anybody asks for it, and what copies files imports a lot.
    from pathlib import Path

    from wherry.runtime.sandbox.merged import lay

    mounted = _open_beneath(root, destination)
    try:
        lay(Path(below), Path(f"/proc/self/fd/{mounted}"))
    finally:
        os.close(mounted)


def _bind(source: str, target: int, flags: int) -> None:
    """Bind `source` on what is open as `target`.

    A bind mount takes its flags from its source. They are set before it is anywhere: the target may
    lie in a volume that another container writes to, and be another one when looked for again.
    """
    recursive = bool(flags & sys.MS_REC)
    tree = sys.open_tree(source, sys.OPEN_TREE_CLONE | (sys.AT_RECURSIVE if recursive else 0))
    try:
        sys.mount_setattr(f"/proc/self/fd/{tree}", _attributes(flags), recursive=recursive)
        sys.move_mount(tree, target)
    finally:
        os.close(tree)


def _attributes(flags: int) -> int:
    """The attributes of a mount (mount_setattr(2)) that flags of mount(2) stand for."""
    return sum(attribute for flag, attribute in _ATTRIBUTES.items() if flags & flag)


def make_beneath(root: int, path: str, *, directory: bool) -> int:
    """Open `path` inside `root` with O_PATH, making it and its parents where they are missing.

    Raises OSError.
    """
    try:
        return _open_beneath(root, path)
    except FileNotFoundError:
        pass
    names = [name for name in path.split("/") if name and name != "."]
    if ".." in names:
        raise OSError(errno.EINVAL, "a path with '..' is not created", path)
    walked = ""
    parent = os.dup(root)
    try:
        for index, name in enumerate(names):
            walked = f"{walked}/{name}"
            try:
                found = _open_beneath(root, walked)
            except FileNotFoundError:
                if directory or index < len(names) - 1:
                    os.mkdir(name, 0o755, dir_fd=parent)
                else:
                    flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                    os.close(os.open(name, flags, 0o644, dir_fd=parent))
                found = sys.openat2(parent, name, os.O_PATH, sys.RESOLVE_NO_SYMLINKS)
            os.close(parent)
            parent = found
    except BaseException:
        os.close(parent)
        raise
    return parent


def _open_beneath(root: int, path: str) -> int:
    return sys.openat2(root, path, os.O_PATH, sys.RESOLVE_IN_ROOT | sys.RESOLVE_NO_MAGICLINKS)


def option_names() -> frozenset[str]:
    """All options of mount(8) that a bundle may name; others are left to the filesystem."""
    return _IGNORED.union(_FLAGS, {_COPY_UP})


def _split_options(options: Sequence[str]) -> tuple[int, list[str]]:
    flags, data = 0, []
    for option in options:
        if option in _FLAGS:
            flags |= _FLAGS[option]
        elif option not in _IGNORED and option != _COPY_UP:
            data.append(option)
    return flags, data


def _mount_overlay(target: str, flags: int, data: list[str]) -> None:
    options = ",".join(data)
    if len(options) <= _MAX_DATA:
        sys.mount("overlay", target, "overlay", flags, options)
        return
    # Images of many layers: name them relative to the directory they share, as containerd does.
    lower = next(item for item in data if item.startswith("lowerdir="))
    paths = lower.removeprefix("lowerdir=").split(":")
    # One of them may lie elsewhere (a build's mount points): then beneath what most of them share.
    above = [os.path.dirname(os.path.dirname(path)) for path in paths]
    bases = {os.path.commonpath(paths), max(set(above), key=above.count)}
    named = {base: ":".join(os.path.relpath(path, base) for path in paths) for base in bases}
    shared = min(named, key=lambda base: len(named[base]))
    relative = f"lowerdir={named[shared]}"
    options = ",".join(relative if item is lower else item for item in data)
    if len(options) > _MAX_DATA:
        raise LaunchError(f"the image has too many layers to mount: {len(paths)}")
    before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(shared)
        sys.mount("overlay", target, "overlay", flags, options)
    finally:
        os.fchdir(before)
        os.close(before)
