"""Listening sockets made for a guest, and those that are handed over by who publishes ports."""

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from wherry.runtime import LaunchError
from wherry.runtime.sandbox import listeners

Packet = tuple[bytes, Sequence[socket.socket]]


@pytest.fixture
def giver(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Makes who hands over packets, once: `giver((b"[…]", [listener]), …)` returns its path."""
    path = str(tmp_path / "listeners")
    threads: list[threading.Thread] = []
    heard: list[bytes] = []

    def give(*packets: Packet, end: bool = True) -> str:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server.bind(path)
        server.listen()

        def serve() -> None:
            with server:
                peer, _ = server.accept()
            with peer, contextlib.suppress(BrokenPipeError):
                heard.append(peer.recv(1000))
                for packet, given in packets:
                    socket.send_fds(peer, [packet], [one.fileno() for one in given])
                if end:
                    peer.send(b"")
                peer.recv(1)

        threads.append(threading.Thread(target=serve))
        threads[0].start()
        return path

    yield give
    for thread in threads:
        thread.join()
    assert all(word == b"the-id" for word in heard)


def bound(family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
    made = socket.socket(family, kind)
    made.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    return made


def described(port: int, /, *given: socket.socket, **changed: Any) -> bytes:
    entries = [
        {"port": port, "address": one.getsockname()[0], "host_port": one.getsockname()[1]}
        for one in given
    ]
    return json.dumps([{**entry, **changed} for entry in entries]).encode()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_is_handed_over_is_sorted_by_the_containers_port(giver: Callable[..., str]) -> None:
    one, two, three = bound(), bound(socket.AF_INET6), bound()
    path = giver((described(80, one, two), [one, two]), (described(81, three), [three]))
    found = listeners.fetch(path, "the-id")
    names = {port: [one.getsockname()[:2] for one in given] for port, given in found.items()}
    assert names == {
        80: [one.getsockname(), two.getsockname()[:2]],
        81: [three.getsockname()],
    }
    assert not any(one.get_inheritable() for given in found.values() for one in given)
    for given in (*found.values(), [one, two, three]):
        for listener in given:
            listener.close()


def test_nothing_may_be_published(giver: Callable[..., str]) -> None:
    assert listeners.fetch(giver(), "the-id") == {}


def test_a_path_may_be_longer_than_an_address(giver: Callable[..., str], tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    deep.mkdir(parents=True)
    path = giver()
    os.rename(path, deep / "socket")
    assert listeners.fetch(str(deep / "socket"), "the-id") == {}


def test_nobody_at_the_path_is_told(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"published ports cannot be had: .*No such file"):
        listeners.fetch(str(tmp_path / "nobody"), "the-id")
    with pytest.raises(LaunchError, match="published ports cannot be had"):
        listeners.fetch("", "the-id")


def test_who_does_not_answer_is_not_waited_for(
    giver: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "_PATIENCE", 0.05)
    with pytest.raises(LaunchError, match="nobody answers"):
        listeners.fetch(giver(end=False), "the-id")


def _hostile() -> list[tuple[str, Callable[[], Packet]]]:
    def packet(given: Sequence[socket.socket], text: bytes | None = None, **changed: Any) -> Packet:
        return described(80, *given, **changed) if text is None else text, given

    pair = socket.socketpair()
    return [
        ("not JSON", lambda: packet([bound()], b"hello")),
        ("more words than sockets", lambda: packet([], described(80, bound()))),
        ("more sockets than words", lambda: packet([bound(), bound()], described(80, bound()))),
        ("more sockets than a packet has", lambda: packet([bound() for _ in range(65)])),
        ("another host's port", lambda: packet([bound()], host_port=1)),
        ("a port that is none", lambda: packet([bound()], port=70000)),
        ("a port below zero", lambda: packet([bound()], port=-1)),
        ("a socket of UDP", lambda: packet([bound(kind=socket.SOCK_DGRAM)])),
        ("a socket of unix", lambda: packet([pair[0]], described(80, bound()))),
        ("a huge packet", lambda: packet([bound()], b" " * 70_000 + described(80, bound()))),
    ]


@pytest.mark.parametrize("packet", [make for _, make in _hostile()], ids=[n for n, _ in _hostile()])
def test_what_is_not_right_is_refused_and_nothing_stays_open(
    giver: Callable[..., str], packet: Callable[[], Packet]
) -> None:
    content, given = packet()
    path = giver((content, given))
    before = open_descriptors()
    with pytest.raises(LaunchError, match="published ports cannot be had") as caught:
        listeners.fetch(path, "the-id")
    assert "\n" not in str(caught.value)
    assert open_descriptors() <= before + 1  # the peer's end is open until it sees ours closed
    for one in given:
        one.close()


def test_a_file_that_is_no_socket_is_refused(giver: Callable[..., str], tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file, bound() as named:
        path = giver((described(80, named), [file]))
        with pytest.raises(LaunchError, match="published ports cannot be had"):
            listeners.fetch(path, "the-id")


def test_a_port_is_listened_on_for_both_families() -> None:
    with bound() as free:
        port = free.getsockname()[1]
    made = listeners.listen([port])
    with made[port]:
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as client:
                client.connect((address, port))


def test_a_port_in_use_is_told() -> None:
    with bound() as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LaunchError, match=f"port {port} is in use"):
            listeners.listen([port])
