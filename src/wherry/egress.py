"""What a container may reach: the rules of the label `io.wherry.egress`, and nothing that does I/O.

    db:3306, *.example.com:443, 10.1.0.0/16:5000-5999, [2001:db8::/32]:443, *:123

Each rule is a host and, after a colon, a port, a range of ports or `*`; without a port it is any. A
host is a name, `*.` and a domain for all names beneath that domain (not itself), an address, a
network, or `*`. Rules hold for TCP and UDP alike. What no rule allows is denied, names as well: a
query is a way out, too. So no rule at all (an empty label) denies everything.

A name allows the addresses that it led to when this container looked it up, by a resolver that is
ours, and only on the ports of its rules. A name never leads to the container itself or to its
neighbours on the link (loopback, 169.254.0.0/16 with its cloud metadata, …), whoever owns the name:
those want a rule with the address, or the name `localhost`.
"""

import contextlib
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Self

from wherry.ports import LAST, parse_range

LABEL = "io.wherry.egress"
"""The label of a container, and the annotation of its bundle."""

_MAX_TEXT = 16 << 10
_MAX_RULES = 256
_MAX_NAME = 253
_MAX_ADDRESSES = 4096
"""Addresses of names that are remembered: those looked up longest ago are forgotten first."""

_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")
_EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_NEIGHBOURS = frozenset(
    map(
        ip_address,
        ("255.255.255.255", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"),
    )
)
"""Broadcast, and where clouds (Alibaba, Oracle, AWS, Google) have their metadata beside 169.254."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: a name or networks, and the ports there."""

    name: str
    """In lower case and ASCII; `*.` in front stands for what is beneath, `*` for every name. Empty
    if the rule is about addresses."""
    networks: tuple[Network, ...]
    """Allowed without any name."""
    first: int
    last: int
    """The ports, both inclusive."""

    def names(self, name: str) -> bool:
        """Whether the rule is about `name`, which is in canonical form."""
        if self.name.startswith("*"):
            return name.endswith(self.name[1:])
        return bool(name) and name == self.name


class Egress:
    """The rules of one container, and what its names led to."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._known: dict[Address, tuple[str, frozenset[Rule]]] = {}

    @classmethod
    def parse(cls, text: str) -> Self:
        """The rules written in `text`. Raises ValueError with one line for people."""
        if len(text) > _MAX_TEXT:
            raise ValueError(f"egress rules are longer than {_MAX_TEXT} characters")
        words = [word for word in text.replace(",", " ").split() if word]
        if len(words) > _MAX_RULES:
            raise ValueError(f"{len(words)} egress rules are more than {_MAX_RULES}")
        return cls(map(_parse_rule, words))

    def permits(self, name: str) -> bool:
        """Whether `name` may be looked up. An address written out leads nowhere: it may."""
        return _is_address(name) or bool(self.rules_of(name))

    def rules_of(self, name: str) -> frozenset[Rule]:
        """The rules that are about `name`."""
        name = canonical(name)
        return frozenset(rule for rule in self.rules if rule.names(name))

    def looked_up(self, name: str, addresses: Iterable[str]) -> list[str]:
        """Remember what a name led to; returns those addresses that may be told.

        Only for answers of our own resolver to this container.
        """
        if _is_address(name):
            return list(addresses)
        rules = self.rules_of(name)
        if not rules:
            return []
        name, allowed = canonical(name), []
        for written in addresses:
            address = _address(written)
            if address is None or not _may_be_named(address, name):
                continue
            _, before = self._known.pop(address, ("", frozenset[Rule]()))
            self._known[address] = (name, before | rules)
            allowed.append(written)
        while len(self._known) > _MAX_ADDRESSES:
            del self._known[next(iter(self._known))]
        return allowed

    def allows(self, address: str, port: int) -> bool:
        """Whether the container may send to `port` of `address`."""
        at = _address(address)
        if at is None:
            return False
        _, named = self._known.get(at, ("", ()))
        return any(rule.first <= port <= rule.last for rule in named) or any(
            rule.first <= port <= rule.last and at in network
            for rule in self.rules
            for network in rule.networks
        )

    def target(self, address: str, port: int) -> str:
        """`address` and `port` for a message, with the name that led there if one did."""
        at = _address(address)
        if at is None:
            return f"{address[:80]!r}, port {port}"
        shown = f"[{at}]:{port}" if at.version == 6 else f"{at}:{port}"
        name, _ = self._known.get(at, ("", ()))
        return f"{shown} ({name})" if name else shown


class Denials:
    """Says which denials are told, so that a guest that tries for ever fills no log."""

    PERIOD = 60.0
    """Seconds in which a target is told once, and all targets together `BURST` times."""
    BURST = 20

    def __init__(self) -> None:
        self._began = float("-inf")
        self._told: set[str] = set()
        self._untold = 0

    def tell(self, target: str, now: float) -> str:
        """One line without its end about a denial of `target` at `now` seconds; empty for none."""
        more = ""
        if now - self._began >= self.PERIOD:
            more = f" ({self._untold} more denials before it)" if self._untold else ""
            self._began, self._untold = now, 0
            self._told.clear()
        if target in self._told or len(self._told) >= self.BURST:
            self._untold += 1
            return ""
        self._told.add(target)
        return f"wherry: egress to {_printable(target)} denied: no rule of {LABEL} allows it{more}"


def canonical(name: str) -> str:
    """A name as it is compared: lower case, without the dot at its end. Empty if it is none."""
    name = name[:-1] if name.endswith(".") else name
    return name.lower() if name.isascii() and len(name) <= _MAX_NAME else ""


def _parse_rule(word: str) -> Rule:
    try:
        host, ports = _split(word)
        first, last = _parse_ports(ports)
        if host == "*":
            return Rule("*", _EVERYTHING, first, last)
        if (network := _network(host)) is not None:
            return Rule("", (network,), first, last)
        return Rule(_parse_name(host), (), first, last)
    except ValueError as error:
        raise ValueError(f"egress rule {word[:80]!r}: {error}") from None


def _split(word: str) -> tuple[str, str]:
    """Host and port of a rule; the port is `*` if there is none."""
    if "://" in word:
        raise ValueError("expected HOST:PORT, not a URL")
    if word.startswith("["):
        host, bracket, rest = word[1:].partition("]")
        # [2001:db8::]/32 and [2001:db8::/32] are the same.
        length, colon, ports = rest.partition(":")
        if not bracket or (length and not length.startswith("/")):
            raise ValueError("expected [ADDRESS]:PORT")
        if _network(host + length) is None:
            raise ValueError("within brackets an address of IPv6 is expected")
        host += length
    elif word.count(":") > 1:
        host, colon, ports = word, "", ""
        if _network(word) is None:
            raise ValueError("an address of IPv6 with a port is written [ADDRESS]:PORT")
    else:
        host, colon, ports = word.partition(":")
    if colon and not ports:
        raise ValueError("a port is missing after the colon")
    return host, ports or "*"


def _parse_ports(text: str) -> tuple[int, int]:
    if text == "*":
        return 1, LAST
    try:
        ports = parse_range(text)
    except ValueError:
        message = f"a port is a number from 1 to {LAST}, a range like 5000-5999, or *"
        raise ValueError(message) from None
    return ports[0], ports[-1]


def _parse_name(host: str) -> str:
    domain = host.removeprefix("*.")
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode()
        except UnicodeError:
            raise ValueError("its name has no form in ASCII (IDNA)") from None
    domain = canonical(domain)
    labels = domain.split(".")
    if "*" in domain:
        raise ValueError("a * stands alone or, followed by a dot, at the beginning of a name")
    if not _NAME.issuperset(domain) or not all(0 < len(label) <= 63 for label in labels):
        raise ValueError("it names no host: expected a name, an address or *")
    if _ends_in_number(labels[-1]):
        # A resolver would take 127.1 or 0x7f.1 for an address.
        raise ValueError("it is neither a name nor an address in its usual form")
    return f"*.{domain}" if host.startswith("*.") else domain


def _ends_in_number(label: str) -> bool:
    if label.startswith("0x"):
        return all(digit in "0123456789abcdef" for digit in label[2:])
    return _is_number(label)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10


def _network(text: str) -> Network | None:
    if not text[:1].isalnum() and not text.startswith(":"):
        return None
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        if "/" in text:
            raise ValueError("it names no network: expected ADDRESS/LENGTH") from None
        return None
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - 96), strict=False)
    return network


def _address(text: str) -> Address | None:
    """The address that packets for `text` go to: Linux takes 0.0.0.0 for the host itself."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_unspecified:
        return ip_address("127.0.0.1" if address.version == 4 else "::1")
    return address


def _may_be_named(address: Address, name: str) -> bool:
    if address.is_loopback:
        return name == "localhost" or name.endswith(".localhost")
    return not (address.is_link_local or address.is_multicast or address in _NEIGHBOURS)


def _is_address(name: str) -> bool:
    """Whether a resolver takes it for an address without asking anyone."""
    forms = ((socket.AF_INET, name), (socket.AF_INET6, name.partition("%")[0]))
    for family, text in forms:
        with contextlib.suppress(OSError, ValueError):
            socket.inet_pton(family, text)
            return True
    return False


def _printable(text: str) -> str:
    """Safe on a terminal: a target may be a name out of a guest's memory."""
    return text if text.isprintable() and len(text) <= 300 else ascii(text[:300])
