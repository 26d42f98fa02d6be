"""The bound of what builds keep: what was not used for longest goes first, images keep theirs."""

from __future__ import annotations

import os

import pytest
from tests.build.kitchen import Kitchen

from wherry.build import StepFinished
from wherry.engine.builds.bounds import Bounds
from wherry.engine.builds.cache import Keeping

TEXT = "FROM scratch AS one\nCOPY f /f\nCOPY n /n\nFROM scratch\nCOPY --from=one /n /n"


def build(kitchen: Kitchen, name: str) -> bool:
    """Whether the COPY of a megabyte, of which the image gets nothing, was cached."""
    kitchen.build(TEXT, {"f": name.encode() + SEED, "n": name})
    return [event.cached for event in kitchen.events if isinstance(event, StepFinished)][1]


SEED = os.urandom(1 << 20)


def test_the_last_used_stay(kitchen: Kitchen) -> None:
    keeping = Keeping(kitchen.root / "build", kitchen.store)
    records = kitchen.root / "build" / "cache"
    for moment, name in enumerate(("a", "b", "c")):
        before = set(records.glob("*/*"))
        build(kitchen, name)
        for path in set(records.glob("*/*")) - before:
            os.utime(path, ns=(moment, moment))
    gone, freed = keeping.prune((), Bounds(reserved=int(2.5 * (1 << 20))))
    assert gone
    assert 1 << 20 <= freed < 3 << 20
    assert build(kitchen, "c")
    assert build(kitchen, "b")
    assert not build(kitchen, "a")


def test_what_an_image_has_costs_the_cache_nothing(kitchen: Kitchen) -> None:
    keeping = Keeping(kitchen.root / "build", kitchen.store)
    image = kitchen.build("FROM scratch\nCOPY f /f", {"f": SEED})
    keeping.prune((), Bounds(most=1 << 19))
    assert kitchen.store.resolve(image.id).blobs
    kitchen.build("FROM scratch\nCOPY f /f", {"f": SEED})
    assert [e.cached for e in kitchen.events if isinstance(e, StepFinished)][-1]
    gone, _ = keeping.prune((), Bounds())
    assert gone
    assert kitchen.store.check() == []


def test_only_what_is_old_enough_goes(kitchen: Kitchen) -> None:
    keeping = Keeping(kitchen.root / "build", kitchen.store)
    build(kitchen, "a")
    assert keeping.prune((), Bounds(), before=1)[0] == []
    assert keeping.prune((), Bounds(), before=1 << 62)[0]


@pytest.mark.parametrize(
    ("bounds", "left"),
    [
        (Bounds(), 0),
        (Bounds(reserved=300), 300),
        (Bounds(most=400), 400),
        (Bounds(most=400, reserved=500), 500),
        (Bounds(free=50), 1000),
        (Bounds(free=350), 750),
        (Bounds(free=350, most=800), 750),
        (Bounds(free=350, most=100), 100),
        (Bounds(free=5000, reserved=200), 200),
    ],
)
def test_what_is_left_is_what_buildkit_leaves(bounds: Bounds, left: int) -> None:
    """Of 1000 bytes, with 100 free on the disk."""
    assert bounds.keep(1000, 100) == left
