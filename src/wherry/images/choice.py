"""Which image of an index is taken: decided here, for pulling, running and looking alike.

The platform that was asked for; else this machine's Linux, if there is a runtime for it and the
index has it; else wasi/wasm. It is chosen from all that the index has, whether it is in the store
or not: what a name means on a machine must not depend on what was pulled before.
"""

from collections.abc import Sequence
from typing import NamedTuple

from wherry import linux_runtime
from wherry.images.errors import NoSuchPlatform
from wherry.oci import WASM, Platform
from wherry.oci.cpu import native
from wherry.oci.platform import best


class Choice(NamedTuple):
    """One of several platforms: its position, and why it was taken, in words for a person."""

    position: int
    why: str


def choose(platforms: Sequence[Platform], wanted: Platform | None, *, linux: bool) -> Choice | None:
    """The platform to take; None if none suits. `linux`: there is a runtime for Linux programs."""
    if wanted is not None:
        position = best(platforms, wanted)
        return None if position is None else Choice(position, "it was asked for")
    if linux and (position := best(platforms, native())) is not None:
        return Choice(position, "it is this machine's")
    if (position := best(platforms, WASM)) is not None:
        return Choice(position, "every machine runs it")
    return None


def none_suits(
    name: str, platforms: Sequence[Platform], wanted: Platform | None, *, linux: bool
) -> NoSuchPlatform:
    """The error to raise where `choose` finds nothing for the image `name`."""
    there = ", ".join(dict.fromkeys(str(one) for one in platforms)) or "no platform"
    if wanted is not None:
        return NoSuchPlatform(f"image {name} is for {there}, not for {wanted}")
    own = native()
    if best(platforms, own) is not None and not linux:
        return NoSuchPlatform(
            f"image {name} is for {there}, and no runtime for Linux programs is installed: "
            f"{linux_runtime.HINT}"
        )
    return NoSuchPlatform(
        f"image {name} is for {there}, and this machine runs wasi/wasm"
        + (f" and {own}" if linux else "")
        + ": ask for one of its own by --platform"
    )


def not_here(name: str, wanted: Platform, here: Sequence[Platform]) -> NoSuchPlatform:
    """The error to raise where an image has a platform, and the store only has others of it."""
    there = ", ".join(map(str, here))
    return NoSuchPlatform(
        f"no such image: {name} for {wanted}, only for {there}: pull it, or ask for one that is "
        "there by --platform"
    )


def told(name: str, platforms: Sequence[Platform], choice: Choice) -> str:
    """The choice in one line for a person; empty if there was nothing to choose."""
    distinct = list(dict.fromkeys(str(one) for one in platforms))
    if len(distinct) < 2:
        return ""
    taken = platforms[choice.position]
    others = ", ".join(one for one in distinct if one != str(taken))
    return f"{name}: {taken} is taken of {len(distinct)} platforms, {choice.why} (also: {others})"
