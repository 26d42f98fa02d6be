"""Copying in and out of a container's filesystem: `cp`, `export`, `diff`."""

import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from wherry.engine.clock import timestamp
from wherry.engine.containers.container import Container
from wherry.engine.containers.context import Context
from wherry.engine.containers.rootfs import container_root
from wherry.engine.errors import EngineError, Forbidden, InvalidRequest, NotFound
from wherry.engine.inspection import Change
from wherry.engine.worker import read_in_thread, run_in_thread, write_in_thread
from wherry.images import ImageError, InvalidImage, copy, diff

T = TypeVar("T")

_GO_KINDS = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
}
_GO_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}
_KINDS = {"modified": 0, "added": 1, "deleted": 2}
_THREAD = "container files"


class PathStat(msgspec.Struct, kw_only=True, rename={"link_target": "linkTarget"}):
    """Docker's X-Docker-Container-Path-Stat. `mode` is Go's os.FileMode; `size` is in bytes."""

    name: str
    size: int
    mode: int
    mtime: str
    link_target: str


async def stat_path(context: Context, container: Container, path: str) -> PathStat:
    """What is at `path`. Raises NotFound."""

    def look(root: Path) -> PathStat:
        found = copy.stat_path(root, path)
        return PathStat(
            name=found.name,
            size=found.size,
            mode=_go_mode(found.mode),
            mtime=timestamp(found.mtime),
            link_target=found.target,
        )

    async with _undisturbed(container):
        return await run_in_thread(lambda: _within(context, container, look), _THREAD)


async def get_archive(
    context: Context, container: Container, path: str
) -> tuple[PathStat, AsyncGenerator[bytes, None]]:
    """What is at `path`, and a tar of it. Raises NotFound."""
    found = await stat_path(context, container, path)
    context.tell(container, "archive-path", path=path)
    return found, _read(context, container, path, None, volumes=True)


def export(context: Context, container: Container) -> AsyncGenerator[bytes, None]:
    """A tar of everything but volumes."""
    context.tell(container, "export")
    return _read(context, container, "/", "", volumes=False)


async def put_archive(
    context: Context,
    container: Container,
    path: str,
    source: AsyncIterator[bytes],
    *,
    keep_kinds: bool,
) -> None:
    """Unpack a tar into the folder `path`. Raises NotFound, Forbidden, InvalidRequest."""
    _check_writable(container, path)

    def unpack(tar: BinaryIO) -> None:
        _within(
            context,
            container,
            lambda root: copy.write_tree(root, path, tar, keep_kinds=keep_kinds),
        )

    async with _undisturbed(container):
        await read_in_thread(source, unpack, _THREAD)
    context.tell(container, "extract-to-dir", path=path)


async def changes(context: Context, container: Container) -> list[Change]:
    """How its filesystem differs from the image's."""
    upper = context.bundle(container) / "upper"
    layers = [Path(layer) for layer in container.record.layers]

    def compare() -> list[Change]:
        with _image_errors():
            found = diff.changes(upper, layers)
        return [Change(path=change.path, kind=_KINDS[change.kind]) for change in found]

    return await run_in_thread(compare, _THREAD)


async def _read(
    context: Context, container: Container, path: str, name: str | None, *, volumes: bool
) -> AsyncGenerator[bytes, None]:
    def pack(out: BinaryIO) -> None:
        _within(
            context,
            container,
            lambda root: copy.read_tree(root, path, out, name=name),
            volumes=volumes,
        )

    async with _undisturbed(container):
        async for chunk in write_in_thread(pack, _THREAD):
            yield chunk


@asynccontextmanager
async def _undisturbed(container: Container) -> AsyncIterator[None]:
    """A container that does not run is not started meanwhile: its files are ours."""
    if container.state.running:
        yield
        return
    async with container.lock:
        if container.removed:
            raise NotFound(f"No such container: {container.id}")
        yield


def _within(
    context: Context, container: Container, work: Callable[[Path], T], *, volumes: bool = True
) -> T:
    with _image_errors(), container_root(context, container, volumes=volumes) as root:
        return work(root)


@contextmanager
def _image_errors() -> Iterator[None]:
    try:
        yield
    except copy.NoSuchPath as error:
        raise NotFound(str(error)) from None
    except (copy.WrongKind, InvalidImage) as error:
        raise InvalidRequest(str(error)) from None
    except ImageError as error:
        raise EngineError(str(error)) from None


def _check_writable(container: Container, path: str) -> None:
    place = "/" + path.strip("/") + "/"
    inside = [m for m in container.record.mounts if place.startswith(f"{m.destination}/")]
    if inside:
        if max(inside, key=lambda mount: len(mount.destination)).read_only:
            raise Forbidden(f"{path}: mounted volume is marked read-only")
    elif container.host.readonly_rootfs:
        raise Forbidden(f"{path}: container rootfs is marked read-only")


def _go_mode(mode: int) -> int:
    kind = _GO_KINDS.get(stat.S_IFMT(mode), 0)
    bits = sum(go for bit, go in _GO_BITS.items() if mode & bit)
    return kind | bits | mode & 0o777
