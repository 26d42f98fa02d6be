"""Docker's filters, and what they choose among containers and events."""

from collections.abc import Sequence

import pytest
from tests.engine.kitchen import make

from wherry.engine import Engine, InvalidRequest
from wherry.engine.config import ContainerConfig, HostConfig
from wherry.engine.events import Events
from wherry.engine.filters import Filters


def test_both_spellings_are_one() -> None:
    old, new = (
        Filters.parse('{"label": {"a=b": true, "no": false}}'),
        Filters.parse('{"label": ["a=b"]}'),
    )
    assert old.get("label") == new.get("label") == ["a=b"]
    assert not Filters.parse("")


@pytest.mark.parametrize("text", ["[]", "{", '{"a": 1}', '"x"'])
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(InvalidRequest, match="invalid filters"):
        Filters.parse(text)


def test_flags_and_times() -> None:
    assert Filters({"dangling": ["1"]}).flag("dangling") is True
    assert Filters({"dangling": ["false"]}).flag("dangling") is False
    assert Filters().flag("dangling") is None
    with pytest.raises(InvalidRequest):
        Filters({"dangling": ["maybe"]}).flag("dangling")
    moment = Filters({"until": ["2024-01-02T03:04:05Z"]}).until()
    assert moment is not None
    assert moment.isoformat() == "2024-01-02T03:04:05+00:00"
    with pytest.raises(InvalidRequest, match="give a time"):
        Filters({"until": ["soon"]}).until()


async def chosen(engine: Engine, all: bool = True, limit: int = 0, **keys: Sequence[str]) -> str:
    found = await engine.containers.list(all=all, limit=limit, filters=Filters(keys))
    return " ".join(summary.names[0].lstrip("/") for summary in found)


async def test_ps_shows_what_passes(engine: Engine) -> None:
    await make(engine, "/exit.wasm", name="one", config=ContainerConfig(labels={"k": "1"}))
    two = await make(engine, "/loop.wasm", name="two", host=HostConfig(binds=["vol:/data"]))
    await make(engine, "/exit.wasm", name="three", config=ContainerConfig(labels={"k": "2"}))
    await engine.containers.start(two)
    assert await chosen(engine) == "three two one"
    assert await chosen(engine, all=False) == "two"
    assert await chosen(engine, all=False, limit=2) == "three two"
    assert await chosen(engine, status=["created"]) == "three one"
    assert await chosen(engine, status=["created", "running"]) == "three two one"
    assert await chosen(engine, label=["k"]) == "three one"
    assert await chosen(engine, label=["k=1"]) == "one"
    assert await chosen(engine, name=["t"]) == "three two"
    assert await chosen(engine, id=[two.id[:8]]) == "two"
    assert await chosen(engine, volume=["vol"]) == "two"
    assert await chosen(engine, volume=["/data"]) == "two"
    assert await chosen(engine, before=["two"]) == "one"
    assert await chosen(engine, since=["two"]) == "three"
    assert await chosen(engine, ancestor=["guests"]) == "three two one"
    assert await chosen(engine, ancestor=["other"]) == ""
    await engine.containers.stop(two)
    assert await chosen(engine, all=False, exited=["143"]) == "two"
    for key, value in (("status", "well"), ("colour", "red"), ("exited", "x")):
        with pytest.raises(InvalidRequest, match="invalid filter"):
            await engine.containers.list(filters=Filters({key: [value]}))


async def test_subscribers_get_what_they_asked_for() -> None:
    events = Events()
    everything = events.subscribe()
    some = events.subscribe(Filters({"container": ["web"], "event": ["die"]}))
    labelled = events.subscribe(Filters({"label": ["tier=test"]}))
    events.publish("container", "start", "1" * 64, {"name": "web", "image": "i"})
    events.publish("container", "die", "1" * 64, {"name": "web", "image": "i"})
    events.publish("volume", "create", "v", {"driver": "local", "tier": "test"})
    assert [(await anext(everything)).action for _ in range(3)] == ["start", "die", "create"]
    died = await anext(some)
    assert (died.action, died.status, died.id, died.from_) == ("die", "die", "1" * 64, "i")
    assert (await anext(labelled)).type == "volume"
    past = events.subscribe(since=0, until=died.time_nano / 1e9 + 1)
    assert (await anext(past)).action == "start"
    events.close()
    assert [event async for event in everything] == []
    with pytest.raises(InvalidRequest, match="invalid filter 'colour'"):
        events.subscribe(Filters({"colour": ["red"]}))


async def test_a_subscriber_that_does_not_read_is_cut_off() -> None:
    events = Events()
    sleepy = events.subscribe()
    for number in range(20_000):
        events.publish("container", "start", str(number), {})
    assert len([event async for event in sleepy]) < 20_000


async def test_until_in_the_past_ends_at_once() -> None:
    events = Events()
    events.publish("container", "start", "x", {})
    assert [event.action async for event in events.subscribe(until=1)] == []
