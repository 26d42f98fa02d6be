"""What nftables' rules are made of: each function gives the expressions of one match or statement.

Named as in nft(8). Registers are filled and used within one function.
"""

import ipaddress
import struct

from wherry.network.netfilter import attribute, nest, number, text, verdict

_REG_VERDICT, _REG_1 = 0, 1
_REG32 = 8
"""The first of the registers of four bytes; register 1 is four of them."""

_META_NFPROTO, _META_L4PROTO, _META_IIFNAME, _META_OIFNAME = 15, 16, 6, 7
_CT_STATE, _CT_STATUS = 0, 2
_ESTABLISHED_RELATED = 0x2 | 0x4
_STATUS_DNAT = 1 << 5
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_EQ, _NEQ, _GTE, _LTE = 0, 1, 5, 3
_FIB_ADDRTYPE, _FIB_DADDR, _FIB_IIF = 3, 1 << 1, 1 << 3
_RTN_LOCAL = 2
_ICMPX, _TCP_RESET = 2, 1
_ICMPX_PORT, _ICMPX_ADMIN = 1, 3
_DADDR = {4: (16, 4), 6: (24, 16)}
"""Where the destination is in the header of IPv4 and IPv6: offset and length in bytes."""
_SADDR = {4: (12, 4), 6: (8, 16)}
_PF = {4: 2, 6: 10}

Match = list[bytes]


def oifname(name: bytes) -> Match:
    """Goes out by the interface (`name` as a key)."""
    return [_meta(_META_OIFNAME), _compare(name)]


def iifname_in(name: str) -> Match:
    """Came in by an interface in set `name`."""
    return [_meta(_META_IIFNAME), _lookup(name)]


def oifname_in(name: str) -> Match:
    """Goes out by an interface in set `name`."""
    return [_meta(_META_OIFNAME), _lookup(name)]


def interfaces_in(name: str) -> Match:
    """Both interfaces are in set `name` of pairs."""
    return [
        _meta(_META_IIFNAME, register=_REG32),
        _meta(_META_OIFNAME, register=_REG32 + 4),
        _lookup(name, register=_REG32),
    ]


def established() -> Match:
    """Belongs to a connection that was let through, or is about one."""
    return _bits(_CT_STATE, _ESTABLISHED_RELATED)


def translated() -> Match:
    """Belongs to a connection whose destination was changed: to a published port."""
    return _bits(_CT_STATUS, _STATUS_DNAT)


def to_local() -> Match:
    """Is sent to an address of this namespace."""
    return [_fib(_FIB_DADDR), _compare(struct.pack("I", _RTN_LOCAL))]


def to_other_than_its_interface() -> Match:
    """Is sent to anything but the addresses of the interface that it came in by."""
    return [_fib(_FIB_DADDR | _FIB_IIF), _compare(struct.pack("I", _RTN_LOCAL), _NEQ)]


def protocol(number_: int) -> Match:
    """Is of this protocol above IP."""
    return [_meta(_META_L4PROTO), _compare(bytes([number_]))]


def version(number_: int) -> Match:
    """Is IPv4 or IPv6."""
    return [_meta(_META_NFPROTO), _compare(bytes([_PF[number_]]))]


def icmp_type(first: int, last: int) -> Match:
    """Is an ICMP message of one of these types; ask for the protocol before."""
    return [
        _payload(_TRANSPORT_HEADER, 0, 1),
        _compare(bytes([first]), _GTE),
        _compare(bytes([last]), _LTE),
    ]


def destination(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Match:
    """Is sent to an address within `network`."""
    match = [*version(network.version), _payload(_NETWORK_HEADER, *_DADDR[network.version])]
    if network.prefixlen < network.max_prefixlen:
        match.append(_masked(network.netmask.packed))
    return [*match, _compare(network.network_address.packed)]


def destination_in(name: str, family: int) -> Match:
    """Is sent to an address in set `name`."""
    return [*version(family), _payload(_NETWORK_HEADER, *_DADDR[family]), _lookup(name)]


def destination_and_port_in(name: str, family: int) -> Match:
    """Is sent to an address and a port in set `name` of pairs."""
    return [
        *version(family),
        _payload(_NETWORK_HEADER, *_DADDR[family], register=_REG32),
        _payload(_TRANSPORT_HEADER, 2, 2, register=_REG32 + _DADDR[family][1] // 4),
        _lookup(name, register=_REG32),
    ]


def source_and_oifname_in(name: str, family: int) -> Match:
    """Comes from an address and goes out by an interface that set `name` has together."""
    offset, length = _SADDR[family]
    return [
        *version(family),
        _payload(_NETWORK_HEADER, offset, length, register=_REG32),
        _meta(_META_OIFNAME, register=_REG32 + length // 4),
        _lookup(name, register=_REG32),
    ]


def ports(first: int, last: int) -> Match:
    """Is sent to one of these ports; ask for the protocol before."""
    return [
        _payload(_TRANSPORT_HEADER, 2, 2),
        _compare(struct.pack("!H", first), _GTE),
        _compare(struct.pack("!H", last), _LTE),
    ]


def dnat(name: str, family: int, *, by_address: bool) -> Match:
    """Send it on to what map `name` has for protocol and port, and the address if `by_address`."""
    match, at = version(family), _REG32
    if by_address:
        match.append(_payload(_NETWORK_HEADER, *_DADDR[family], register=at))
        at += _DADDR[family][1] // 4
    to_port = _REG32 + _DADDR[family][1] // 4
    return [
        *match,
        _meta(_META_L4PROTO, register=at),
        _payload(_TRANSPORT_HEADER, 2, 2, register=at + 1),
        _expression("lookup", text(1, name), number(2, _REG32), number(3, _REG32)),
        _expression(
            "nat", number(1, 1), number(2, _PF[family]), number(3, _REG32), number(5, to_port)
        ),
    ]


def redirect(port: int) -> Match:
    """Send it to a port of this namespace's own."""
    value = nest(2, attribute(1, struct.pack("!H", port)))
    return [
        _expression("immediate", number(1, _REG_1), value),
        _expression("redir", number(1, _REG_1)),
    ]


def masquerade() -> bytes:
    """Have it come from the address of the interface by which it goes out."""
    return _expression("masq")


def decide(code: int, chain: str = "") -> bytes:
    """A verdict: accept, jump to a chain, return from one, …"""
    return _expression("immediate", number(1, _REG_VERDICT), nest(2, verdict(code, chain)))


def reject_tcp() -> bytes:
    """Answer with a reset: ECONNREFUSED."""
    return _expression("reject", number(1, _TCP_RESET), attribute(2, b"\0"))


def reject_port() -> bytes:
    """Answer that nobody listens there: ECONNREFUSED."""
    return _expression("reject", number(1, _ICMPX), attribute(2, bytes([_ICMPX_PORT])))


def reject_host() -> bytes:
    """Answer that it is forbidden to go there: EHOSTUNREACH, or EACCES by IPv6."""
    return _expression("reject", number(1, _ICMPX), attribute(2, bytes([_ICMPX_ADMIN])))


def log(group: int, length: int) -> bytes:
    """Tell `length` bytes of it to who listens to `group` of nfnetlink_log."""
    return _expression("log", attribute(1, struct.pack("!H", group)), number(3, length))


def _expression(name: str, *parts: bytes) -> bytes:
    """`parts` have the numbers of the header's NFTA_NAME_… for the expression `name`."""
    return text(1, name) + nest(2, *parts)


def _meta(what: int, register: int = _REG_1) -> bytes:
    return _expression("meta", number(2, what), number(1, register))


def _fib(flags: int) -> bytes:
    return _expression("fib", number(1, _REG_1), number(2, _FIB_ADDRTYPE), number(3, flags))


def _payload(base: int, offset: int, length: int, register: int = _REG_1) -> bytes:
    return _expression(
        "payload", number(1, register), number(2, base), number(3, offset), number(4, length)
    )


def _compare(value: bytes, operator: int = _EQ) -> bytes:
    return _expression("cmp", number(1, _REG_1), number(2, operator), nest(3, attribute(1, value)))


def _lookup(name: str, register: int = _REG_1) -> bytes:
    return _expression("lookup", text(1, name), number(2, register))


def _bits(what: int, mask: int) -> Match:
    return [
        _expression("ct", number(2, what), number(1, _REG_1)),
        _masked(struct.pack("I", mask)),
        _compare(bytes(4), _NEQ),
    ]


def _masked(mask: bytes) -> bytes:
    none = attribute(1, bytes(len(mask)))
    return _expression(
        "bitwise", number(1, _REG_1), number(2, _REG_1), number(3, len(mask)),
        nest(4, attribute(1, mask)), nest(5, none),
    )  # fmt: skip
