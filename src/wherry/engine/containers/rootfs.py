"""A container's files as the container sees them, from outside.

Of a running container they are reached through its process. Those of a stopped one are put
together again in a mount namespace that only one thread of the engine has, so that nothing of it
is ever seen by, or left to, the rest of the machine.
"""

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from wherry.engine.containers.container import Container
from wherry.engine.containers.context import Context
from wherry.engine.containers.image_mounts import image_mount
from wherry.engine.containers.volume_parts import check_part, mounted_path
from wherry.engine.errors import EngineError
from wherry.engine.record import Mounted
from wherry.images.beneath import Root
from wherry.oci import runtime as oci

_CLONE_FS = 0x200
_CLONE_NEWNS = 0x20000
_MS_RDONLY = 0x1
_MS_REMOUNT = 0x20
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 1 << 18
_MAX_OPTIONS = 4095
_O_PATH = getattr(os, "O_PATH", 0o10000000)

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def container_root(context: Context, container: Container, *, volumes: bool) -> Iterator[Path]:
    """The top of a container's files, with its volumes if `volumes`; valid inside the `with`.

    To be called in a thread of its own, that ends afterwards; with the container's lock held if it
    does not run. Raises EngineError.
    """
    pid = container.state.pid
    if volumes and container.state.running and pid:
        try:
            fd = os.open(f"/proc/{pid}/root", _O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            raise EngineError(f"container {container.name} has just ended: try again") from None
        try:
            yield Path(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        return
    bundle = context.bundle(container)
    target = bundle / "rootfs"
    options = [f"upperdir={bundle / 'upper'}", f"workdir={bundle / 'work'}"]
    if container.state.running:
        # Its own overlay is in use: look at the layers below and above it together instead.
        layers, options = [str(bundle / "upper"), *container.record.layers], []
    else:
        layers = container.record.layers
    with private_overlay(target, layers, options, unprivileged=context.unprivileged):
        if volumes:
            _bind_volumes(context, container, target)
        yield target


@contextmanager
def private_overlay(
    target: Path, layers: Sequence[str], options: Sequence[str], *, unprivileged: bool
) -> Iterator[None]:
    """Mount `layers` (topmost first) at `target`, for this thread only. Raises EngineError."""
    try:
        _check(_libc.unshare(_CLONE_FS | _CLONE_NEWNS), "unshare")
        _mount("", "/", "", _MS_REC | _MS_PRIVATE, "")
        shared = os.path.commonpath(layers) if len(layers) > 1 else os.path.dirname(layers[0])
        names = [os.path.relpath(layer, shared) for layer in layers]
        if len(names) == 1 and not options:
            _mount(layers[0], str(target), "", _MS_BIND, "")
        else:
            data = [f"lowerdir={':'.join(names)}", *options]
            if unprivileged:
                data.append("userxattr")
            text = ",".join(data)
            if len(text) > _MAX_OPTIONS:
                raise EngineError(f"the image has too many layers to mount: {len(layers)}")
            # Short names keep within mount's limit; this thread has a working directory of its own.
            os.chdir(shared)
            _mount("overlay", str(target), "overlay", 0, text)
    except OSError as error:
        raise EngineError(f"the container's files cannot be mounted: {error.strerror}") from None
    try:
        yield
    finally:
        os.chdir("/")
        _libc.umount2(os.fsencode(target), 2)


def _bind_volumes(context: Context, container: Container, target: Path) -> None:
    with Root(target) as root:
        for mount in container.record.mounts:
            wanted = _wanted(context, mount)
            overlay = wanted.type == "overlay"
            if not overlay and not os.path.exists(wanted.source):
                continue
            directory = overlay or os.path.isdir(wanted.source)
            place = _place(root, mount.destination, directory=directory)
            if place is None:
                continue
            try:
                path = f"/proc/self/fd/{place}"
                if overlay:
                    data = ",".join(option for option in wanted.options or () if option != "ro")
                    _mount("overlay", path, "overlay", _MS_RDONLY, data)
                    continue
                _mount(wanted.source, path, "", _MS_BIND | _MS_REC, "")
                check_part(context, mount, root)
                if mount.read_only:
                    inside = root.open(mount.destination, _O_PATH)
                    flags = _MS_BIND | _MS_REMOUNT | _MS_RDONLY
                    _mount("", f"/proc/self/fd/{inside}", "", flags, "")
                    os.close(inside)
            finally:
                os.close(place)


def _wanted(context: Context, mount: Mounted) -> oci.Mount:
    """What is mounted; a bind without a source is to be left out."""
    if mount.type == "image":
        return image_mount(mount, unprivileged=context.unprivileged)
    source = mounted_path(context, mount)
    return oci.Mount(destination=mount.destination, type="bind", source=source)


def _place(root: Root, destination: str, *, directory: bool) -> int | None:
    """What to mount on. In a container that was never started it may have to be made."""
    try:
        return root.open(destination, _O_PATH)
    except FileNotFoundError:
        if directory:
            root.folder(destination.strip("/"), make=True)
            return root.open(destination, _O_PATH)
    except OSError:
        pass
    return None


def _mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    words = [os.fsencode(word) if word else None for word in (source, target, kind, data)]
    _check(_libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]), "mount")


def _check(result: int, call: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
