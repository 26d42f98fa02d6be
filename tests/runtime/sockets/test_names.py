"""Messages of DNS, and names under rules of egress, without an engine."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.sockets.machine import Machine

from wherry.egress import Egress
from wherry.runtime.wasi import errnos
from wherry.runtime.wasi.sockets import Names, dns
from wherry.runtime.wasi.sockets.descriptors import Socket

RESOLV = "nameserver 192.0.2.53 # first\n; nothing\nnameserver fd00:0::35\nsearch Fleet.test\n"


def response(name: str, *records: tuple[int, bytes], code: int = 0, number: int = 7) -> bytes:
    """A response about `name` whose records are of types with data, all of the name itself."""
    question = dns.query(number, name, dns.A)[12:]
    header = struct.pack("!HHHHHH", number, 0x8180 | code, 1, len(records), 0, 0)
    packed = [
        b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data for kind, data in records
    ]
    return header + question + b"".join(packed)


def test_the_name_of_a_query_is_told() -> None:
    assert dns.question(dns.query(1, "db.example.", dns.AAAA)) == "db.example"


def with_flags(packet: bytes, flags: int) -> bytes:
    return packet[:2] + flags.to_bytes(2) + packet[4:]


QUERY = dns.query(1, "db", dns.A)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"secrets",
        QUERY[:-1],
        with_flags(QUERY, 0x8000),
        with_flags(QUERY, 0x2800),
        QUERY[:5] + b"\2" + QUERY[6:],
        QUERY[:7] + b"\1" + QUERY[8:],
        QUERY[:11] + b"\2" + QUERY[12:],
        QUERY[:12] + b"\xc0\x0c" + QUERY[16:],
    ],
)
def test_what_is_no_plain_query_asks_for_nothing(packet: bytes) -> None:
    assert dns.question(packet) is None


def test_a_dot_within_a_label_is_none_between_two() -> None:
    packet = QUERY[:12] + b"\x0aevil.db.ex\0" + QUERY[16:]
    assert dns.question(packet) not in ("evil.db.ex", None)


def test_an_answer_tells_addresses_of_both_kinds() -> None:
    four, six = socket.inet_aton("192.0.2.1"), socket.inet_pton(socket.AF_INET6, "fd00::1")
    answer = dns.answer(
        response("db", (5, b"\4else\0"), (dns.A, four), (dns.AAAA, six), (16, b"x"))
    )
    assert answer is not None
    assert (answer.name, answer.addresses, answer.settled) == ("db", ["192.0.2.1", "fd00::1"], True)


def test_an_answer_may_be_that_there_is_nothing() -> None:
    nothing, failure = dns.answer(response("db", code=3)), dns.answer(response("db", code=2))
    assert nothing is not None and nothing.settled and not nothing.addresses
    assert failure is not None and not failure.settled


@given(st.binary(max_size=100))
def test_messages_are_anything(packet: bytes) -> None:
    dns.question(packet)
    dns.answer(packet)
    dns.question(QUERY[:12] + packet)
    dns.answer(response("db")[:7] + b"\5" + response("db")[8:] + packet)


def test_files_say_who_is_asked_and_what_for() -> None:
    names = Names("192.0.2.1 Db db2 # one\nfd00::1 db\n", RESOLV)
    assert names.look_up("DB.") == ["192.0.2.1", "fd00::1"]
    assert names.look_up("localhost") == ["127.0.0.1", "::1"]
    assert names.look_up("192.0.2.9") == ["192.0.2.9"]
    assert names.is_server("192.0.2.53", 53)
    assert names.is_server("fd00::35", 53)
    assert not names.is_server("192.0.2.53", 54)
    assert names.meant("web.fleet.TEST.") == ["web.fleet.test", "web"]


@given(st.text(max_size=200), st.text(max_size=200))
def test_files_are_anything(hosts: str, resolv: str) -> None:
    names = Names(hosts, resolv)
    names.is_server("192.0.2.1", 53)
    names.meant(hosts)


@pytest.fixture
def machine() -> Machine:
    made = Machine()
    made.table.egress = Egress.parse("db:80, *.example:443")
    made.table.know(Names("", RESOLV))
    return made


def datagram_socket() -> Socket:
    return Socket(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))


def test_what_a_name_server_answers_a_guest_counts(machine: Machine) -> None:
    table, asker = machine.table, datagram_socket()
    table.check_datagram(asker, "192.0.2.53", 53, dns.query(1, "db.fleet.test", dns.A))
    told = response("db.fleet.test", (dns.A, socket.inet_aton("192.0.2.7")))
    table.heard(asker, "192.0.2.53", 53, told)
    table.check_way_out("192.0.2.7", 80)
    asker.close()


def test_names_of_the_hosts_file_need_not_be_asked_for(machine: Machine) -> None:
    """Go reads the file by itself."""
    table, denied = machine.table, list[str]()
    table.denied = denied.append
    table.know(Names("192.0.2.7 Web.Example other\n192.0.2.8 example\n127.0.0.1 x.example", RESOLV))
    table.check_way_out("192.0.2.7", 443)
    for address, port in (("192.0.2.7", 80), ("192.0.2.8", 443), ("127.0.0.1", 443)):
        with pytest.raises(errnos.Failure):
            table.check_way_out(address, port)
    assert denied == ["192.0.2.7:80 (web.example)", "192.0.2.8:443", "127.0.0.1:443"]


def test_what_anybody_else_answers_does_not(machine: Machine) -> None:
    table, asker, denied = machine.table, datagram_socket(), list[str]()
    table.denied = denied.append
    told = response("db", (dns.A, socket.inet_aton("192.0.2.7")))
    table.heard(asker, "192.0.2.54", 53, told)
    with pytest.raises(errnos.Failure):
        table.check_way_out("192.0.2.7", 80)
    assert denied == ["192.0.2.7:80"]
    asker.close()


def test_a_name_without_a_rule_is_not_asked_for(machine: Machine) -> None:
    table, asker, denied = machine.table, datagram_socket(), list[str]()
    table.denied = denied.append
    for packet in (dns.query(1, "secret.evil.test", dns.A), b"secret"):
        with pytest.raises(errnos.Failure):
            table.check_datagram(asker, "192.0.2.53", 53, packet)
    assert denied == ["secret.evil.test", "192.0.2.53:53"]
    asker.close()


def test_a_name_server_that_knows_the_rules_is_asked_for_anything(machine: Machine) -> None:
    table, asker = machine.table, datagram_socket()
    table.servers_judge = True
    table.check_datagram(asker, "192.0.2.53", 53, dns.query(1, "secret.evil.test", dns.A))
    with pytest.raises(errnos.Failure):
        table.check_datagram(asker, "192.0.2.54", 53, dns.query(1, "db", dns.A))
    asker.close()
