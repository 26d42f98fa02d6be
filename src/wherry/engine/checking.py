"""Reading everything that is kept and comparing it with what it must be: `system check`.

Images, their blobs and layers; the engine's own file; containers and volumes; compiled code.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from wherry.engine.worker import iterate_in_thread
from wherry.images import ImageError, Layer
from wherry.images.checking import Fault, Progress
from wherry.interpreter import command

if TYPE_CHECKING:
    from wherry.engine.containers import Container
    from wherry.engine.engine import Engine

T = TypeVar("T")

_MAX_LINE = 64 << 10


class CheckStep(msgspec.Struct, kw_only=True, rename="pascal"):
    """How far a part of the check has come; what is counted are bytes, or things."""

    part: str
    done: int
    total: int


class CheckFault(msgspec.Struct, kw_only=True, rename="pascal"):
    """What is wrong and what to do about it, or what was done."""

    fault: str
    remedy: str
    mended: bool


class CheckResult(msgspec.Struct, kw_only=True, rename="pascal"):
    """The end of a check: how many faults there were, and how many of these are no more."""

    faults: int
    mended: int


CheckEvent = CheckStep | CheckFault | CheckResult
_Found = Fault | Progress


async def check(engine: "Engine", *, repair: bool = False) -> AsyncGenerator[CheckEvent, None]:
    """Check everything; with `repair`, damage that can be undone without loss is."""
    faults = mended = 0
    async with aclosing(_everything(engine, repair)) as steps:
        async for step in steps:
            if isinstance(step, Progress):
                yield CheckStep(part=step.part, done=step.done, total=step.total)
            else:
                faults += 1
                mended += step.mended
                yield CheckFault(fault=step.what, remedy=step.remedy, mended=step.mended)
    yield CheckResult(faults=faults, mended=mended)


async def _everything(engine: "Engine", repair: bool) -> AsyncGenerator[_Found, None]:
    busy = {Path(layer) for each in engine.containers if each.state.running
            for layer in each.record.folders}  # fmt: skip
    cached = await asyncio.to_thread(_cached_layers, engine)
    store = engine.store.checking(repair=repair, busy=busy, layers=cached)
    async with aclosing(iterate_in_thread(store, "system check")) as found:
        async for step in found:
            yield step
    for what in engine.state.faults():
        yield Fault(f"the engine's file engine.db: {what}", "restore it from a copy")
    containers = [*engine.containers]
    for count, container in enumerate(containers):
        yield Progress("containers", count, len(containers))
        if fault := await asyncio.to_thread(_container_fault, engine, container, repair):
            yield fault
    yield Progress("containers", len(containers), len(containers))
    for volume in engine.volumes.list():
        if not await asyncio.to_thread(os.path.isdir, volume.mountpoint):
            what = f"volume {volume.name}: its folder {volume.mountpoint} is missing"
            yield Fault(
                what, f"put it back, or remove the volume by 'wherry volume rm {volume.name}'"
            )
    async with aclosing(_code_faults(engine.root, repair)) as lines:
        async for fault in lines:
            yield fault


def _cached_layers(engine: "Engine") -> list[Layer]:
    """The layers of the build cache, which need be no image's."""
    from wherry.build.cache import BuildCache

    cache = BuildCache(engine.root / "build" / "cache", engine.store.blobs)
    return [kept.stacked for kept in cache.kept() if kept.stacked is not None]


def _container_fault(engine: "Engine", container: "Container", repair: bool) -> Fault | None:
    name = container.name
    remove = f"it cannot run any more: remove it by 'wherry rm {name}'"
    folder = engine.root / "containers" / container.id
    if not folder.is_dir():
        return _unless_gone(engine, container, f"its folder {folder} is missing", remove)
    missing = [layer for layer in container.record.folders if not os.path.isdir(layer)]
    if not missing:
        return None
    what = f"of its image's files {min(missing)} is missing"
    if not repair:
        mend = "'wherry system check --repair' unpacks it again"
        return _unless_gone(engine, container, what, mend)
    try:
        for image in container.record.images:
            engine.store.lowerdirs(engine.store.resolve(image))
    except ImageError as error:
        return _unless_gone(engine, container, f"{what}, and {error}", remove)
    if not all(map(os.path.isdir, missing)):
        return _unless_gone(engine, container, what, remove)
    return Fault(f"container {name}: {what}", "it was unpacked again", mended=True)


def _unless_gone(engine: "Engine", container: "Container", what: str, remedy: str) -> Fault | None:
    """The fault, unless somebody has removed the container meanwhile."""
    if all(each.id != container.id for each in engine.containers):
        return None
    return Fault(f"container {container.name}: {what}", remedy)


async def _code_faults(root: Path, repair: bool) -> AsyncGenerator[Fault, None]:
    """What the runtime says of the code that it has compiled: only it knows what that must be."""
    yielded = False
    process = await asyncio.create_subprocess_exec(
        *command("wherry.runtime.command", "check-code", *(("--repair",) if repair else ())),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_MAX_LINE,
        env={**os.environ, "WHERRY_ROOT": str(root)},
    )
    assert process.stdout and process.stderr
    mend = "'wherry system check --repair' removes it, and it is compiled anew"
    try:
        async for line in process.stdout:
            what = line.decode(errors="replace").strip()
            remedy = "it was removed, and is compiled anew when it is wanted" if repair else mend
            yielded = True
            yield Fault(f"compiled code {what}", remedy, mended=repair)
        said = (await process.stderr.read()).decode(errors="replace").strip()
        if await process.wait() not in ((1,) if yielded and not repair else (0,)):
            yield Fault(f"compiled code could not be checked: {said}", "see what wherryd.log says")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
