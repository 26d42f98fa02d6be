"""What a build tells, and how it ends when nobody listens any more."""

import pytest
from tests.build.kitchen import Kitchen, make_tar

from wherry.build import (
    BuildOptions,
    Built,
    Event,
    StepFinished,
    StepStarted,
    Tagged,
    build,
)
from wherry.oci import parse_reference


def test_events_in_order(kitchen: Kitchen) -> None:
    tags = (parse_reference("hello"), parse_reference("example.com/x:1"))
    image = kitchen.build("FROM scratch\nCOPY f /\nENV A=1", {"f": "F"}, tags=tags)
    short = image.id.removeprefix("sha256:")[:12]
    started = [event for event in kitchen.events if isinstance(event, StepStarted)]
    finished = [event for event in kitchen.events if isinstance(event, StepFinished)]
    assert started == [
        StepStarted(1, 3, "FROM scratch"),
        StepStarted(2, 3, "COPY f /"),
        StepStarted(3, 3, "ENV A=1"),
    ]
    assert [event.id for event in finished][::2] == ["", short]
    assert kitchen.events[-3:] == [
        Built(image.id),
        Tagged("hello:latest"),
        Tagged("example.com/x:1"),
    ]
    assert sorted(image.names) == ["example.com/x:1", "hello:latest"]


def test_a_name_moves_and_the_old_image_stays(kitchen: Kitchen) -> None:
    tags = (parse_reference("hello"),)
    old = kitchen.build("FROM scratch\nENV A=1", tags=tags)
    new = kitchen.build("FROM scratch\nENV A=2", tags=tags)
    assert kitchen.store.resolve("hello").id == new.id
    assert kitchen.store.resolve(old.id).names == []


def test_without_a_name_the_image_is_dangling(kitchen: Kitchen) -> None:
    image = kitchen.build("FROM scratch")
    assert [one.id for one in kitchen.store.list()] == [image.id]
    assert image.names == []


class GoneAway(Exception):
    pass


@pytest.mark.parametrize("after", range(6))
def test_what_progress_raises_ends_the_build(kitchen: Kitchen, after: int) -> None:
    left = after

    def progress(event: Event) -> None:
        nonlocal left
        if not left:
            raise GoneAway
        left -= 1

    data = make_tar({"Dockerfile": "FROM scratch\nCOPY f /\nENV A=1", "f": "F"})
    with kitchen.context(data) as context, pytest.raises(GoneAway):
        build(
            context,
            BuildOptions(tags=(parse_reference("hello"),)),
            kitchen.store,
            kitchen.runner,
            progress,
            kitchen.root / "build",
        )
    if after < 5:
        assert kitchen.store.list() == []
