"""Very many connections, and nothing of them left behind.

WHERRY_SOAK says how many in each direction; a million takes some minutes.
"""

import os
import threading
from collections.abc import Callable

import pytest
from tests.guests.toolchain import Guests
from tests.runtime.bundles import Bundle
from tests.sockets.containers import running

from wherry.runtime import Launcher

pytestmark = [pytest.mark.root, pytest.mark.guests, pytest.mark.slow]
Module = Callable[..., Bundle]

CONNECTIONS = int(os.environ.get("WHERRY_SOAK", "20000"))
WARM_UP, BATCH = 1000, 10_000
SLACK = (256 << 10) + 8 * CONNECTIONS
"""Bytes of memory that may come and go. No object is as small as this for each connection."""


async def test_a_server_keeps_nothing_of_its_clients(
    launcher: Launcher, guests: Guests, module: Module
) -> None:
    async with running(launcher, module(guests.puppet())) as container:
        fd = await container.open()
        await container.do("bind", fd, "127.0.0.1", 7000)
        await container.do("listen", fd, 128)

        async def serve(count: int) -> tuple[int, int]:
            container.tell("serve", fd, count)
            for _ in range(count):
                with container.dial(7000) as peer:
                    peer.sendall(b"ahoy")
                    assert peer.recv(10) == b"ahoy"
            assert await container.line() == "ok"
            return container.descriptors(), container.memory()

        descriptors, memory = await serve(WARM_UP)
        after = await serve(CONNECTIONS)
        assert after[0] == descriptors
        assert after[1] < memory + SLACK


async def test_a_client_keeps_nothing_of_its_visits(
    launcher: Launcher, guests: Guests, module: Module
) -> None:
    async with running(launcher, module(guests.puppet())) as container:
        listener = container.listener(7000)

        def echo(count: int) -> None:
            for _ in range(count):
                peer, _ = listener.accept()
                with peer:
                    peer.sendall(peer.recv(10))
                    peer.recv(1)

        async def visit(count: int) -> tuple[int, int]:
            thread = threading.Thread(target=echo, args=(count,))
            thread.start()
            for left in range(count, 0, -BATCH):  # each answered within a puppet's patience
                many = min(left, BATCH)
                assert await container.do("visit", "127.0.0.1", 7000, many) == "ok"
            thread.join()
            return container.descriptors(), container.memory()

        with listener:
            descriptors, memory = await visit(WARM_UP)
            after = await visit(CONNECTIONS)
        assert after[0] == descriptors
        assert after[1] < memory + SLACK
