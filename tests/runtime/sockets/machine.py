"""The socket layer without an engine: a guest's memory is a bytearray, its calls are made here."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from wherry.egress import Egress
from wherry.runtime.wasi import errnos
from wherry.runtime.wasi.sockets.layer import SocketLayer
from wherry.runtime.wasi.sockets.table import SocketTable

SIZE = 1 << 16
FIRST_FILE = 5
"""A descriptor that wasmtime has, in these tests."""

NONBLOCK = 4


ONLY_HERE = "127.0.0.0/8, [::1/128]"
"""Egress rules by which a test, whatever it does, sends nothing to anybody else."""


class Machine:
    """A guest: `call` is a call of its, `put` and `get` are its own use of its memory."""

    def __init__(self, original: Callable[..., int] | None = None) -> None:
        self.memory = bytearray(SIZE)
        self.table = SocketTable()
        self.table.egress = Egress.parse(ONLY_HERE)
        self.originals: list[tuple[object, ...]] = []
        self._answer = original
        self.layer = SocketLayer(
            self.table, lambda: memoryview(self.memory), lambda: False, self._original
        )
        self._top = 1024
        self.functions: dict[tuple[str, int | None], Callable[..., int]] = {
            **{(name, None): function for name, function in self.layer.before.items()},
            **{
                (name, len(parameters)): function
                for (name, parameters), function in self.layer.sockets.items()
            },
            ("poll_oneoff", None): self.layer.poll,
        }

    def _original(self, name: str, *arguments: int) -> int:
        self.originals.append((name, *arguments))
        if self._answer is not None:
            return int(self._answer(self, name, *arguments))
        if name == "fd_fdstat_set_rights":
            return errnos.NOTSUP if arguments[0] == FIRST_FILE else errnos.BADF
        return errnos.SUCCESS

    def call(self, name: str, *arguments: int) -> int:
        """What the guest is answered."""
        function = self.functions.get((name, None)) or self.functions[name, len(arguments)]
        return function(*(argument & 0xFFFFFFFF for argument in arguments))

    def room(self, size: int) -> int:
        """A pointer to `size` fresh bytes, 8-aligned."""
        pointer, self._top = self._top, (self._top + size + 7) & ~7
        assert self._top <= SIZE
        return pointer

    def put(self, data: bytes) -> int:
        """A pointer to `data`."""
        pointer = self.room(len(data))
        self.memory[pointer : pointer + len(data)] = data
        return pointer

    def get(self, pointer: int, size: int = 4) -> int:
        """The number at a pointer."""
        return int.from_bytes(self.memory[pointer : pointer + size], "little")

    def bytes_at(self, pointer: int, size: int) -> bytes:
        """The bytes at a pointer."""
        return bytes(self.memory[pointer : pointer + size])

    def vectors(self, *buffers: bytes | int) -> int:
        """A pointer to iovecs of data, or of room for so many bytes."""
        made = [
            (self.put(b), len(b)) if isinstance(b, bytes) else (self.room(b), b) for b in buffers
        ]
        return self.put(b"".join(struct.pack("<II", *vector) for vector in made))

    def address(self, text: str, *, family_in_front: bool = False) -> int:
        """A pointer to the `address` of an IP address."""
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        packed = socket.inet_pton(family, text)
        if family_in_front:
            packed = struct.pack("<H126s", 1 if family == socket.AF_INET else 2, packed)
        return self.put(struct.pack("<II", self.put(packed), len(packed)))

    def address_room(self, size: int = 128) -> tuple[int, int]:
        """Pointers to an `address` with room for so many bytes, and to that room."""
        room = self.room(size)
        return self.put(struct.pack("<II", room, size)), room

    def open(self, *, family: int = 1, stream: bool = True, flags: int = 0) -> int:
        """The number of a new socket."""
        result = self.room(4)
        assert self.call("sock_open", family, 2 if stream else 1, result) == 0
        number = self.get(result)
        if flags:
            assert self.call("fd_fdstat_set_flags", number, flags) == 0
        return number

    def local(self, number: int) -> tuple[str, int]:
        """A socket's own address and port."""
        return self._name("sock_getlocaladdr", number)

    def peer(self, number: int) -> tuple[str, int]:
        """The address and port of a socket's peer."""
        return self._name("sock_getpeeraddr", number)

    def _name(self, function: str, number: int) -> tuple[str, int]:
        address, room = self.address_room()
        port = self.room(4)
        assert self.call(function, number, address, port) == 0
        family = {1: socket.AF_INET, 2: socket.AF_INET6}[self.get(room, 2)]
        size = 4 if family == socket.AF_INET else 16
        return socket.inet_ntop(family, self.bytes_at(room + 2, size)), self.get(port)

    def listener(self, host: str = "127.0.0.1", flags: int = 0) -> tuple[int, int]:
        """The number of a listening socket, and its port."""
        number = self.open(family=2 if ":" in host else 1, flags=flags)
        assert self.call("sock_bind", number, self.address(host), 0) == 0
        assert self.call("sock_listen", number, 16) == 0
        return number, self.local(number)[1]

    def connection(self) -> tuple[int, socket.socket]:
        """The number of a connected stream, and its peer."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            number = self.open()
            port = server.getsockname()[1]
            assert self.call("sock_connect", number, self.address("127.0.0.1"), port) == 0
            return number, server.accept()[0]

    def send(self, number: int, *data: bytes) -> int:
        """Write `data`; returns the error."""
        return self.call("fd_write", number, self.vectors(*data), len(data), self.room(4))

    def receive(self, number: int, size: int = 100) -> tuple[int, bytes]:
        """The error, and what was read."""
        room, count = self.room(size), self.room(4)
        vectors = self.put(struct.pack("<II", room, size))
        error = self.call("fd_read", number, vectors, 1, count)
        return error, self.bytes_at(room, self.get(count))

    def poll(self, *subscriptions: bytes) -> list[tuple[int, int, int, int, int]]:
        """The events of a poll: user data, error, kind, bytes, flags. Fails if it does."""
        events, count = self.room(32 * len(subscriptions)), self.room(4)
        asked = self.put(b"".join(subscriptions))
        error = self.call("poll_oneoff", asked, events, len(subscriptions), count)
        assert error == 0, error
        found = self.bytes_at(events, 32 * self.get(count))
        return [event[:5] for event in struct.iter_unpack("<QHB5xQH6x", found)]

    def close(self) -> None:
        """Close all sockets."""
        for number in list(self.table._open):
            self.table.take(number).close()


def clock(userdata: int, timeout: int, *, clock: int = 1, absolute: bool = False) -> bytes:
    """A subscription to a clock; `timeout` in nanoseconds."""
    return struct.pack("<QB7xI4xQQH6x", userdata, 0, clock, timeout, 0, absolute)


def readable(userdata: int, number: int) -> bytes:
    """A subscription to a descriptor's data."""
    return struct.pack("<QB7xI28x", userdata, 1, number)


def writable(userdata: int, number: int) -> bytes:
    """A subscription to a descriptor's room for data."""
    return struct.pack("<QB7xI28x", userdata, 2, number)
