"""Images that are mounted into a container (`--mount type=image`): read-only, and checked alike.

What of a mounted image runs is as good a program as the container's own, so it passes the same
gate. Its layers stay as long as the container is there.
"""

import asyncio
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from wherry.engine.containers.admission import admit
from wherry.engine.containers.context import Context
from wherry.engine.errors import InvalidRequest, NotFound
from wherry.engine.images import image_errors
from wherry.engine.privileges import may_make_namespaces
from wherry.engine.record import Mounted
from wherry.engine.trust import Admission
from wherry.images import Image, NoSuchPlatform
from wherry.oci import Platform
from wherry.oci import runtime as oci

_SPECIAL = frozenset(",:\\")
"""What separates the folders of an overlay, and its options."""
_MAX_OPTIONS = 4095
"""Bytes of mount(2)'s options: one page with its final NUL."""


async def find_images(
    context: Context, mounts: Sequence[Mounted], platform: Platform, verify_key: str
) -> list[Admission]:
    """Find what the mounts of images stand for, for a container of `platform`; within a hold.

    Raises InvalidRequest, Forbidden.
    """
    admissions = []
    for mount in mounts:
        if mount.type == "image":
            # What --volumes-from brings is the very image, whatever its name means now.
            image = _find(context, mount.image or mount.name, platform)
            admissions.append(await admit(context.gate, image, mount.name, verify_key))
            mount.image = image.id
            with image_errors():
                found = await asyncio.to_thread(context.store.lowerdirs, image)
            mount.layers = [str(path) for path in found]
            await asyncio.to_thread(image_mount, mount, unprivileged=context.unprivileged)
    return admissions


def image_mount(mount: Mounted, *, unprivileged: bool) -> oci.Mount:
    """The mount of an image, or of what it has at a path, as an OCI runtime makes it.

    Raises InvalidRequest where nothing is at that path, or where it cannot be mounted.
    """
    places = _places(mount)
    # Without mounts a guest would be handed the folder itself, with the device nodes in it, which
    # only an overlay, copied together then, goes without.
    if len(places) == 1 and (may_make_namespaces() or not os.path.isdir(places[0])):
        return oci.Mount(
            destination=mount.destination,
            type="bind",
            source=places[0],
            options=["rbind", "rprivate", "ro"],
        )
    lower = f"lowerdir={':'.join(places)}"
    if len(lower) > _MAX_OPTIONS:
        raise InvalidRequest(f"image {mount.name} has too many layers to be mounted: {len(places)}")
    marks = ["userxattr"] if unprivileged else []
    return oci.Mount(
        destination=mount.destination,
        type="overlay",
        source="overlay",
        options=["ro", lower, *marks],
    )


def _find(context: Context, name: str, platform: Platform) -> Image:
    """Of an index the image for the container's platform; if it has none, what would be run."""
    try:
        with image_errors():
            try:
                return context.store.select(name, platform).image
            except NoSuchPlatform:
                return context.store.select(name).image
    except NotFound as error:
        # Of what is not found while it creates, the docker CLI believes that it is the image.
        raise InvalidRequest(f'invalid mount config for type "image": {error.message}') from None


def _places(mount: Mounted) -> list[str]:
    """The folders, or the file, that make up what is mounted, topmost first.

    Layers never change, so links in them that were followed lead where they led.
    """
    if not mount.subpath:
        return mount.layers
    # Only here: hardly anybody mounts a part of an image.
    from wherry.build import BuildError
    from wherry.build.files import resolve
    from wherry.build.rootfs import Rootfs, UnpackedLayer

    tree = Rootfs([UnpackedLayer(layer, partial(Path, layer)) for layer in mount.layers])
    try:
        path = resolve(tree, mount.subpath)
        places = [str(place) for place in tree.parts(path)]
    except (BuildError, OSError):
        places = []
    if not places:
        raise InvalidRequest(f"image {mount.name} has nothing at {mount.subpath!r} to be mounted")
    if len(places) > 1 and not _SPECIAL.isdisjoint(path):
        raise InvalidRequest(
            f"{mount.subpath!r} of image {mount.name} cannot be mounted: several layers have it, "
            "and there is a comma, colon or backslash in its name"
        )
    return places
