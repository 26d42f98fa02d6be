"""Filling new volumes with what the image has where they are mounted."""

import os
from pathlib import Path

from wherry.engine.containers.context import Context
from wherry.engine.containers.rootfs import private_overlay
from wherry.engine.images import image_errors
from wherry.engine.record import Mounted, Record
from wherry.engine.worker import run_in_thread
from wherry.images import copy


async def copy_up(context: Context, record: Record) -> None:
    """Copy into the empty volumes of a container that is being made what they would hide.

    A volume is filled beside its place and then put there, so that a kill leaves it empty and not
    half full; one that another container has is filled as it is.
    """
    wanted = [
        mount
        for mount in record.mounts
        if mount.type == "volume" and mount.copy and _may_have(record.layers, mount.destination)
    ]
    if not wanted:
        return
    async with context.volumes.filling:
        for mount in wanted:
            await _fill(context, record, mount)


async def _fill(context: Context, record: Record, mount: Mounted) -> None:
    place = context.volumes.path(mount.name)
    if any(place.iterdir()):
        return
    beside = context.volumes.unfinished(mount.name)
    context.trash.discard(beside)

    def fill(target: Path) -> None:
        with image_errors():
            _copy(record.layers, mount.destination, target, unprivileged=context.unprivileged)

    try:
        if context.volumes.users(mount.name):
            await run_in_thread(lambda: fill(place), "volume copy")
            return
        beside.mkdir(mode=0o755)
        await run_in_thread(lambda: fill(beside), "volume copy")
        if not context.volumes.users(mount.name):
            beside.rename(place)
    finally:
        context.trash.discard(beside)


def _copy(layers: list[str], path: str, target: Path, *, unprivileged: bool) -> None:
    """Copy the folder at `path`, if there is one. In a thread of its own."""
    top = target.parent / "_image"
    top.mkdir(exist_ok=True)
    try:
        with private_overlay(top, layers, (), unprivileged=unprivileged):
            try:
                copy.copy_tree(top, path, target)
            except (copy.NoSuchPath, copy.WrongKind):
                return
    finally:
        top.rmdir()


def _may_have(layers: list[str], path: str) -> bool:
    """Whether some layer has at least the beginning of the path."""
    first = path.strip("/").partition("/")[0]
    return any(os.path.lexists(os.path.join(layer, first)) for layer in layers)
