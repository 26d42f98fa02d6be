"""Events: in order, kept while nobody listens, never in the way."""

import asyncio
from pathlib import Path

from wherry.shim.client import EventsServer
from wherry.shim.messages import TaskExit, TaskStart
from wherry.shim.server.publisher import Publisher


def publisher(path: Path, address: str | None = None) -> Publisher:
    return Publisher(str(path) if address is None else address, "default", lambda line: None)


async def take(events: EventsServer, count: int) -> list[int]:
    return [(await anext(events)).event.pid for _ in range(count)]  # type: ignore[union-attr]


async def test_events_arrive_with_topic_namespace_and_time(tmp_path: Path) -> None:
    async with EventsServer(tmp_path / "events") as events:
        sender = publisher(events.path)
        sender.publish(TaskExit(container_id="a", id="a", pid=5, exit_status=137, exited_at=9))
        event = await anext(events)
        assert (event.topic, event.namespace) == ("/tasks/exit", "default")
        assert event.event == TaskExit(
            container_id="a", id="a", pid=5, exit_status=137, exited_at=9
        )
        assert event.time > 0
        await sender.close(1)


async def test_events_keep_their_order(tmp_path: Path) -> None:
    async with EventsServer(tmp_path / "events") as events:
        sender = publisher(events.path)
        for pid in range(1, 200):
            sender.publish(TaskStart(container_id="a", pid=pid))
        assert await take(events, 199) == list(range(1, 200))
        await sender.close(1)


async def test_events_wait_for_a_listener(tmp_path: Path) -> None:
    path = tmp_path / "events"
    sender = publisher(path)
    for pid in (1, 2, 3):
        sender.publish(TaskStart(container_id="a", pid=pid))
    await asyncio.sleep(0)
    async with EventsServer(path) as events:
        assert await take(events, 3) == [1, 2, 3]
    await sender.close(1)


async def test_events_go_to_the_next_listener(tmp_path: Path) -> None:
    path = tmp_path / "events"
    sender = publisher(path)
    for run in range(3):
        async with EventsServer(path) as events:
            sender.publish(TaskStart(container_id="a", pid=run + 1))
            assert await take(events, 1) == [run + 1]
    await sender.close(1)


async def test_what_waits_is_bounded_and_the_oldest_goes_first(tmp_path: Path) -> None:
    path = tmp_path / "events"
    sender = publisher(path)
    for pid in range(1, 20001):
        sender.publish(TaskStart(container_id="a", pid=pid))
    async with EventsServer(path) as events:
        assert await take(events, 2) == [20001 - 16384, 20002 - 16384]
    await sender.close(0)


async def test_without_an_address_events_are_nobodys(tmp_path: Path) -> None:
    sender = publisher(tmp_path, address="")
    sender.publish(TaskStart(container_id="a", pid=1))
    await sender.close(0)


async def test_the_last_events_are_sent_on_leaving(tmp_path: Path) -> None:
    async with EventsServer(tmp_path / "events") as events:
        sender = publisher(events.path)
        sender.publish(TaskStart(container_id="a", pid=1))
        sender.publish(TaskStart(container_id="a", pid=2))
        closing = asyncio.ensure_future(sender.close(10))
        assert await take(events, 2) == [1, 2]
        await closing
