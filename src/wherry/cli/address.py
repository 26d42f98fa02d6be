"""Addresses of the network as a person writes them: checked before the engine is asked."""

from __future__ import annotations

import _socket

_HEX = frozenset("0123456789abcdefABCDEF")
_MAC_BYTES = (6, 8, 20)


def is_ipv4(text: str) -> bool:
    """Whether this is an IPv4 address in four decimal parts."""
    return _is(_socket.AF_INET, text)


def is_ipv6(text: str) -> bool:
    """Whether this is an IPv6 address, without brackets and without a zone."""
    return _is(_socket.AF_INET6, text)


def is_ip(text: str) -> bool:
    """Whether this is an address of either kind, as above."""
    return is_ipv4(text) or is_ipv6(text)


def _is(family: int, text: str) -> bool:
    try:
        _socket.inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True


def is_mac(text: str) -> bool:
    """Whether this is a hardware address with two digits a byte: `92:d0:c6:0a:29:33`."""
    parts = text.replace("-", ":").split(":")
    return len(parts) in _MAC_BYTES and all(len(p) == 2 and _HEX.issuperset(p) for p in parts)


def is_domain(text: str) -> bool:
    """Whether this is a name of the DNS: labels of letters, digits and inner dashes."""
    name = text.removesuffix(".")
    return len(text) <= 255 and all(
        0 < len(label) <= 63
        and label.isascii()
        and label.replace("-", "").isalnum()
        and label[0] != "-" != label[-1]
        for label in name.split(".")
    )


def with_port(host: str, port: int | str) -> str:
    """`HOST:PORT`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
