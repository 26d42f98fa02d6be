"""What a container is told about names: the state machine, fed with bytes."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.egress import Egress
from wherry.network.dns.answers import Answers, Deny, Forward, Respond
from wherry.network.dns.question import Question, parse
from wherry.network.model import Attachment, Network, Sandbox, Subnet
from wherry.network.names import Names

FRONT = Network(id="f", name="Front", bridge="b0", subnets=[Subnet("172.18.0.0/16", "172.18.0.1")])
BACK = Network(id="b", name="back", bridge="b1", subnets=[Subnet("172.19.0.0/16", "172.19.0.1")])
HIDDEN = Network(id="h", name="hidden", bridge="b2", subnets=[], internal=True)
DEFAULT = Network(id="d", name="bridge", bridge="b3", subnets=[], names=False)


def sandbox(id: str, *attachments: Attachment, **more: object) -> Sandbox:
    return Sandbox(id=id, pid=1, name=id, attachments=[*attachments], **more)  # type: ignore[arg-type]


def plug(network: Network, *addresses: str, names: tuple[str, ...] = ()) -> Attachment:
    return Attachment(
        network=network, interface="eth0", mac="", addresses=[*addresses], names=[*names]
    )


def query(name: str, kind: str = "A") -> bytes:
    return dns.message.make_query(name, kind, id=0x1234).to_wire()


class World:
    """Some containers, and the name server of the one called `me`."""

    def __init__(self, *others: Sandbox, me: Sandbox | None = None, egress: str = "") -> None:
        self.names = Names()
        mine = me or sandbox("me", plug(FRONT, "172.18.0.9/16", names=("me",)))
        for each in (*others, mine):
            self.names.put(each)
        self.answers = Answers(mine, self.names, Egress.parse(egress) if egress else None)

    def decide(self, name: str, kind: str = "A") -> object:
        return self.answers.decide(query(name, kind))

    def ask(self, name: str, kind: str = "A") -> dns.message.Message:
        decision = self.decide(name, kind)
        assert isinstance(decision, Respond | Deny), decision
        return dns.message.from_wire(decision.wire)

    def addresses(self, name: str, kind: str = "A") -> list[str]:
        return [data.to_text() for rrset in self.ask(name, kind).answer for data in rrset]


def web(address: str = "172.18.0.2/16", id: str = "web") -> Sandbox:
    return sandbox(id, plug(FRONT, address, names=(id, "www", "Shop")))


@pytest.mark.parametrize("name", ["web", "WEB", "www.", "shop", "web.front", "Web.FRONT."])
def test_a_container_is_found_by_its_names_in_any_case(name: str) -> None:
    assert World(web()).addresses(name) == ["172.18.0.2"]


def test_containers_with_one_alias_are_all_told_each_time_another_one_first() -> None:
    world = World(web(), web("172.18.0.3/16", "web2"), web("172.18.0.4/16", "web3"))
    told = [world.addresses("www") for _ in range(6)]
    assert [each[0] for each in told] == [f"172.18.0.{n}" for n in (2, 3, 4, 2, 3, 4)]
    assert all(sorted(each) == ["172.18.0.2", "172.18.0.3", "172.18.0.4"] for each in told)


def test_a_name_without_an_address_of_the_type_has_no_data_and_is_not_forwarded() -> None:
    world = World(web())
    for kind in ("AAAA", "MX", "TXT", "HTTPS"):
        response = world.ask("web", kind)
        assert response.rcode() == dns.rcode.NOERROR and not response.answer
    assert isinstance(world.decide("elsewhere"), Forward)


def test_both_families_are_told_apart() -> None:
    world = World(sandbox("web", plug(FRONT, "172.18.0.2/16", "fd00::2/64", names=("web",))))
    assert world.addresses("web", "AAAA") == ["fd00::2"]
    assert world.addresses("web", "A") == ["172.18.0.2"]


def test_a_name_that_is_gone_stops_resolving_at_once() -> None:
    world = World(web(), web("172.18.0.3/16", "web2"))
    assert world.ask("www").answer[0].ttl == 0
    world.names.remove("web")
    assert world.addresses("www") == ["172.18.0.3"]
    world.names.remove("web2")
    assert isinstance(world.decide("www"), Forward)
    assert isinstance(world.decide("2.0.18.172.in-addr.arpa", "PTR"), Forward)


def test_names_of_another_network_are_not_seen() -> None:
    world = World(sandbox("db", plug(BACK, "172.19.0.2/16", names=("db",))))
    assert isinstance(world.decide("db"), Forward)
    assert isinstance(world.decide("2.0.19.172.in-addr.arpa", "PTR"), Forward)


def test_the_default_network_has_no_names() -> None:
    me = sandbox("me", plug(DEFAULT, "172.17.0.2/16", names=("me",)))
    other = sandbox("other", plug(DEFAULT, "172.17.0.3/16", names=("other",)))
    assert isinstance(World(other, me=me).decide("other"), Forward)


def test_a_container_that_leaves_a_network_is_not_found_there_any_more() -> None:
    world = World(web())
    world.names.put(sandbox("web", plug(BACK, "172.19.0.2/16", names=("web",))))
    assert isinstance(world.decide("web"), Forward)


def test_an_address_leads_back_to_container_and_network() -> None:
    assert World(web()).addresses("2.0.18.172.in-addr.arpa", "PTR") == ["web.Front."]
    six = sandbox("web", plug(FRONT, "fd00::2/64", names=("web",)))
    name = "2." + "0." * 28 + "0.d.f.ip6.arpa"
    assert World(six).addresses(name, "PTR") == ["web.Front."]


def test_names_of_its_own_are_seen_by_the_container_alone() -> None:
    me = sandbox("me", plug(FRONT, "172.18.0.9/16"), hosts={"Registry": "10.0.0.5"})
    assert World(me=me).addresses("registry") == ["10.0.0.5"]
    assert isinstance(World(me).decide("registry"), Forward)


def test_a_container_on_internal_networks_only_is_told_of_no_others() -> None:
    me = sandbox("me", plug(HIDDEN, "172.20.0.2/16", names=("me",)))
    world = World(me=me)
    assert world.addresses("me") == ["172.20.0.2"]
    assert world.ask("example.com").rcode() == dns.rcode.SERVFAIL
    both = sandbox("me", plug(HIDDEN, "172.20.0.2/16"), plug(FRONT, "172.18.0.9/16"))
    assert isinstance(World(me=both).decide("example.com"), Forward)


def test_with_ndots_a_name_of_one_label_is_not_forwarded() -> None:
    world = World(me=sandbox("me", plug(FRONT, "172.18.0.9/16"), ndots=True))
    response = world.ask("printer")
    assert response.rcode() == dns.rcode.NOERROR and not response.answer
    assert isinstance(world.decide("printer.example.com"), Forward)


def test_a_name_of_300_characters_is_malformed() -> None:
    labels = b"".join(b"\x3c" + b"a" * 60 for _ in range(5))
    wire = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + labels + b"\0\0\1\0\1"
    decision = World().answers.decide(wire)
    assert isinstance(decision, Respond)
    response = dns.message.from_wire(decision.wire)
    assert response.id == 0x1234 and response.rcode() == dns.rcode.FORMERR


@pytest.mark.parametrize(
    ("wire", "rcode"),
    [
        (b"", None),
        (b"\0" * 11, None),
        (b"\0\1\x80\0\0\1" + bytes(6) + b"\0\0\1\0\1", None),  # a response: would go in circles
        (b"\0\1\x28\0\0\1" + bytes(6) + b"\0\0\1\0\1", dns.rcode.NOTIMP),  # an update
        (b"\0\1\1\0\0\0" + bytes(6), dns.rcode.FORMERR),  # no question
        (b"\0\1\1\0\0\2" + bytes(6) + b"\0\0\1\0\1" * 2, dns.rcode.FORMERR),
        (b"\0\1\1\0\0\1" + bytes(6) + b"\xc0\x0c\0\1\0\1", dns.rcode.FORMERR),  # to itself
        (query("version.bind")[:-1] + b"\3", dns.rcode.REFUSED),  # CHAOS
        (query("example.com", "AXFR"), dns.rcode.REFUSED),
        (query("."), dns.rcode.REFUSED),
    ],
)
def test_what_is_no_plain_query_is_refused_or_ignored(
    wire: bytes, rcode: dns.rcode.Rcode | None
) -> None:
    decision = World().answers.decide(wire)
    if rcode is None:
        assert decision is None
    else:
        assert isinstance(decision, Respond)
        assert dns.message.from_wire(decision.wire).rcode() == rcode


@given(st.binary(max_size=600))
def test_no_bytes_crash_the_name_server(wire: bytes) -> None:
    for egress in ("", "web:80"):
        decision = World(web(), egress=egress).answers.decide(wire)
        assert decision is None or isinstance(decision, Respond | Forward | Deny)


@given(st.data())
def test_no_damaged_query_crashes_the_name_server(data: st.DataObject) -> None:
    wire = bytearray(query("web.front", data.draw(st.sampled_from(["A", "PTR", "ANY"]))))
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(2, len(wire) - 1))] = data.draw(st.integers(0, 255))
    decision = World(web()).answers.decide(bytes(wire))
    if isinstance(decision, Respond):
        assert decision.wire[:2] == bytes(wire[:2])


@given(st.binary(min_size=12, max_size=600))
def test_no_response_of_others_crashes_the_name_server(said: bytes) -> None:
    question = parse(query("a.example.com"))
    assert isinstance(question, Question)
    for egress in ("", "*.example.com:80"):
        checked = World(egress=egress).answers.check(question, said)
        assert checked.wire[:2] == question.wire[:2]


def test_a_response_that_does_not_fit_a_datagram_asks_for_tcp() -> None:
    many = [web(f"172.18.1.{n}/16", f"web{n}") for n in range(1, 200)]
    world = World(*many)
    decision = world.decide("www")
    assert isinstance(decision, Respond) and decision.question is not None
    short = dns.message.from_wire(decision.question.truncate(decision.wire))
    assert short.flags & dns.flags.TC and not short.answer
    wide = dns.message.make_query("www", "A", payload=4096).to_wire()
    decision = world.answers.decide(wide)
    assert isinstance(decision, Respond) and decision.question is not None
    assert len(decision.question.truncate(decision.wire)) > 3000


class TestWithRulesOfEgress:
    """Names that no rule is about do not exist, and addresses are learned before they are told."""

    def test_other_names_do_not_exist_and_are_told_of(self) -> None:
        world = World(web(), egress="db:3306,*.example.com:443")
        for name in ("web", "example.com", "example.org"):
            decision = world.decide(name)
            assert isinstance(decision, Deny) and decision.question.name == name
            assert world.ask(name).rcode() == dns.rcode.NXDOMAIN
        assert isinstance(world.decide("a.example.com"), Forward)

    def test_what_a_container_s_name_leads_to_is_learned(self) -> None:
        decision = World(web(), egress="web:80").decide("WEB")
        assert isinstance(decision, Respond) and decision.learned == ("172.18.0.2",)

    def test_what_others_say_is_learned_through_aliases(self) -> None:
        world = World(egress="*.example.com:443")
        decision = world.decide("a.example.com")
        assert isinstance(decision, Forward)
        said = dns.message.make_response(decision.question.message)
        for text in ("a.example.com. 5 IN CNAME b.cdn.net.", "b.cdn.net. 5 IN A 203.0.113.7"):
            name, ttl, *rest = text.split()
            said.answer.append(dns.rrset.from_text(name, int(ttl), *rest))
        checked = world.answers.check(decision.question, said.to_wire())
        assert checked.learned == ("203.0.113.7",)

    def test_a_name_that_leads_to_the_container_itself_is_not_believed(self) -> None:
        world = World(egress="*.example.com:443")
        decision = world.decide("a.example.com")
        assert isinstance(decision, Forward)
        said = dns.message.make_response(decision.question.message)
        addresses = ("127.0.0.1", "169.254.169.254", "203.0.113.7")
        said.answer.append(dns.rrset.from_text("a.example.com.", 5, "IN", "A", *addresses))
        checked = world.answers.check(decision.question, said.to_wire())
        assert checked.learned == ("203.0.113.7",)
        (rrset,) = dns.message.from_wire(checked.wire).answer
        assert [data.to_text() for data in rrset] == ["203.0.113.7"]
