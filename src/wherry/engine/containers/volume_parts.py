"""Parts of volumes (`volume-subpath`), in which guests may put links wherever they like.

A part is found beneath its volume, but mounted by its path: a guest that has the volume, too, may
have put a link there in between. So what was mounted is looked at before anybody gets it to see.
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wherry.engine.containers.container import Container
from wherry.engine.containers.context import Context
from wherry.engine.errors import EngineError
from wherry.engine.privileges import may_make_namespaces
from wherry.engine.record import Mounted
from wherry.engine.shims import WHERRY
from wherry.images.beneath import Root


def mounted_path(context: Context, mount: Mounted) -> str:
    """The path on the host of what is to be mounted: of a volume the part that was asked for.

    Empty as `Context.source` is. Raises EngineError if there is no such part.
    """
    if not _is_part(mount):
        return context.source(mount)
    with _part(context, mount) as part:
        return os.readlink(f"/proc/self/fd/{part}")


def check_parts(context: Context, container: Container, pid: int) -> None:
    """See that what the process `pid` of a container has mounted of volumes lies in these.

    Without namespaces nothing is mounted, other runtimes than wherry's may do it in a machine of
    their own: there is nothing to see. Raises EngineError.
    """
    parts = [mount for mount in container.record.mounts if _is_part(mount)]
    if not parts or container.host.runtime != WHERRY or not may_make_namespaces():
        return
    try:
        root = Root(Path(f"/proc/{pid}/root"))
    except OSError as error:
        raise EngineError(f"what was mounted cannot be looked at: {error.strerror}") from None
    with root:
        for mount in parts:
            check_part(context, mount, root)
        # The way to a place may lead through a volume, too: what is seen there has to be a mount
        # of its own, not the part by another way while its own mount lies elsewhere.
        seen = Counter(_mount_at(root, mount.destination) for mount in container.record.mounts)
        seen[_mount_at(root, "/")] += 1
        for mount in parts:
            if seen[_mount_at(root, mount.destination)] != 1:
                raise _replaced(mount)


def check_part(context: Context, mount: Mounted, root: Root) -> None:
    """The same of one mount, whatever it is of, among files beneath `root`. Raises EngineError."""
    if not _is_part(mount):
        return
    with _part(context, mount) as part:
        try:
            found = root.open(mount.destination, os.O_PATH)
        except OSError:
            same = False
        else:
            same = os.path.samestat(os.fstat(part), os.fstat(found))
            os.close(found)
    if not same:
        raise _replaced(mount)


def _replaced(mount: Mounted) -> EngineError:
    return EngineError(
        f"{mount.subpath!r} of volume {mount.name} was replaced while it was mounted: try again"
    )


def _mount_at(root: Root, path: str) -> str:
    """The number of the mount that is at `path`, as the kernel counts them; "" if nothing is."""
    try:
        found = root.open(path, os.O_PATH)
    except OSError:
        return ""
    try:
        facts = Path(f"/proc/self/fdinfo/{found}").read_text()
    finally:
        os.close(found)
    return next(line for line in facts.splitlines() if line.startswith("mnt_id:"))


def _is_part(mount: Mounted) -> bool:
    return mount.type == "volume" and bool(mount.subpath)


@contextmanager
def _part(context: Context, mount: Mounted) -> Iterator[int]:
    """The part of a volume, found beneath that, as an O_PATH descriptor. Raises EngineError."""
    try:
        with Root(Path(context.source(mount))) as volume:
            part = volume.open(mount.subpath, os.O_PATH)
    except OSError as error:
        raise EngineError(
            f"{mount.subpath!r} of volume {mount.name} cannot be mounted: {error.strerror}"
        ) from None
    try:
        yield part
    finally:
        os.close(part)
