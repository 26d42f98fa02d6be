"""Asking other name servers.

Each query goes out with a number and from a port that nobody guesses, by UDP and, when that was cut
short, by TCP. What comes back must be an answer to the question that was asked (RFC 5452).
"""

import asyncio
import os
import secrets
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from pathlib import Path

from wherry.network.dns.question import MAX_MESSAGE

PORT = 53
MAX_SERVERS = 3
"""As the C library has it (resolv.conf(5)); others are not asked."""

_ROUNDS = 2
_PATIENCE = 2.0
"""Seconds for an answer from one server."""
_QR, _TC = 0x8000, 0x0200
_RCODE = 0xF
_NOERROR, _NXDOMAIN = 0, 3
_MAX_CONF = 64 << 10

MakeSocket = Callable[[str, socket.SocketKind], Awaitable[socket.socket]]
"""A socket, not blocking, in whose network an address is to be reached."""


async def host_socket(address: str, kind: socket.SocketKind) -> socket.socket:
    """One of the network that the calling process is in."""
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    made.setblocking(False)
    return made


class HostServers:
    """The host's name servers, by its resolv.conf, which is read again when it has changed."""

    def __init__(self, path: Path = Path("/etc/resolv.conf")) -> None:
        self._path = path
        self._read: tuple[int, int, int] | None = None
        self._servers: list[str] = []

    def __call__(self) -> list[str]:
        """Their addresses, in order."""
        try:
            found = self._path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen != self._read:
                with self._path.open("rb") as file:
                    self._servers = parse_servers(file.read(_MAX_CONF).decode(errors="replace"))
                self._read = seen
        except OSError:
            self._read, self._servers = None, []
        # Without any, the C library asks the host itself.
        return self._servers or ["127.0.0.1"]


def parse_servers(text: str) -> list[str]:
    """The addresses in a resolv.conf (its text)."""
    servers = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1 and _is_address(words[1]):
            servers.append(words[1])
    return servers


async def ask(
    query: bytes, servers: Sequence[str], make: MakeSocket = host_socket, port: int = PORT
) -> bytes | None:
    """The answer to a query (one question) of the first server that has one.

    Else the last that any of them said, or None if none said anything. The answer's number is that
    of no query that anybody knows: replace it.
    """
    said = None
    for _ in range(_ROUNDS):
        for server in servers[:MAX_SERVERS]:
            try:
                async with asyncio.timeout(_PATIENCE):
                    said = await _ask(query, server, make, port)
            except (OSError, TimeoutError):
                continue
            if _flags(said) & _RCODE in (_NOERROR, _NXDOMAIN):
                return said
        if said is not None:
            break
    return said


async def _ask(query: bytes, server: str, make: MakeSocket, port: int) -> bytes:
    """Raises OSError."""
    query = secrets.token_bytes(2) + query[2:]
    address = (server, port)
    loop = asyncio.get_running_loop()
    with await make(server, socket.SOCK_DGRAM) as connection:
        # Connected: the kernel takes answers from that address and port only.
        await loop.sock_connect(connection, address)
        await loop.sock_sendall(connection, query)
        while not answers(query, said := await loop.sock_recv(connection, MAX_MESSAGE)):
            pass
    if not _flags(said) & _TC:
        return said
    with await make(server, socket.SOCK_STREAM) as connection:
        await loop.sock_connect(connection, address)
        await loop.sock_sendall(connection, struct.pack("!H", len(query)) + query)
        (length,) = struct.unpack("!H", await _receive(connection, 2))
        whole = await _receive(connection, length)
    return whole if answers(query, whole) else said


async def _receive(connection: socket.socket, length: int) -> bytes:
    loop = asyncio.get_running_loop()
    received = b""
    while len(received) < length:
        chunk = await loop.sock_recv(connection, length - len(received))
        if not chunk:
            raise ConnectionResetError("the name server ended the connection")
        received += chunk
    return received


def answers(query: bytes, said: bytes) -> bool:
    """Whether `said` is a response to `query`: its number, its question."""
    question = question_of(query)
    return (
        len(said) >= 12
        and said[:2] == query[:2]
        and bool(_flags(said) & _QR)
        and _flags(said) & 0x7800 == 0
        # A server that understood nothing repeats no question.
        and (question_of(said) == question or (said[4:6] == b"\0\0" and bool(said[3] & _RCODE)))
    )


def question_of(message: bytes) -> bytes | None:
    """The one question of a message, in lower case; None if it is malformed."""
    if len(message) < 12 or message[4:6] != b"\0\1":
        return None
    at = 12
    while at < len(message) and (length := message[at]):
        if length > 63:  # nothing stands before it that it could point to
            return None
        at += 1 + length
    end = at + 5
    return message[12:end].lower() if end <= len(message) else None


def _flags(message: bytes) -> int:
    return int.from_bytes(message[2:4])


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return len(text) <= 64 and os.sep not in text
