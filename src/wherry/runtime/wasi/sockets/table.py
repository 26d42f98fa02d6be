"""The guest's descriptors that are not wasmtime's: standard streams, sockets, open listeners."""

import heapq
from collections.abc import Callable, Iterable, Sequence
from socket import socket
from typing import Protocol

from wherry.runtime.wasi.errnos import ACCES, BADF, CONNREFUSED, NOTSOCK, Failure
from wherry.runtime.wasi.sockets import dns, names
from wherry.runtime.wasi.sockets.descriptors import Descriptor, Socket, Stream
from wherry.runtime.wasi.sockets.names import Names

FIRST = 0x10000
"""The first number given to a socket. From here on all numbers are this table's; below, those that
it has claimed, the others are wasmtime's."""

FIRST_PREOPENED = 3
"""Where a guest looks for what is open when it begins."""


_BACKLOG = 4096
"""Of sockets that the guest finds listening; the kernel grants as many as its own limit."""


_MAX_ASKERS = 4096
"""Whose datagrams may be answered though no rule of egress is about them: who asked last."""


class Egress(Protocol):
    """What the container may reach (`wherry.egress`)."""

    def permits(self, name: str) -> bool:
        """Whether `name` may be looked up."""

    def looked_up(self, name: str, addresses: Iterable[str]) -> Sequence[object]:
        """Learn what a name led to; returns those of `addresses` that may be told."""

    def allows(self, address: str, port: int) -> bool:
        """Whether `port` of `address` may be sent to."""

    def target(self, address: str, port: int) -> str:
        """What is told of an address and a port that are denied."""


class SocketTable:
    """Descriptors by the guest's number for them."""

    def __init__(self) -> None:
        self._open: dict[int, Descriptor] = {number: Stream(number) for number in range(3)}
        self._next = FIRST
        self._free: list[int] = []
        self._freed: set[int] = set()
        self._claimed = set(self._open)
        self._mark: Callable[[int, bool], None] = lambda _number, _claimed: None
        self.version = 0
        """Another number whenever another descriptor of the host's may be under one of these."""
        self.names: Names | None = None
        """Where names under `egress` are looked up; the C library's way, if None."""
        self.servers_judge = False
        """Whether the name servers know the rules: they say best that a name is not there."""
        self._askers: dict[tuple[Socket, str, int], None] = {}
        self.preopened = 0
        """How many listening sockets the guest finds open."""
        self.published: dict[int, list[socket]] = {}
        """By the container's TCP port, sockets on the host that are bound and do not listen yet.
        Who listens on a port here listens on those as well."""
        self.egress: Egress | None = None
        """What may be connected and sent to; everything, if None."""
        self.denied: Callable[[str], None] = lambda _target: None
        """Is told the target of what `egress` denies."""

    def preopen(self, listeners: Iterable[socket]) -> None:
        """Listen on `listeners` and open them from descriptor 3 on.

        They also listen where `published` says so. wasmtime must be given as many directories
        before the guest's own, to keep those numbers. Raises ValueError if they are too many, and
        OSError.
        """
        for number, listener in enumerate(listeners, FIRST_PREOPENED):
            if number >= FIRST:
                raise ValueError(f"{number} listening sockets are too many")
            descriptor = Socket(listener)
            descriptor.preopened = True
            port = listener.getsockname()[1]
            descriptor.listen(_BACKLOG, tuple(self.published.get(port, ())))
            descriptor.set_flags(0)
            self.put(number, descriptor)
            self.preopened += 1

    def show(self, mark: Callable[[int, bool], None]) -> None:
        """Have `mark` told of each low number whether it is claimed, from now on."""
        for number in self._claimed:
            mark(number, True)
        self._mark = mark

    def get(self, number: int) -> Descriptor:
        """The descriptor `number`. Raises Failure (BADF)."""
        try:
            return self._open[number]
        except KeyError:
            raise Failure(BADF) from None

    def socket(self, number: int) -> Socket:
        """The socket `number`. Raises Failure (BADF, NOTSOCK)."""
        descriptor = self.get(number)
        if not isinstance(descriptor, Socket):
            raise Failure(NOTSOCK)
        return descriptor

    def owns(self, number: int) -> bool:
        """Whether calls for `number` are this table's business, open or not."""
        return number >= FIRST or number in self._claimed

    def add(self, descriptor: Descriptor) -> int:
        """Open `descriptor`; returns its number, the lowest that is free."""
        while self._free:
            number = heapq.heappop(self._free)
            self._freed.discard(number)
            if number not in self._open:
                break
        else:
            while self._next in self._open:
                self._next += 1
            number = self._next
            self._next += 1
        self._open[number] = descriptor
        self.version += 1
        return number

    def put(self, number: int, descriptor: Descriptor) -> None:
        """Open `descriptor` as `number`; what that was is closed."""
        if number in self._open:
            self._open[number].close()
        self._open[number] = descriptor
        self.version += 1
        if number < FIRST:
            self._claimed.add(number)
            self._mark(number, True)

    def take(self, number: int) -> Descriptor:
        """Remove `number` and return what it was. Raises Failure (BADF).

        A low number stays claimed: wasmtime has something else under it, not meant for the guest.
        """
        descriptor = self.get(number)
        del self._open[number]
        self.version += 1
        if FIRST <= number < self._next and number not in self._freed:
            self._freed.add(number)
            heapq.heappush(self._free, number)
        return descriptor

    def give_up(self, number: int) -> None:
        """Leave the low `number` to wasmtime; what it was is closed."""
        if number in self._open:
            self.take(number).close()
        self._claimed.discard(number)
        self.version += 1
        self._mark(number, False)

    def know(self, names: Names) -> None:
        """Look names up by `names` from now on.

        Those of its hosts file count as looked up: a guest that reads that by itself asks nobody.
        """
        self.names = names
        if self.egress is not None:
            for name, addresses in names.hosts.items():
                self.egress.looked_up(name, addresses)

    def heard(self, receiver: Socket, address: str, port: int, datagram: bytes) -> None:
        """A datagram came from there: under rules of egress, it may be answered.

        And if it is a name server's, what it says of a name that was asked for counts.
        """
        if self.egress is None:
            return
        if self.names is not None and self.names.is_server(address, port):
            answer = dns.answer(datagram)
            for name in self.names.meant(answer.name) if answer else ():
                self.egress.looked_up(name, answer.addresses if answer else ())
            return
        asker = receiver, address, port
        self._askers.pop(asker, None)
        self._askers[asker] = None
        if len(self._askers) > _MAX_ASKERS:
            del self._askers[next(iter(self._askers))]

    def check_datagram(self, sender: Socket, address: str, port: int, datagram: bytes) -> None:
        """Raise Failure (CONNREFUSED) if this datagram may not be sent there.

        A name server may be asked for names that may be looked up.
        """
        if self.egress is None or (sender, address, port) in self._askers:
            return
        if self.names is None or not self.names.is_server(address, port):
            self.check_way_out(address, port)
            return
        if self.servers_judge:
            return
        name = dns.question(datagram)
        if name is None or not any(map(self.egress.permits, self.names.meant(name))):
            self.denied(name or self.egress.target(address, port))
            raise Failure(CONNREFUSED)

    def check_connection(self, sender: Socket, address: str, port: int) -> None:
        """Raise Failure (CONNREFUSED) if it may not be connected to that."""
        asks = self.names is not None and self.names.is_server(address, port)
        if sender.stream or not asks:
            self.check_way_out(address, port)

    def check_bind(self, port: int) -> None:
        """Raise Failure (ACCES) for a name server's port: what comes from there is believed."""
        if self.egress is not None and port == names.PORT:
            raise Failure(ACCES)

    def check_way_out(self, address: str, port: int) -> None:
        """Raise Failure (CONNREFUSED) if the container may not reach `port` of `address`."""
        if self.egress is not None and not self.egress.allows(address, port):
            self.denied(self.egress.target(address, port))
            raise Failure(CONNREFUSED)
