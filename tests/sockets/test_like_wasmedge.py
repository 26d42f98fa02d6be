"""The same guest, driven the same way, under WasmEdge: what it is told there it is told here."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from tests.conftest import suite
from tests.guests.toolchain import Guests
from tests.runtime.bundles import Bundle
from tests.sockets.containers import Container, number, running

from wherry.runtime import Launcher

pytestmark = [pytest.mark.root, pytest.mark.guests]
Do = Callable[..., Awaitable[str]]


class Play:
    """What a puppet is made to do, and what it says, its descriptors called by letters."""

    def __init__(self, do: Do, container: Container) -> None:
        self._do = do
        self._container = container
        self._fds: dict[str, int] = {}
        self.said: list[str] = []

    async def do(self, command: str, *words: object) -> str:
        given = [str(self._fds.get(str(word), word)) for word in words]
        given = [
            f"{word[0]}{self._fds[word[1]]}" if len(word) == 2 and word[1] in self._fds else word
            for word in given
        ]
        answer = await self._do(command, *given)
        for letter, fd in self._fds.items():
            answer = answer.replace(str(fd), letter)
        self.said.append(f"{command} {' '.join(map(str, words))}: {answer}")
        return answer

    async def open(self, letter: str, family: int = 4, kind: str = "stream") -> None:
        self._fds[letter] = number(await self._do("open", family, kind))

    async def connect(self, letter: str) -> socket.socket:
        """A connection; our end of it."""
        with self._container.listener() as listener:
            await self.open(letter)
            port = listener.getsockname()[1]
            assert await self._do("connect", self._fds[letter], "127.0.0.1", port) == "ok"
            peer, _ = listener.accept()
        return peer

    async def act(self) -> list[str]:
        """All of it; what was said."""
        await self._connections_that_fail()
        await self._a_connection_and_its_end()
        await self._a_listener()
        await self._mistakes()
        return self.said

    async def _connections_that_fail(self) -> None:
        await self.open("A")
        await self.do("kind", "A")
        await self.do("connect", "A", "127.0.0.1", 9)
        await self.open("B")
        await self.do("nonblock", "B")
        await self.do("kind", "B")
        await self.do("connect", "B", "127.0.0.1", 9)
        await self.do("poll", 60_000, "wB")
        await self.do("get", "B", 2)
        await self.do("get", "B", 2)
        await self.do("peer", "B")
        await self.open("C", 6)
        await self.do("connect", "C", "2001:db8::1", 80)

    async def _a_connection_and_its_end(self) -> None:
        peer = await self.connect("D")
        await self.do("nonblock", "D")
        await self.do("recv", "D", 1)
        await self.do("poll", 0, "rD")
        peer.sendall(b"last")
        peer.shutdown(socket.SHUT_WR)
        await self.do("poll", 60_000, "rD")
        for _ in range(3):
            await self.do("recv", "D", 10)
        await self.do("send", "D", "text")
        await self.do("shutdown", "D", "w")
        await self.do("send", "D", "text")
        peer.close()
        peer = await self.connect("E")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        await self.do("poll", 60_000, "rE")
        await self.do("poll", 60_000, "wE")
        await self.do("recv", "E", 10)
        await self.do("send", "E", "text")

    async def _a_listener(self) -> None:
        with self._container.listener(7000):
            await self.open("F")
            await self.do("bind", "F", "127.0.0.1", 7000)
            await self.do("bind", "F", "192.0.2.1", 7000)
            await self.do("bind", "F", "127.0.0.1", 7001)
            await self.do("listen", "F", 5)
            await self.do("local", "F")
            await self.do("poll", 0, "rF")
            await self.do("get", "F", 1)
            await self.do("get", "F", 13)
            with self._container.dial(7001):
                await self.do("poll", 60_000, "rF")

    async def _mistakes(self) -> None:
        await self.do("recv", 99_999, 1)
        await self.do("send", 1, "text")
        await self.do("accept", 0)
        await self.open("G")
        await self.do("recv", "G", 1)
        await self.do("accept", "G")
        await self.do("peer", "G")
        await self.do("close", "G")
        await self.do("close", "G")
        await self.do("recv", "G", 1)
        await self.do("lookup", "a" * 300)
        await self.do("lookup", "localhost")


async def test_a_puppet_is_told_what_wasmedge_tells_it(
    launcher: Launcher, guests: Guests, module: Callable[..., Bundle]
) -> None:
    """In the older ABI: with addresses of the newer one WasmEdge 0.14 answers EINVAL."""
    root = suite("trixie", "wasmedge").root
    puppet = guests.puppet(1)
    bundle = module(puppet)
    bundle.put("etc/hosts", "127.0.0.1 localhost\n")
    async with running(launcher, bundle) as container:
        ours = await Play(container.do, container).act()
    async with running(launcher, module(guests.puppet(1))) as container:
        # By the suite's own loader, which needs no root of its own for that.
        (loader,) = (root / "usr" / "lib").glob("*-linux-gnu*/ld-linux*.so.*")
        wasmedge = (loader, "--library-path", loader.parent, root / "usr" / "bin" / "wasmedge")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *container.inside(*map(str, wasmedge), str(puppet)), stdin=pipe, stdout=pipe
        )
        assert process.stdin is not None and process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        async def do(*words: object) -> str:
            stdin.write((" ".join(map(str, words)) + "\n").encode())
            return (await asyncio.wait_for(stdout.readline(), 60)).decode().rstrip("\n")

        theirs = await Play(do, container).act()
        stdin.close()
        await process.wait()
    assert ours == theirs
