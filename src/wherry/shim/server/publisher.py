"""Events on their way to containerd or wherryd: in order, kept while nobody listens."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable

from wherry.shim.messages import EVENTS_SERVICE, TOPICS, Envelope, ForwardRequest, TaskEvent
from wherry.shim.protobuf import Any, Empty
from wherry.shim.ttrpc.client import Client
from wherry.shim.ttrpc.status import CallError, Code

_CAPACITY = 16384
_PATIENCE = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0

_TOPICS = {kind: topic for topic, kind in TOPICS.items()}


class Publisher:
    """Sends events one after the other to a ttrpc address; never blocks who publishes.

    While the listener is away events wait, at most _CAPACITY of them: then the oldest go, since
    whoever comes back asks for the state of tasks anyway.
    """

    def __init__(self, address: str, namespace: str, report: Callable[[str], None]) -> None:
        self._path = address.removeprefix("unix://")
        self._namespace = namespace
        self._report = report
        self._queue: deque[ForwardRequest] = deque(maxlen=_CAPACITY)
        self._news = asyncio.Event()
        self._all_sent = asyncio.Event()
        self._client: Client | None = None
        self._sender: asyncio.Task[None] | None = None

    def publish(self, event: TaskEvent) -> None:
        """Send `event` after all events published before."""
        if not self._path:
            return
        name = f"containerd.events.{type(event).__name__}"
        envelope = Envelope(
            timestamp=time.time_ns(),
            namespace=self._namespace,
            topic=_TOPICS[type(event)],
            event=Any(type_url=name, value=event.encode()),
        )
        self._queue.append(ForwardRequest(envelope=envelope))
        self._news.set()
        self._all_sent.clear()
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._send_all())

    async def close(self, seconds: float) -> None:
        """Give what still waits a last chance of `seconds`."""
        if self._sender is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._all_sent.wait()
        self._sender.cancel()
        if self._client is not None:
            self._client.close()

    async def _send_all(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            self._news.clear()
            while self._queue:
                request = self._queue[0]
                if await self._send(request):
                    pause = _FIRST_PAUSE
                    if self._queue and self._queue[0] is request:
                        self._queue.popleft()
                else:
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
            self._all_sent.set()
            await self._news.wait()

    async def _send(self, request: ForwardRequest) -> bool:
        """Whether the event is done with: taken, or refused for good."""
        try:
            if self._client is None or self._client.closed.is_set():
                self._client = await Client.connect(self._path)
            await self._client.call(EVENTS_SERVICE, "Forward", request, Empty, _PATIENCE)
        except OSError:
            return False
        except CallError as error:
            if error.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
                return False
            self._report(f"an event was refused: {error.message}")
        return True
