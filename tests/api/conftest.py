"""A server on a socket of its own, with an engine made up by each test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from wherry.api.server import Server
from wherry.engine import Engine


class Api:
    """The server under test and raw connections to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine: asyncio.Future[Engine] = asyncio.get_running_loop().create_future()
        self.activity = 0
        self.server = Server(self.engine, activity=self._count)

    def has(self, **nouns: object) -> None:
        """The engine is open now and has these nouns."""
        self.engine.set_result(cast("Engine", type("FakeEngine", (), nouns)))

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self.path)

    async def ask(
        self, method: str, target: str, body: bytes = b"", headers: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer."""
        reader, writer = await self.connect()
        head = f"{method} {target} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n{headers}"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        head_bytes, _, rest = answer.partition(b"\r\n\r\n")
        lines = head_bytes.decode().split("\r\n")
        found = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])
        }
        if found.get("transfer-encoding") == "chunked":
            rest = _dechunk(rest)
        return int(lines[0].split()[1]), found, rest

    def _count(self) -> None:
        self.activity += 1


def _dechunk(data: bytes) -> bytes:
    whole = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        whole += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]
    return whole


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A server that waits for its engine."""
    served = Api(tmp_path / "api.sock")
    loop = asyncio.get_running_loop()
    listening = await loop.create_unix_server(cast("Any", served.server.http), str(served.path))
    yield served
    listening.close()
    await served.server.close()
    served.engine.cancel()
