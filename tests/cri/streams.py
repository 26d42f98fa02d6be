"""Talking to a process or a port of a pod, as `kubectl exec -it` and `port-forward` do.

containerd serves the streams over HTTP at an address of the machine's. Spoken here is Kubernetes'
channel protocol over a WebSocket: the first byte of each message names its channel.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import TypeVar

# By its modules: the tests of the API have loaded the server's half of the package alone.
from aiohttp.client import ClientSession
from aiohttp.client_ws import ClientWebSocketResponse
from aiohttp.http import WSMsgType
from tests.cri.node import Node
from tests.cri.registry import within

T = TypeVar("T")

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
"""Channels of exec and attach."""

_PROTOCOL = "v4.channel.k8s.io"
_SECONDS = 30


class Conversation:
    """A stream's channels."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._heard: defaultdict[int, bytes] = defaultdict(bytes)

    async def say(self, data: bytes, channel: int = STDIN) -> None:
        """Send `data`."""
        await self._socket.send_bytes(bytes((channel,)) + data)

    async def resize(self, width: int, height: int) -> None:
        """Tell the size of the terminal."""
        await self.say(json.dumps({"Width": width, "Height": height}).encode(), RESIZE)

    async def hear(self, what: bytes, channel: int = STDOUT) -> bytes:
        """All of a channel so far, once `what` has come."""
        while what not in self._heard[channel]:
            assert await self._listen(), f"it ended after {self._heard!r}"
        return self._heard[channel]

    async def end(self) -> tuple[int, bytes, bytes]:
        """Exit code, stdout and stderr, once the process has exited."""
        while await self._listen():
            pass
        status = json.loads(self._heard[ERROR] or b"{}")
        code = 0
        if status.get("status") != "Success":
            causes = status["details"]["causes"]
            code = next(int(cause["message"]) for cause in causes if cause["reason"] == "ExitCode")
        return code, self._heard[STDOUT], self._heard[STDERR]

    async def _listen(self) -> bool:
        """Take one message; False at the end."""
        message = await self._socket.receive(_SECONDS)
        if message.type != WSMsgType.BINARY:
            assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED), message
            return False
        self._heard[message.data[0]] += message.data[1:]
        return True


def converse(node: Node, address: str, talk: Callable[[Conversation], Awaitable[T]]) -> T:
    """What `talk` returns, having talked over the stream at `address` of the node."""

    async def connect() -> T:
        async with (
            ClientSession() as session,
            session.ws_connect(address, protocols=[_PROTOCOL]) as socket,
        ):
            return await talk(Conversation(socket))

    return within(node.machine, lambda: asyncio.run(connect()))
