"""What a health check is to be: asked for, completed by the image's, read with its defaults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from msgspec import UNSET
from tests.engine.kitchen import make, make_image

from wherry.engine import Engine, InvalidRequest
from wherry.engine.clock import nanoseconds
from wherry.engine.config import ContainerConfig
from wherry.engine.containers import Container
from wherry.engine.containers.healthcheck import (
    check_healthcheck,
    merge_healthcheck,
    read_healthcheck,
)
from wherry.engine.inspection import Health
from wherry.oci import Healthcheck, RuntimeConfig

SECOND = 1_000_000_000
OFTEN = 10_000_000


def test_what_was_asked_for_comes_before_the_images() -> None:
    image = Healthcheck(test=["CMD", "/a"], interval=SECOND, retries=7)
    wanted = Healthcheck(retries=2, timeout=3 * SECOND)
    assert merge_healthcheck(wanted, image) == Healthcheck(
        test=["CMD", "/a"], interval=SECOND, timeout=3 * SECOND, retries=2
    )
    assert merge_healthcheck(UNSET, image) is image
    assert merge_healthcheck(wanted, None) is wanted
    assert merge_healthcheck(UNSET, None) is UNSET


def test_defaults_are_dockers() -> None:
    check = read_healthcheck(Healthcheck(test=["CMD", "/a", "b"]), ())
    assert check is not None
    assert (check.command, check.in_shell) == (["/a", "b"], False)
    assert (check.interval, check.timeout, check.start_period) == (30, 30, 0)
    assert (check.start_interval, check.retries) == (5, 3)


def test_a_line_is_for_a_shell() -> None:
    line = Healthcheck(test=["CMD-SHELL", "test -e /a"])
    check = read_healthcheck(line, ())
    assert check is not None
    assert (check.command, check.in_shell) == (["/bin/sh", "-c", "test -e /a"], True)
    check = read_healthcheck(line, ["/shell.wasm", "-e"])
    assert check is not None
    assert check.command == ["/shell.wasm", "-e", "test -e /a"]


@pytest.mark.parametrize(
    "test", [None, [], ["NONE"], ["CMD"], ["CMD-SHELL"], ["nonsense", "/a"], ["NONE", "/a"]]
)
def test_nothing_is_checked_where_nothing_is_named(test: list[str] | None) -> None:
    assert read_healthcheck(Healthcheck(test=test), ()) is None
    assert read_healthcheck(UNSET, ()) is None


def test_an_image_may_say_anything() -> None:
    hostile = Healthcheck(
        test=["CMD", "/a"], interval=-1, timeout=5, start_period=1 << 62, retries=-9
    )
    check = read_healthcheck(hostile, ())
    assert check is not None
    assert (check.interval, check.timeout, check.retries) == (30, 30, 3)
    assert check.start_period > 0


@pytest.mark.parametrize(
    "wanted",
    [
        Healthcheck(interval=1), Healthcheck(timeout=-SECOND), Healthcheck(start_period=999_999),
        Healthcheck(start_interval=1), Healthcheck(retries=-1),
    ],
)  # fmt: skip
def test_a_person_is_told_what_makes_no_sense(wanted: Healthcheck) -> None:
    with pytest.raises(InvalidRequest):
        check_healthcheck(wanted)


def health(container: Container) -> Health:
    assert container.state.health is not UNSET
    return container.state.health


async def until(true: Callable[[], bool]) -> None:
    """Let the engine go on until it is so."""
    while not true():
        await asyncio.sleep(0)


async def test_a_check_is_made_one_after_the_other(engine: Engine) -> None:
    make_image(
        engine.store,
        "checked",
        config=RuntimeConfig(
            cmd=["/loop.wasm"],
            healthcheck=Healthcheck(test=["CMD", "/exit.wasm", "0"], interval=OFTEN),
        ),
    )
    container = await make(engine, image="checked")
    await engine.containers.start(container)
    await until(lambda: len(health(container).log) == 5)
    log = health(container).log
    moments = [nanoseconds(moment) for result in log for moment in (result.start, result.end)]
    assert moments == sorted(moments)
    assert health(container).status == "healthy"


async def test_a_paused_container_is_left_alone(engine: Engine) -> None:
    config = ContainerConfig(
        healthcheck=Healthcheck(test=["CMD", "/exit.wasm", "4"], interval=OFTEN, retries=1)
    )
    container = await make(engine, "/loop.wasm", config=config)
    await engine.containers.start(container)
    await engine.containers.pause(container)
    passed = engine.events.subscribe()
    ticks = asyncio.get_running_loop().time() + 10 * OFTEN / 1e9
    await until(lambda: asyncio.get_running_loop().time() > ticks)
    passed.close()
    assert [event.action async for event in passed] == []
    assert health(container).log == []
    await engine.containers.unpause(container)
    await until(lambda: health(container).status == "unhealthy")


async def test_a_run_begins_without_the_last_ones_checks(engine: Engine) -> None:
    config = ContainerConfig(
        healthcheck=Healthcheck(test=["CMD", "/exit.wasm", "4"], interval=OFTEN, retries=1)
    )
    container = await make(engine, "/loop.wasm", config=config)
    await engine.containers.start(container)
    await until(lambda: health(container).status == "unhealthy")
    assert health(container).log[0].exit_code == 4
    await engine.containers.stop(container)
    assert health(container).status == "unhealthy"
    await engine.containers.start(container)
    assert (health(container).status, health(container).log) == ("starting", [])
