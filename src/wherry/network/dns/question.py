"""A query as it came, and responses to it."""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset

from wherry.network.names import Address, canonical

MAX_QUERY = 4096
"""Bytes."""
MAX_MESSAGE = 65535

_HEADER = struct.Struct("!6H")
_QR = 0x8000
_LEAST_UDP = 512
_MOST_UDP = 4096
_TTL = 0
"""Seconds that an answer about containers may be kept: a name that is gone is gone at once."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question, and the message that it came in."""

    message: dns.message.QueryMessage
    wire: bytes
    name: str
    """As it is compared."""
    type: dns.rdatatype.RdataType

    @property
    def udp_limit(self) -> int:
        """Bytes that a response by UDP may have (RFC 6891)."""
        return min(max(self.message.payload, _LEAST_UDP), _MOST_UDP)

    @property
    def address(self) -> Address | None:
        """Whose name is asked for, if it is a question of that kind (PTR)."""
        if self.type != dns.rdatatype.PTR:
            return None
        try:
            text = dns.reversename.to_address(self.message.question[0].name)
            return IPv6Address(text) if ":" in text else IPv4Address(text)
        except (dns.exception.DNSException, ValueError):
            return None

    def respond(self, rcode: dns.rcode.Rcode = dns.rcode.NOERROR) -> bytes:
        """A response without an answer."""
        return self._response(rcode).to_wire()

    def tell_addresses(self, addresses: list[Address]) -> bytes:
        """Those of `addresses` that are of the type asked for; NODATA if none is."""
        response = self._response(dns.rcode.NOERROR)
        for version, kind in ((4, "A"), (6, "AAAA")):
            texts = [str(address) for address in addresses if address.version == version]
            if texts and self.type in (dns.rdatatype.from_text(kind), dns.rdatatype.ANY):
                response.answer.append(self._rrset(kind, *texts))
        return response.to_wire(want_shuffle=False)

    def tell_name(self, name: str) -> bytes:
        """Who has the address that was asked for. A name that DNS cannot say is not told."""
        response = self._response(dns.rcode.NOERROR)
        try:
            response.answer.append(self._rrset("PTR", f"{name}."))
        except dns.exception.DNSException:
            return self.respond(dns.rcode.NXDOMAIN)
        return response.to_wire(want_shuffle=False)

    def truncate(self, response: bytes) -> bytes:
        """A response as it fits into a datagram: else only that it has to be asked by TCP."""
        if len(response) <= self.udp_limit:
            return response
        short = self._response(dns.rcode.NOERROR)
        short.flags |= dns.flags.TC
        return short.to_wire()

    def _rrset(self, kind: str, *texts: str) -> dns.rrset.RRset:
        return dns.rrset.from_text(self.message.question[0].name, _TTL, "IN", kind, *texts)

    def _response(self, rcode: dns.rcode.Rcode) -> dns.message.Message:
        response = dns.message.make_response(self.message, recursion_available=True)
        response.set_rcode(rcode)
        return response


def parse(wire: bytes) -> Question | bytes | None:
    """The question in `wire`; or the response that it is not understood; or None: say nothing."""
    if len(wire) < _HEADER.size:
        return None
    number, flags, questions, answers, authorities, additions = _HEADER.unpack_from(wire)
    if flags & _QR:
        return None  # who answers responses may answer them for ever
    opcode = flags >> 11 & 0xF
    if opcode != dns.opcode.QUERY:
        return _refuse(number, flags, dns.rcode.NOTIMP)
    if questions != 1 or answers or authorities or additions > 2 or len(wire) > MAX_QUERY:
        return _refuse(number, flags, dns.rcode.FORMERR)
    try:
        message = dns.message.from_wire(wire)
        (question,) = message.question
        name = canonical(question.name.to_text())
        # Whatever octets there are in a name, in text it is ASCII.
        if not isinstance(message, dns.message.QueryMessage):
            return _refuse(number, flags, dns.rcode.NOTIMP)
    except Exception:
        # dnspython's own errors, and whatever else hostile bytes bring out of it.
        return _refuse(number, flags, dns.rcode.FORMERR)
    if question.rdclass not in (dns.rdataclass.IN, dns.rdataclass.ANY):
        return _refuse(number, flags, dns.rcode.REFUSED)
    return Question(message, wire, name, question.rdtype)


def _refuse(number: int, flags: int, rcode: dns.rcode.Rcode) -> bytes:
    kept = flags & 0x7900  # opcode, and that recursion is desired
    return _HEADER.pack(number, _QR | kept | 0x0080 | rcode, 0, 0, 0, 0)
