"""What a container is told about a name: the decisions of its name server, without any I/O.

As Docker's: names of containers are answered here; a name that exists without an address of the
type asked for has no data (NOERROR and no answer), so that a resolver asks nobody else. All others
are forwarded, but not for a container whose networks are all internal. Beyond Docker: what the
container's rules of egress do not name does not exist for it.
"""

from dataclasses import dataclass, field
from itertools import count

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from wherry.egress import Egress
from wherry.network.dns import question as questions
from wherry.network.dns.question import Question
from wherry.network.model import Sandbox
from wherry.network.names import Address, Names

_TRANSFERS = frozenset({dns.rdatatype.AXFR, dns.rdatatype.IXFR})
"""Answered in many messages: for name servers among themselves."""


@dataclass(frozen=True, slots=True)
class Respond:
    """Send `wire`, once the container may reach the addresses that it is about to learn."""

    question: Question | None
    wire: bytes
    learned: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Forward:
    """Ask others; what they say is for `Answers.check`."""

    question: Question


@dataclass(frozen=True, slots=True)
class Deny:
    """Send `wire`, and tell that a name was denied."""

    question: Question
    wire: bytes


Decision = Respond | Forward | Deny


@dataclass
class Answers:
    """The name server of one container."""

    sandbox: Sandbox
    names: Names
    egress: Egress | None = None
    _turns: "count[int]" = field(default_factory=count)

    def decide(self, wire: bytes) -> Decision | None:
        """What to do about a query; None: nothing."""
        question = questions.parse(wire)
        if question is None:
            return None
        if isinstance(question, bytes):
            return Respond(None, question)
        address = question.address
        if address is not None:
            owner = self.names.reverse(self.sandbox.id, address)
            if owner is not None:
                return Respond(question, question.tell_name(owner))
        if self.egress is not None and not self.egress.permits(question.name):
            return Deny(question, question.respond(dns.rcode.NXDOMAIN))
        addresses = self.names.lookup(self.sandbox.id, question.name)
        if addresses is not None:
            return self._tell(question, addresses)
        if not question.name or question.type in _TRANSFERS:
            return Respond(question, question.respond(dns.rcode.REFUSED))
        if self.sandbox.ndots and "." not in question.name:
            return Respond(question, question.respond())
        attachments = self.sandbox.attachments
        if attachments and all(attachment.network.internal for attachment in attachments):
            return Respond(question, question.respond(dns.rcode.SERVFAIL))
        return Forward(question)

    def check(self, question: Question, response: bytes | None) -> Respond:
        """What to say when others said `response`, or nothing of use."""
        if response is None:
            return Respond(question, question.respond(dns.rcode.SERVFAIL))
        response = question.wire[:2] + response[2:]
        if self.egress is None:
            return Respond(question, response)
        return self._filter(question, response, self.egress)

    def _tell(self, question: Question, addresses: list[Address]) -> Respond:
        """All addresses, each time another one first: most clients take the first."""
        learned: list[str] = [str(address) for address in addresses]
        if self.egress is not None:
            learned = self.egress.looked_up(question.name, learned)
            addresses = [address for address in addresses if str(address) in learned]
        if addresses:
            turn = next(self._turns) % len(addresses)
            addresses = addresses[turn:] + addresses[:turn]
        wire = question.tell_addresses(addresses)
        return Respond(question, wire, tuple(learned) if self.egress is not None else ())

    def _filter(self, question: Question, response: bytes, egress: Egress) -> Respond:
        """Tell those addresses only that a name may lead to."""
        try:
            message = dns.message.from_wire(response)
            told = [
                data.address
                for rrset in message.answer
                if rrset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA)
                for data in rrset
            ]
        except Exception:
            # dnspython's own errors, and whatever else hostile bytes bring out of it.
            return Respond(question, question.respond(dns.rcode.SERVFAIL))
        learned = egress.looked_up(question.name, told)
        if set(told) - set(learned):
            message.answer = [
                kept for rrset in message.answer if len(kept := _only(rrset, learned))
            ]
            response = message.to_wire(want_shuffle=False)
        return Respond(question, response, tuple(learned))


def _only(rrset: dns.rrset.RRset, addresses: list[str]) -> dns.rrset.RRset:
    """Those of a set of records that are no addresses, or some of `addresses`."""
    if rrset.rdtype not in (dns.rdatatype.A, dns.rdatatype.AAAA):
        return rrset
    kept = [data for data in rrset if data.address in addresses]
    return (
        dns.rrset.from_rdata_list(rrset.name, rrset.ttl, kept)
        if kept
        else dns.rrset.RRset(rrset.name, rrset.rdclass, rrset.rdtype)
    )
