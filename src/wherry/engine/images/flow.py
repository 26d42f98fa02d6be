"""Transfers under way, each of which any number of clients follow."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Generic, TypeVar

from wherry.engine.worker import run_in_thread
from wherry.images.transfer import Announced, BlobState, BlobStatus, Published, Tell
from wherry.images.transfer.progress import Event
from wherry.registry import Cancel

__all__ = ["Announced", "BlobState", "BlobStatus", "Event", "Flow", "Flows", "Published"]

T = TypeVar("T")


class _Log:
    """Events in their order; of a blob in one state only the latest, so that it stays bounded."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._latest: dict[str, int] = {}

    def add(self, event: Event) -> None:
        if isinstance(event, BlobStatus):
            at = self._latest.get(event.id)
            before = None if at is None else self.events[at]
            if at is not None and isinstance(before, BlobStatus) and before.state is event.state:
                self.events[at] = event
                return
            self._latest[event.id] = len(self.events)
        self.events.append(event)


class _Follower:
    """One client: what it was not told yet."""

    def __init__(self, past: list[Event]) -> None:
        self.log = _Log()
        self.wake = asyncio.Event()
        for event in past:
            self.add(event)

    def add(self, event: Event) -> None:
        self.log.add(event)
        self.wake.set()

    def take(self) -> list[Event]:
        self.wake.clear()
        log, self.log = self.log, _Log()
        return log.events


class Flow(Generic[T]):
    """Runs `work` in a thread; when the last who follows it has gone, it is cancelled."""

    def __init__(
        self, work: Callable[[Tell, Cancel], T], name: str, abandoned: Callable[[], None]
    ) -> None:
        """`abandoned` is called when nobody may join any more: it has ended, or is about to."""
        self._loop = asyncio.get_running_loop()
        self._cancel = Cancel()
        self._past = _Log()
        self._followers: set[_Follower] = set()
        self._abandoned = abandoned
        self._result = asyncio.ensure_future(
            run_in_thread(lambda: work(self._tell, self._cancel), name)
        )
        self._result.add_done_callback(self._ended)

    async def follow(self) -> AsyncGenerator[Event, None]:
        """What has happened and what happens, until the end. Raises what `work` raised."""
        follower = _Follower(self._past.events)
        self._followers.add(follower)
        try:
            while not self._result.done():
                for event in follower.take():
                    yield event
                await follower.wake.wait()
            for event in follower.take():
                yield event
            self._result.result()
        finally:
            self._followers.discard(follower)
            if not self._followers and not self._result.done():
                self.cancel()

    def cancel(self) -> None:
        """End it; who follows gets Abandoned."""
        self._abandoned()
        self._cancel.cancel()

    async def ended(self) -> None:
        """Wait until its thread has ended, however."""
        await asyncio.wait([self._result])

    def _tell(self, event: Event) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._told, event)

    def _told(self, event: Event) -> None:
        self._past.add(event)
        for follower in self._followers:
            follower.add(event)

    def _ended(self, result: "asyncio.Future[T]") -> None:
        if not result.cancelled():
            result.exception()  # Nobody may be left to be told.
        self._abandoned()
        for follower in self._followers:
            follower.wake.set()


class Flows:
    """All that is under way."""

    def __init__(self) -> None:
        self._flows: set[Flow[Any]] = set()

    def start(
        self,
        work: Callable[[Tell, Cancel], T],
        name: str,
        abandoned: Callable[[], None] = lambda: None,
    ) -> Flow[T]:
        """Begin one; see `Flow`."""
        flow = Flow(work, name, abandoned)
        self._flows.add(flow)
        watching = asyncio.ensure_future(flow.ended())
        watching.add_done_callback(lambda _: self._flows.discard(flow))
        return flow

    def __iter__(self) -> Iterator[Flow[Any]]:
        return iter(tuple(self._flows))

    async def close(self) -> None:
        """Cancel all, and wait until their threads have ended."""
        for flow in self:
            flow.cancel()
        for flow in self:
            await flow.ended()
