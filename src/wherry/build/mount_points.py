"""What a step's mounts lie upon, as a layer below the one that the step writes.

A runtime makes the mount points that are missing; made here, in a layer of their own that is thrown
away, they do not get into the image.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from wherry.build.errors import BuildError
from wherry.build.files import join, resolve
from wherry.build.rootfs import Rootfs
from wherry.images.tar import Kind
from wherry.images.tree import OVERLAY_XATTRS


class MountPoint(msgspec.Struct, frozen=True):
    """Where something is mounted: an absolute path, and whether it is a directory."""

    path: str
    is_directory: bool


LINUX = (
    MountPoint("/dev", is_directory=True),
    MountPoint("/proc", is_directory=True),
    MountPoint("/sys", is_directory=True),
    MountPoint("/etc/hostname", is_directory=False),
    MountPoint("/etc/hosts", is_directory=False),
    MountPoint("/etc/resolv.conf", is_directory=False),
)
"""What is mounted for every Linux program."""


def make_mount_points(folder: Path, root: Rootfs, points: Iterable[MountPoint], now: int) -> None:
    """Make in `folder` (empty) what of `points` is missing in `root`, dated `now` (nanoseconds).

    Directories on the way are as in `root`: overlay shows them as the topmost layer has them.
    Raises BuildError for a mount upon something of the other kind.
    """
    made: dict[str, Path | None] = {"": root.place("")}
    for point in points:
        target = resolve(root, point.path)
        if target == "dev" or not target.startswith("dev/"):
            _make(folder, root, target, point, made)
    for path, like in sorted(made.items(), reverse=True):
        _finish(folder / path, like, now)


def _make(
    folder: Path, root: Rootfs, target: str, point: MountPoint, made: dict[str, Path | None]
) -> None:
    there = root.entry(target)
    if there is not None:
        if (there.kind is Kind.DIRECTORY) is not point.is_directory:
            new, old = ("directory", "file")[:: 1 if point.is_directory else -1]
            raise BuildError(f"{point.path} is a {old} in the stage, no {new} can be mounted there")
        return
    path = ""
    for part in target.split("/")[:-1]:
        path = join(path, part)
        entry = root.entry(path)
        if entry is not None and entry.kind is not Kind.DIRECTORY:
            raise BuildError(f"/{path} is a file in the stage, nothing can be mounted below it")
        _directory(folder, path, root.place(path) if entry else None, made)
    if point.is_directory:
        _directory(folder, target, None, made)
    else:
        (folder / target).touch(mode=0o644)


def _directory(folder: Path, path: str, like: Path | None, made: dict[str, Path | None]) -> None:
    if path not in made:
        (folder / path).mkdir(mode=0o755)
        made[path] = like


def _finish(place: Path, like: Path | None, now: int) -> None:
    """Give a directory the owner, mode, attributes and time of another, or those of a new one."""
    if like is None:
        os.utime(place, ns=(now, now))
        return
    status = os.stat(like)
    os.chown(place, status.st_uid, status.st_gid)
    os.chmod(place, status.st_mode & 0o7777)
    for name in os.listxattr(like):
        if not name.startswith(OVERLAY_XATTRS):
            with suppress(OSError):  # labels that only the kernel's policy gives
                os.setxattr(place, name, os.getxattr(like, name))
    os.utime(place, ns=(status.st_mtime_ns, status.st_mtime_ns))
