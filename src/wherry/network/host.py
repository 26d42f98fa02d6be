"""Which networks the host is in, as the kernel tells everybody: cheap, and without netlink."""

import ipaddress
from collections.abc import Iterator
from pathlib import Path

from wherry.network.addresses import IPNetwork

_ROUTE_UP = 0x1
_ROUTE_REJECT = 0x0200
_MAX_LINES = 1 << 16


def networks() -> list[IPNetwork]:
    """The networks that this namespace has routes to, without default routes."""
    found: list[IPNetwork] = list(_parse4(_read("/proc/self/net/route")))
    found += _parse6(_read("/proc/self/net/ipv6_route"))
    return [network for network in found if network.prefixlen > 0]


def _read(path: str) -> list[str]:
    try:
        with Path(path).open() as lines:
            return [line for line, _ in zip(lines, range(_MAX_LINES), strict=False)]
    except OSError:  # no IPv6, say
        return []


def _parse4(lines: list[str]) -> Iterator[ipaddress.IPv4Network]:
    """Lines like `eth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0`: destination, flags, mask."""
    for line in lines[1:]:
        words = line.split()
        if len(words) > 7 and int(words[3], 16) & _ROUTE_UP:
            # Of the host's byte order, which is little on all that wherry runs on.
            address, mask = (int(words[at], 16).to_bytes(4, "little") for at in (1, 7))
            length = int.from_bytes(mask).bit_count()
            yield ipaddress.IPv4Network((address, length), strict=False)


def _parse6(lines: list[str]) -> Iterator[ipaddress.IPv6Network]:
    """Lines that begin with destination and length in hexadecimal; flags before the interface."""
    for line in lines:
        words = line.split()
        if len(words) > 9 and not int(words[8], 16) & _ROUTE_REJECT and words[9] != "lo":
            network = ipaddress.IPv6Network(
                (bytes.fromhex(words[0]), int(words[1], 16)), strict=False
            )
            if not network.is_link_local and not network.is_multicast:
                yield network
