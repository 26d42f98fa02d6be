"""`--subnet`, `--gateway`, `--ip-range`, `--aux-address`: each put to the subnet it lies in."""

from __future__ import annotations

import ipaddress

from wherry.cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Arguments

    Net = ipaddress.IPv4Network | ipaddress.IPv6Network


def describe_ipam(arguments: Arguments) -> dict[str, Any]:
    """`IPAM` of the network to be made. Raises `UsageError`."""
    subnets = _Subnets(arguments.many("subnet"))
    if len(subnets.entries) < max(len(arguments.many(flag)) for flag in ("gateway", "ip-range")):
        raise UsageError("each --gateway and --ip-range needs a --subnet that it lies in")
    for flag, field in (("ip-range", "IPRange"), ("gateway", "Gateway")):
        for text in arguments.many(flag):
            entry = subnets.around(f"--{flag}", text, text)
            if field in entry:
                given = f"{entry[field]} and {text}"
                raise UsageError(f"two of --{flag} for one subnet: {given}")
            entry[field] = text
    for text in arguments.many("aux-address"):
        name, equals, address = text.partition("=")
        if not equals or not name:
            raise _invalid("--aux-address", text, "write NAME=ADDRESS")
        entry = subnets.around("--aux-address", text, address)
        entry.setdefault("AuxiliaryAddresses", {})[name] = address
    options = (text.partition("=") for text in arguments.many("ipam-opt"))
    return {
        "Driver": arguments.text("ipam-driver"),
        "Options": {name: value for name, _, value in options},
        "Config": subnets.entries,
    }


class _Subnets:
    """The subnets of a network; `entries` is what the API is told of each, as typed."""

    def __init__(self, texts: list[str]) -> None:
        self._nets: list[Net] = []
        self.entries: list[dict[str, Any]] = []
        for text in texts:
            net = _net("--subnet", text, text)
            for known, entry in zip(self._nets, self.entries, strict=True):
                if known.overlaps(net):
                    both = f"{entry['Subnet']} and {text}"
                    raise UsageError(f"the subnets {both} overlap")
            self._nets.append(net)
            self.entries.append({"Subnet": text})

    def around(self, flag: str, text: str, part: str) -> dict[str, Any]:
        """The entry of the subnet in which `part`, an address or a range, lies."""
        inner = _net(flag, text, part)
        for net, entry in zip(self._nets, self.entries, strict=True):
            if net.overlaps(inner) and net.prefixlen <= inner.prefixlen:
                return entry
        raise _invalid(flag, text, "it lies in no --subnet")


def _net(flag: str, text: str, part: str) -> Net:
    """A subnet; an address is one of itself alone."""
    address = flag in ("--gateway", "--aux-address")
    try:
        if address == ("/" in part):
            raise ValueError(part)
        return ipaddress.ip_network(part, strict=False)
    except ValueError:
        example = "172.28.0.1" if address else "172.28.0.0/16"
        raise _invalid(flag, text, f"write it like {example}") from None


def _invalid(flag: str, text: str, reason: str) -> UsageError:
    return UsageError(f'invalid argument "{text}" for "{flag}": {reason}')
