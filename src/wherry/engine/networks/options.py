"""The options of Docker's bridge driver: what people write, checked, and what it means."""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import NamedTuple

from wherry.engine.errors import InvalidRequest

_BRIDGE = "com.docker.network.bridge."
DEFAULT_BRIDGE = f"{_BRIDGE}default_bridge"
NAME = f"{_BRIDGE}name"
_ICC = f"{_BRIDGE}enable_icc"
_MASQUERADE = f"{_BRIDGE}enable_ip_masquerade"
_HOST_BINDING = f"{_BRIDGE}host_binding_ipv4"
_GATEWAY_MODES = (f"{_BRIDGE}gateway_mode_ipv4", f"{_BRIDGE}gateway_mode_ipv6")
MTU = "com.docker.network.driver.mtu"
_PREFIX = "com.docker.network.container_iface_prefix"

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_LONGEST_NAME = 15
_INTERFACE = re.compile(r"[^\s/:]+")
_MAX_MTU = 65535


class BridgeOptions(NamedTuple):
    """What a bridge network is to be like."""

    name: str = ""
    """Of the interface; empty is one of the engine's choice."""
    icc: bool = True
    """Containers of the network reach each other."""
    masquerade: bool = True
    mtu: int = 0
    """0 is that of the way out."""
    host_binding: str = ""
    """The host's address of published ports that name none."""
    prefix: str = "eth"
    """Of the interfaces in containers."""


def parse_options(options: Mapping[str, str]) -> BridgeOptions:
    """Options that are not known are kept and do nothing, as in Docker. Raises InvalidRequest."""
    for mode in _GATEWAY_MODES:
        if options.get(mode, "nat") not in ("", "nat"):
            raise InvalidRequest(f"{mode}={options[mode]} is not supported: there is only nat")
    name, prefix = options.get(NAME, ""), options.get(_PREFIX) or "eth"
    for word, room in ((name, _LONGEST_NAME), (prefix, _LONGEST_NAME - 3)):
        if word and (len(word) > room or not _INTERFACE.fullmatch(word) or word in (".", "..")):
            raise InvalidRequest(f"invalid interface name {word[:80]!r}: at most {room} letters")
    return BridgeOptions(
        name=name,
        icc=_boolean(options, _ICC),
        masquerade=_boolean(options, _MASQUERADE),
        mtu=_mtu(options.get(MTU, "")),
        host_binding=_address(options.get(_HOST_BINDING, "")),
        prefix=prefix,
    )


def _boolean(options: Mapping[str, str], key: str) -> bool:
    text = options.get(key, "true")
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise InvalidRequest(f"failed to parse {key} value: {text} (it is true or false)")


def _mtu(text: str) -> int:
    if not text:
        return 0
    try:
        number = int(text)
    except ValueError:
        raise InvalidRequest(f"failed to parse {MTU} value: {text} (it is a number)") from None
    if not 0 <= number <= _MAX_MTU:
        raise InvalidRequest(f"invalid MTU number: {text}")
    return number


def _address(text: str) -> str:
    try:
        return str(ip_address(text)) if text else ""
    except ValueError:
        raise InvalidRequest(
            f"failed to parse {_HOST_BINDING} value: {text} (it is an address)"
        ) from None
