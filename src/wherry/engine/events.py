"""What happened: events as Docker tells them, remembered for a while and told as they come."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping

import msgspec
from msgspec import UNSET, UnsetType

from wherry.engine.filters import Filters

_REMEMBERED = 1024
_MAX_BEHIND = 16384


class Actor(msgspec.Struct, kw_only=True):
    """What it happened to."""

    id: str = msgspec.field(name="ID")
    attributes: dict[str, str] = msgspec.field(name="Attributes")


class Event(msgspec.Struct, kw_only=True):
    """One event of the Engine API. `time` is in seconds, `time_nano` in nanoseconds."""

    status: str | UnsetType = UNSET
    id: str | UnsetType = UNSET
    from_: str | UnsetType = msgspec.field(name="from", default=UNSET)
    type: str = msgspec.field(name="Type")
    action: str = msgspec.field(name="Action")
    actor: Actor = msgspec.field(name="Actor")
    scope: str = "local"
    time: int
    time_nano: int = msgspec.field(name="timeNano")


_KEYS = {
    "config", "container", "daemon", "event", "id", "image", "label", "network", "node", "plugin",
    "scope", "secret", "service", "type", "volume",
}  # fmt: skip


class Subscription:
    """Events as they come: an asynchronous iterator; `close` it when done."""

    def __init__(
        self, listeners: "set[Subscription]", filters: Filters, until: float | None
    ) -> None:
        self._listeners = listeners
        self._filters = filters
        self._until = until
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()

    def push(self, event: Event | None) -> None:
        """Hand over an event, or None to end the subscription."""
        if event is not None and self._queue.qsize() >= _MAX_BEHIND:
            # Whoever reads too slowly is cut off, so that memory stays bounded.
            self.close()
        elif event is None or _passes(event, self._filters):
            self._queue.put_nowait(event)

    def close(self) -> None:
        """Take no more events."""
        self._listeners.discard(self)
        self._queue.put_nowait(None)

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Event:
        until = self._until
        try:
            async with asyncio.timeout(None if until is None else max(0.0, until - time.time())):
                event = await self._queue.get()
        except TimeoutError:
            event = None
        if event is None or (until is not None and event.time_nano > until * 1e9):
            self._listeners.discard(self)
            raise StopAsyncIteration
        return event


class Events:
    """Publishes events to whoever subscribed."""

    def __init__(self) -> None:
        self._past: deque[Event] = deque(maxlen=_REMEMBERED)
        self._listeners: set[Subscription] = set()

    def publish(self, kind: str, action: str, id: str, attributes: Mapping[str, str]) -> None:
        """Tell that `action` happened to the object `id` of `kind` ("container", "volume", …)."""
        now = time.time_ns()
        event = Event(
            type=kind,
            action=action,
            actor=Actor(id=id, attributes=dict(attributes)),
            time=now // 1_000_000_000,
            time_nano=now,
        )
        if kind in ("container", "image"):
            event.status, event.id = action, id
            if kind == "container" and "image" in attributes:
                event.from_ = attributes["image"]
        self._past.append(event)
        for listener in tuple(self._listeners):
            listener.push(event)

    def subscribe(
        self,
        filters: Filters | None = None,
        *,
        since: float | None = None,
        until: float | None = None,
    ) -> Subscription:
        """Events that pass `filters`, from `since` to `until` (seconds since the epoch).

        Without `since` only what comes from this call on; without `until` it never ends by
        itself. Raises InvalidRequest for unknown filters.
        """
        filters = filters or Filters()
        filters.check(_KEYS)
        subscription = Subscription(self._listeners, filters, until)
        if since is not None:
            for event in self._past:
                if event.time_nano >= since * 1e9:
                    subscription.push(event)
        self._listeners.add(subscription)
        return subscription

    def close(self) -> None:
        """End every subscription."""
        for listener in tuple(self._listeners):
            listener.close()


def _passes(event: Event, filters: Filters) -> bool:
    attributes = event.actor.attributes
    name = attributes.get("name", "")
    if not filters.accepts("type", event.type) or not filters.accepts("scope", event.scope):
        return False
    wanted = filters.get("event")
    # `exec_create: /bin/sh` passes the filter `exec_create`.
    if wanted and not any(
        event.action == each.strip() or event.action.startswith(each + ":") for each in wanted
    ):
        return False
    if not filters.accepts_labels(attributes):
        return False
    for kind in ("container", "volume", "network", "daemon"):
        if kind in filters and not (
            (event.type == kind and _names(filters.get(kind), event.actor.id, name))
            or (kind == "container" and attributes.get("container") in filters.get(kind))
        ):
            return False
    if "image" in filters:
        image = event.actor.id if event.type == "image" else attributes.get("image", "")
        if not _names(filters.get("image"), image, image.partition(":")[0], name):
            return False
    return filters.accepts("id", event.actor.id)


def _names(wanted: list[str], *candidates: str) -> bool:
    return any(
        each == candidate or (len(each) >= 4 and candidate.startswith(each))
        for each in wanted
        for candidate in candidates
    )
