"""Names to addresses, in the list that the guest hands in."""

import struct

import pytest
from tests.runtime.sockets.machine import Machine

from wherry.runtime.wasi import errnos


class List:
    """A list of `addrinfo` in the guest's memory, and a lookup into it."""

    def __init__(self, machine: Machine, room: int = 4, names: int = 64) -> None:
        self.machine = machine
        self.items = [machine.room(28) for _ in range(room)]
        self.addresses = [machine.room(12) for _ in range(room)]
        self.names = [machine.room(names) for _ in range(room)]
        self.data = [machine.room(26) for _ in range(room)]
        for index, item in enumerate(self.items):
            following = self.items[index + 1] if index + 1 < room else 0
            struct.pack_into("<III", machine.memory, self.addresses[index], 0, 14, self.data[index])
            values = (0, 0, 0, 0, 0, self.addresses[index], self.names[index], names, following)
            struct.pack_into("<HBBIIIIII", machine.memory, item, *values)
        self.count = machine.room(4)

    def look_up(
        self,
        name: bytes,
        service: bytes = b"",
        *,
        flags: int = 0,
        family: int = 0,
        kind: int = 2,
        protocol: int = 1,
        room: int | None = None,
    ) -> int:
        """The error."""
        machine = self.machine
        hints = struct.pack("<HBBIIIIII", flags, family, kind, protocol, 0, 0, 0, 0, 0)
        first = machine.put(struct.pack("<I", self.items[0]))
        wanted = len(self.items) if room is None else room
        return machine.call(
            "sock_getaddrinfo",
            *(machine.put(name), len(name), machine.put(service), len(service)),
            *(machine.put(hints), first, wanted, self.count),
        )

    def found(self) -> list[tuple[int, int, int, bytes]]:
        """Family, kind, protocol and data of each that was found."""
        found = []
        for index in range(self.machine.get(self.count)):
            memory = self.machine.memory
            _, family, kind, protocol, *_ = struct.unpack_from(
                "<HBBIIIIII", memory, self.items[index]
            )
            told, size, data = struct.unpack_from("<III", memory, self.addresses[index])
            assert (told, data) == (family, self.data[index])
            found.append((family, kind, protocol, self.machine.bytes_at(data, size)))
        return found


def test_an_address_written_out_is_itself(machine: Machine) -> None:
    found = List(machine)
    assert found.look_up(b"127.0.0.1\0", b"80\0") == 0
    assert found.found() == [(1, 2, 1, b"\0\x50\x7f\0\0\1" + bytes(8))]
    assert found.look_up(b"::1", b"443", protocol=0xABCDEF01) == 0
    assert found.found() == [(2, 2, 1, b"\x01\xbb" + bytes(4) + bytes(15) + b"\1" + bytes(4))]


def test_nobody_but_the_host_itself_is_meant_by_no_name(machine: Machine) -> None:
    found = List(machine)
    assert found.look_up(b"", b"80", flags=1, family=1) == 0
    assert found.found() == [(1, 2, 1, b"\0\x50" + bytes(12))]


def test_the_list_is_filled_as_far_as_it_goes(machine: Machine) -> None:
    found = List(machine)
    assert found.look_up(b"127.0.0.1", b"80", kind=0, protocol=0) == 0
    assert [item[1:3] for item in found.found()] == [(2, 1), (1, 2), (0, 0)]
    assert found.look_up(b"127.0.0.1", b"80", kind=0, protocol=0, room=1) == 0
    assert len(found.found()) == 1
    short = List(machine, room=1)
    assert short.look_up(b"127.0.0.1", b"80", kind=0, protocol=0, room=9) == 0
    assert len(short.found()) == 1


def test_a_canonical_name_is_written_where_it_fits(machine: Machine) -> None:
    for room, told in ((64, 9), (9, 0)):
        found = List(machine, names=room)
        assert found.look_up(b"127.0.0.1", flags=2) == 0
        assert machine.bytes_at(found.names[0], 9) == (b"127.0.0.1" if told else bytes(9))
        assert machine.get(found.items[0] + 20) == told


@pytest.mark.parametrize(
    ("name", "hints", "error"),
    [
        (b"", {}, errnos.AI_NONAME),
        (b"n" * 256, {}, errnos.AI_NONAME),
        (b"127.0.0.1", {"service": b"9" * 64}, errnos.AI_NONAME),
        (b"127.0.0.1", {"service": b"no-such"}, errnos.AI_SERVICE),
        (b"127.0.0.1", {"flags": 0x80}, errnos.AI_BADFLAG),
        (b"", {"service": b"80", "flags": 2}, errnos.AI_BADFLAG),
        (b"127.0.0.1", {"family": 3}, errnos.AI_FAMILY),
        (b"127.0.0.1", {"kind": 3}, errnos.NOSYS),
        (b"127.0.0.1", {"protocol": 3}, errnos.NOSYS),
        (b"127.0.0.1", {"room": 0}, errnos.AI_MEMORY),
        (b"no address", {"flags": 4}, errnos.AI_FAIL),
        (b"1\xff\xfe", {"flags": 4}, errnos.AI_FAIL),
    ],
)
def test_what_cannot_be_looked_up(
    machine: Machine, name: bytes, hints: dict[str, object], error: int
) -> None:
    assert List(machine).look_up(name, **hints) == error  # type: ignore[arg-type]


def test_a_name_that_may_not_be_asked_for_is_not_and_is_told_of(machine: Machine) -> None:
    denied: list[str] = []
    machine.table.denied = denied.append
    assert List(machine).look_up(b"secret.example.com", b"80") == errnos.AI_FAIL
    assert len(denied) == 1 and "secret.example.com" in denied[0]


def test_a_connection_that_is_denied_is_refused_and_told_of(machine: Machine) -> None:
    denied: list[str] = []
    machine.table.denied = denied.append
    for family, address in ((1, "192.0.2.1"), (2, "2001:db8::1")):
        number = machine.open(family=family)
        refused = machine.call("sock_connect", number, machine.address(address), 80)
        assert refused == errnos.CONNREFUSED
        datagram = machine.open(family=family, stream=False)
        arguments = (machine.vectors(b"x"), 1, machine.address(address), 53, 0, machine.room(4))
        assert machine.call("sock_send_to", datagram, *arguments) == errnos.CONNREFUSED
    assert denied == ["192.0.2.1:80", "192.0.2.1:53", "[2001:db8::1]:80", "[2001:db8::1]:53"]


def test_a_list_that_leads_out_of_memory_is_a_fault(machine: Machine) -> None:
    for field, value in ((12, 0xFFFFFFF0), (16, 0xFFFFFFFF)):
        found = List(machine)
        struct.pack_into("<I", machine.memory, found.items[0] + field, value)
        assert found.look_up(b"127.0.0.1", flags=2) == errnos.FAULT
    found = List(machine)
    struct.pack_into("<I", machine.memory, found.addresses[0] + 8, len(machine.memory) - 5)
    assert found.look_up(b"127.0.0.1") == errnos.FAULT
    circle = List(machine, room=1)
    struct.pack_into("<I", machine.memory, circle.items[0] + 24, circle.items[0])
    assert circle.look_up(b"127.0.0.1", kind=0, protocol=0, room=3) == 0
