"""Names under rules of egress: looked up here, and seen where the guest asks for them by itself.

The C library would read the container's /etc/hosts and /etc/resolv.conf, which the guest may
write: then any name would lead anywhere. So both are read once, before the guest runs, from where
the engine keeps them, and lookups are made from what they said. Who asks the same name servers by
packets of its own, as Go does, is let through for names that have rules, and what the answers say
counts as if it were asked here.
"""

import os
import select
import socket
import time
from collections.abc import Iterable, Sequence

from wherry.runtime.wasi.sockets import dns

PORT = 53
_TIMEOUT = 5.0
_ATTEMPTS = 2
_MAX_SERVERS = 3
_MAX_MESSAGE = 65535
_LOOPBACK = {"localhost": ["127.0.0.1", "::1"]}


class Names:
    """What a container's hosts file and resolv.conf say."""

    def __init__(self, hosts: str, resolv: str) -> None:
        self.hosts: dict[str, list[str]] = {}
        """Addresses as they are written, by names in lower case."""
        self._servers: list[str] = []
        self._search: list[str] = []
        self._dots = 1
        for address, *names in _lines(hosts):
            for name in names:
                self.hosts.setdefault(_canonical(name), []).append(address)
        for word, *values in _lines(resolv):
            self._take(word, values)

    def _take(self, word: str, values: Sequence[str]) -> None:
        if word == "nameserver" and values and len(self._servers) < _MAX_SERVERS:
            if family := _family(values[0]):
                packed = socket.inet_pton(family, values[0])
                self._servers.append(socket.inet_ntop(family, packed))
        elif word in ("search", "domain"):
            self._search = [_canonical(value) for value in values]
        elif word == "options":
            for value in values:
                name, _, number = value.partition(":")
                if name == "ndots" and number.isascii() and number.isdigit():
                    self._dots = min(int(number[:3]), 15)

    def is_server(self, address: str, port: int) -> bool:
        """Whether a name server is there."""
        return port == PORT and address in self._servers

    def meant(self, name: str) -> list[str]:
        """What may have been written where `name` is asked for: it, or it without a domain that is
        searched.
        """
        name = _canonical(name)
        suffixes = [f".{domain}" for domain in self._search]
        return [name, *(name.removesuffix(end) for end in suffixes if name.endswith(end))]

    def look_up(self, name: str) -> list[str]:
        """The addresses of a name, or of one that is written as an address.

        Empty if it is not there; raises OSError (EAI_AGAIN) if nobody tells.
        """
        if _family(name.partition("%")[0]):
            return [name]
        known = self.hosts.get(_canonical(name)) or _LOOPBACK.get(_canonical(name))
        if known:
            return known
        for candidate in self._candidates(name):
            if found := self._ask(candidate, dns.A) + self._ask(candidate, dns.AAAA):
                return found
        return []

    def _candidates(self, name: str) -> list[str]:
        bare = _canonical(name)
        if name.endswith("."):
            return [bare]
        searched = [f"{bare}.{domain}" for domain in self._search]
        return [bare, *searched] if bare.count(".") >= self._dots else [*searched, bare]

    def _ask(self, name: str, kind: int) -> list[str]:
        number = int.from_bytes(os.urandom(2))
        try:
            query = dns.query(number, name, kind)
        except ValueError:
            return []
        for server in self._servers * _ATTEMPTS:
            try:
                answer = _exchange(server, query, number, name)
            except OSError:
                continue
            if answer is not None and answer.settled:
                return answer.addresses
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answers")


def _exchange(server: str, query: bytes, number: int, name: str) -> dns.Answer | None:
    """Ask by UDP, and again by TCP if the answer is too long for that. Raises OSError."""
    deadline = time.monotonic() + _TIMEOUT
    with socket.socket(_family(server), socket.SOCK_DGRAM) as channel:
        channel.connect((server, PORT))
        channel.send(query)
        waiting = select.poll()
        waiting.register(channel, select.POLLIN)
        while waiting.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            answer = dns.answer(channel.recv(_MAX_MESSAGE))
            if answer and answer.number == number and _canonical(answer.name) == name:
                return answer if not answer.truncated else _exchange_long(server, query)
    return None


def _exchange_long(server: str, query: bytes) -> dns.Answer | None:
    with socket.socket(_family(server), socket.SOCK_STREAM) as channel:
        channel.settimeout(_TIMEOUT)
        channel.connect((server, PORT))
        channel.sendall(len(query).to_bytes(2) + query)
        return dns.answer(_read(channel, int.from_bytes(_read(channel, 2))))


def _read(channel: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        piece = channel.recv(size - len(content))
        if not piece:
            raise ConnectionResetError
        content += piece
    return content


def _lines(text: str) -> Iterable[list[str]]:
    for line in text.splitlines():
        words = line.partition("#")[0].partition(";")[0].split()
        if words:
            yield words


def _canonical(name: str) -> str:
    return name.removesuffix(".").lower()


def _family(address: str) -> int:
    """The family of an address; 0 for what is none."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, address)
        except (OSError, ValueError):
            continue
        return int(family)
    return 0
