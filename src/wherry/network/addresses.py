"""Which subnets and addresses networks and containers get: decisions only, nothing here does I/O.

What is taken is given by the caller: routes and addresses of the host (`wherry.network.host`), the
subnets of networks that exist, the addresses of containers.
"""

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator

import msgspec

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_POOLS = (
    # As Docker has them, so that people find what they know.
    *((f"172.{number}.0.0/16", 16) for number in range(17, 32)),
    ("192.168.0.0/16", 20),
    # Where a host's own network takes all of those.
    ("10.64.0.0/10", 24),
)
"""Where subnets come from: a block, and the prefix length of the subnets made of it."""

_UNIQUE_LOCAL = 0xFD << 120
_LONGEST = {4: 30, 6: 126}
"""Longer prefixes leave no room for a gateway and a container."""
_MAX_TRIES = 1 << 16


class AddressError(ValueError):
    """A subnet or an address that cannot be had. One line that says which and why."""


class Pool(msgspec.Struct, frozen=True):
    """A network's subnet: where its gateway is, and out of which part containers get addresses."""

    subnet: IPNetwork
    gateway: Address
    part: IPNetwork
    """All of `subnet`, or what was given as its range."""

    def assignable(self) -> Iterator[Address]:
        """Addresses for containers, lowest first."""
        first, last = int(self.part.network_address), int(self.part.broadcast_address)
        # The first names the network (IPv4) or all its routers (IPv6), the last is for all hosts.
        lowest = int(self.subnet.network_address) + 1
        highest = int(self.subnet.broadcast_address) - (self.subnet.version == 4)
        kind = type(self.gateway)
        for number in range(max(first, lowest), min(last, highest) + 1):
            if number != int(self.gateway):
                yield kind(number)

    def is_assignable(self, address: Address) -> bool:
        """Whether a container may have it if that is what a person wants: outside the part, too."""
        own = _unusable(self.subnet) | {self.gateway}
        return address in self.subnet and address not in own


def parse_pool(subnet: str, gateway: str = "", ip_range: str = "") -> Pool:
    """A pool as a person describes it; the gateway is the first address if none is given.

    Raises AddressError.
    """
    whole = _parse_subnet(subnet, "subnet")
    if whole.prefixlen > _LONGEST[whole.version]:
        raise AddressError(f"subnet {whole} has no room for a gateway and a container")
    if whole.is_loopback or whole.is_multicast or whole.is_unspecified:
        raise AddressError(f"subnet {whole} is not for networks: take one of 172.16.0.0/12, say")
    part = _parse_subnet(ip_range, "ip-range") if ip_range else whole
    if not _within(part, whole):
        raise AddressError(f"ip-range {part} is not within subnet {whole}")
    if gateway:
        at = parse_address(gateway)
        if at not in whole or at in _unusable(whole):
            raise AddressError(f"gateway {at} is no host's address within subnet {whole}")
    else:
        at = whole.network_address + 1
    return Pool(whole, at, part)


def parse_address(text: str) -> Address:
    """Raises AddressError."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise AddressError(f"{text[:60]!r} is no IP address") from None


def choose_subnet(taken: Iterable[IPNetwork]) -> ipaddress.IPv4Network:
    """A subnet of IPv4 that overlaps nothing `taken` (default routes do not count).

    Raises AddressError if there is none.
    """
    used = [each for each in taken if each.version == 4 and each.prefixlen > 0]
    for block, length in _POOLS:
        for subnet in ipaddress.IPv4Network(block).subnets(new_prefix=length):
            if not any(subnet.overlaps(each) for each in used):
                return subnet
    raise AddressError(
        "no subnet is free of the host's routes and other networks: name one with --subnet"
    )


def choose_subnet6(name: str, taken: Iterable[IPNetwork]) -> ipaddress.IPv6Network:
    """A unique local subnet (RFC 4193) made from `name`, free of what is `taken`.

    Raises AddressError if there is none.
    """
    used = [each for each in taken if each.version == 6 and each.prefixlen > 0]
    for attempt in range(64):
        digest = hashlib.sha256(f"{name}\0{attempt}".encode()).digest()
        number = _UNIQUE_LOCAL | int.from_bytes(digest[:7]) << 64
        subnet = ipaddress.IPv6Network((number, 64))
        if not any(subnet.overlaps(each) for each in used):
            return subnet
    raise AddressError("no unique local subnet of IPv6 is free: name one with --subnet")


def choose_address(pool: Pool, taken: Iterable[Address]) -> Address:
    """The lowest free address of a pool. Raises AddressError if all are taken."""
    used = set(taken)
    for number, address in enumerate(pool.assignable()):
        if address not in used:
            return address
        if number >= _MAX_TRIES:
            break
    raise AddressError(f"no address is free in {pool.part}: remove containers, or widen the subnet")


def mac_of(address: Address) -> str:
    """A locally administered MAC that belongs to an address: one network has each only once."""
    packed = address.packed
    tail = packed if len(packed) == 4 else hashlib.sha256(packed).digest()[:4]
    return ":".join(f"{byte:02x}" for byte in b"\x02\x42" + tail)


def parse_mac(text: str) -> str:
    """A MAC that an interface may have, in its usual form. Raises AddressError."""
    parts = text.replace("-", ":").lower().split(":")
    if len(parts) == 6 and all(
        len(part) == 2 and set(part) <= set("0123456789abcdef") for part in parts
    ):
        found = ":".join(parts)
        # The lowest bit of the first byte is for groups.
        if not int(parts[0], 16) & 1 and found != "00:00:00:00:00:00":
            return found
    raise AddressError(f"{text[:60]!r} is no MAC of a single interface: expected 02:42:ac:11:00:02")


def _parse_subnet(text: str, what: str) -> IPNetwork:
    try:
        if "/" not in text:
            raise ValueError
        found = ipaddress.ip_interface(text).network
    except ValueError:
        raise AddressError(f"{what} {text[:60]!r}: expected ADDRESS/LENGTH") from None
    if isinstance(found, ipaddress.IPv6Network) and found.network_address.scope_id:
        raise AddressError(f"{what} {text[:60]!r}: expected no zone")
    return found


def _within(part: IPNetwork, whole: IPNetwork) -> bool:
    if isinstance(part, ipaddress.IPv4Network) and isinstance(whole, ipaddress.IPv4Network):
        return part.subnet_of(whole)
    if isinstance(part, ipaddress.IPv6Network) and isinstance(whole, ipaddress.IPv6Network):
        return part.subnet_of(whole)
    return False


def _unusable(subnet: IPNetwork) -> set[Address]:
    if subnet.version == 4:
        return {subnet.network_address, subnet.broadcast_address}
    return {subnet.network_address}
