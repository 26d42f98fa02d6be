"""Published ports whose listening sockets are handed over: the guest itself listens on the host."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.guests.toolchain import Guests
from tests.runtime.bundles import Bundle, run
from tests.sockets.containers import running

from wherry.oci.runtime import LISTENERS, NETWORK, PORTS
from wherry.runtime import Launcher, LaunchError

pytestmark = [pytest.mark.root, pytest.mark.guests]
Module = Callable[..., Bundle]


class Publisher:
    """Who publishes ports: hands over what it has bound to whoever asks."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.asked: list[str] = []
        self.bound: dict[int, list[socket.socket]] = {}
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._server.bind(self.path)
        self._server.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def publish(self, port: int, address: str = "127.0.0.1") -> int:
        """Bind a port of the host for the container's `port`; returns it."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.bind((address, 0))
        self.bound.setdefault(port, []).append(listener)
        return int(listener.getsockname()[1])

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._server.accept()
                with peer:
                    self.asked.append(peer.recv(1000).decode())
                    for port, given in self.bound.items():
                        names = [one.getsockname()[:2] for one in given]
                        words = [
                            {"port": port, "address": address, "host_port": number}
                            for address, number in names
                        ]
                        packet = json.dumps(words).encode()
                        socket.send_fds(peer, [packet], [one.fileno() for one in given])
                    peer.send(b"")

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()
        for given in self.bound.values():
            for listener in given:
                listener.close()


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    made = Publisher(tmp_path / "listeners")
    yield made
    made.close()


def serving(guests: Guests, module: Module, publisher: Publisher, program: str) -> Bundle:
    """A container that serves its port 8080, in one way or the other."""
    made = {
        "opens": lambda: module(guests.httpd(), "8080"),
        "preopened": lambda: module(guests.c("preopened")),
    }[program]()
    made.config["annotations"] = {PORTS: "8080/tcp", LISTENERS: publisher.path}
    return made


async def fetch(address: str, port: int) -> bytes:
    """The first line that a server on the host's loopback answers."""
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    answer = await asyncio.wait_for(reader.readline(), 30)
    writer.close()
    return answer


@pytest.mark.parametrize("program", ["opens", "preopened"])
async def test_the_guest_listens_on_the_host_and_in_its_network(
    launcher: Launcher, guests: Guests, module: Module, publisher: Publisher, program: str
) -> None:
    ports = [publisher.publish(8080), publisher.publish(8080, "::1")]
    bundle = serving(guests, module, publisher, program)
    async with running(launcher, bundle) as container:
        await container.line()
        assert b"200 OK" in await fetch("127.0.0.1", ports[0])
        assert b"200 OK" in await fetch("::1", ports[1])
        said = await container.ask("curl", "-sSf", "-o", "/dev/null", "http://127.0.0.1:8080/")
        assert said == ""
        assert b"200 OK" in await fetch("127.0.0.1", ports[0])
    assert publisher.asked == [bundle.path.name]


async def test_ports_the_guest_does_not_listen_on_refuse(
    launcher: Launcher, guests: Guests, module: Module, publisher: Publisher
) -> None:
    port, other = publisher.publish(8080), publisher.publish(9999)
    async with running(launcher, serving(guests, module, publisher, "opens")) as container:
        await container.line()
        assert b"200 OK" in await fetch("127.0.0.1", port)
        with pytest.raises(ConnectionRefusedError):
            await fetch("127.0.0.1", other)


async def test_who_has_no_use_for_sockets_fetches_none(
    launcher: Launcher, bundle: Module, publisher: Publisher
) -> None:
    container = bundle()
    container.put("main.wasm", '(module (memory (export "memory") 1) (func (export "_start")))')
    container.config["annotations"] = {PORTS: "8080/tcp", LISTENERS: publisher.path}
    assert (await run(launcher, container)).status == 0
    assert publisher.asked == []


async def test_where_there_is_no_network_none_are_fetched(
    launcher: Launcher, guests: Guests, module: Module, publisher: Publisher
) -> None:
    bundle = serving(guests, module, publisher, "preopened")
    bundle.config["annotations"][NETWORK] = "none"
    await run(launcher, bundle)
    assert publisher.asked == []


async def test_a_publisher_that_is_gone_is_told(
    launcher: Launcher, guests: Guests, module: Module, publisher: Publisher
) -> None:
    bundle = serving(guests, module, publisher, "opens")
    Path(publisher.path).unlink()
    with pytest.raises(LaunchError, match="the published ports cannot be had") as caught:
        await run(launcher, bundle)
    assert caught.value.exit_code == 125


async def test_a_port_that_somebody_else_has_begun_to_listen_on_is_told(
    launcher: Launcher, guests: Guests, module: Module, publisher: Publisher
) -> None:
    port = publisher.publish(8080)
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        publisher.bound[8080][0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", port))
        thief.listen()
        with pytest.raises(LaunchError, match="the published ports cannot be listened on"):
            await run(launcher, serving(guests, module, publisher, "preopened"))
