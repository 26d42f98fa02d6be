"""What a container may reach, by rules in its own network namespace.

    output:    to itself (its names are resolved at 127.0.0.11): accept
               established and related: accept
               to neighbours, by which addresses are found: accept
               to what its rules allow: accept
               else: tell (see `denials`) and refuse, by a reset or by "nobody listens"
    datagrams: what is not allowed is told and sent to a port of the container's own at which nobody
               listens. Refused like the rest, `send` would fail at once with EPERM, which no
               program takes for a peer that refuses.

For who cannot be held in the WASI layer. A container has no capability to change rules, whatever it
runs. What names lead to is added when they were looked up, so it is in sets.
"""

import errno
import struct
from ipaddress import ip_address, ip_network

from wherry import ports
from wherry.egress import Egress, Rule
from wherry.network import expressions as nft
from wherry.network.netfilter import (
    NF_ACCEPT,
    NF_INET_LOCAL_OUT,
    NFT_JUMP,
    Netfilter,
    Transaction,
    ifname,
    key,
)

TABLE = "wherry"
LOG_GROUP = 0x7765
"""Of nfnetlink_log, in the container's namespace."""
LOGGED_BYTES = 80
"""Of a denied packet: enough for the headers that say where it was sent."""

_FILTER, _DSTNAT = 0, -100
_NOBODYS_PORT = 1
_TCP, _UDP, _ICMPV6 = 6, 17, 58
_NEIGHBOURS = (133, 137)
"""Types of ICMPv6: solicitations and advertisements of routers and neighbours, redirects."""
_LISTENERS = 143
"""Type of ICMPv6: which multicast a host listens to."""


class Fence:
    """The rules of the namespace that `netfilter` was opened in. All raise OSError."""

    def __init__(self, netfilter: Netfilter) -> None:
        self._netfilter = netfilter

    def put_up(self, egress: Egress) -> bool:
        """Deny all but what `egress` allows by address; what was allowed by name stays allowed.

        False if denials are not told, because this kernel has no nfnetlink_log.
        """
        try:
            self._netfilter.commit(_rules(egress.rules, log=True))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            self._netfilter.commit(_rules(egress.rules, log=False))
            return False
        return True

    def allow(self, address: str, first: int, last: int) -> None:
        """Let the container send to ports `first` to `last` of an address, by TCP and UDP."""
        at = ip_address(address)
        change = Transaction(TABLE)
        if (first, last) == (1, ports.LAST):
            change.add_element(f"addresses{at.version}", at.packed)
        elif first == last:
            change.add_element(f"targets{at.version}", key(at.packed, struct.pack("!H", first)))
        else:
            match = [*nft.destination(ip_network(at)), *nft.ports(first, last)]
            change.add_rule("named", *match, nft.decide(NF_ACCEPT))
        self._netfilter.commit(change)

    def take_down(self) -> None:
        """Deny nothing any more."""
        change = Transaction(TABLE)
        change.add_table()
        change.delete_table()
        self._netfilter.commit(change)


def _rules(rules: tuple[Rule, ...], *, log: bool) -> Transaction:
    accept = nft.decide(NF_ACCEPT)
    change = Transaction(TABLE)
    change.add_table()
    for family, address in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        change.add_set(f"addresses{family}", address)
        change.add_set(f"targets{family}", f"{address} . inet_service")
    change.add_chain("named", keep=True)
    # Only TCP and UDP come here, whose ports are at the same place.
    change.add_chain("allowed")
    for family in (4, 6):
        change.add_rule("allowed", *nft.destination_in(f"addresses{family}", family), accept)
        match = nft.destination_and_port_in(f"targets{family}", family)
        change.add_rule("allowed", *match, accept)
    for rule in rules:
        for network in rule.networks:
            match = [*nft.destination(network), *nft.ports(rule.first, rule.last)]
            change.add_rule("allowed", *match, accept)
    change.add_rule("allowed", nft.decide(NFT_JUMP, "named"))

    udp = nft.protocol(_UDP)
    change.add_chain("datagrams", ("nat", NF_INET_LOCAL_OUT, _DSTNAT))
    change.add_rule("datagrams", *nft.oifname(ifname("lo")), accept)
    change.add_rule("datagrams", *udp, nft.decide(NFT_JUMP, "allowed"))
    if log:
        change.add_rule("datagrams", *udp, nft.log(LOG_GROUP, LOGGED_BYTES))
    change.add_rule("datagrams", *udp, *nft.redirect(_NOBODYS_PORT))

    change.add_chain("output", ("filter", NF_INET_LOCAL_OUT, _FILTER))
    change.add_rule("output", *nft.oifname(ifname("lo")), accept)
    change.add_rule("output", *nft.established(), accept)
    change.add_rule("output", *nft.translated(), accept)
    for first, last in (_NEIGHBOURS, (_LISTENERS, _LISTENERS)):
        match = [*nft.protocol(_ICMPV6), *nft.icmp_type(first, last)]
        change.add_rule("output", *match, accept)
    for protocol in (_TCP, _UDP):
        match = nft.protocol(protocol)
        change.add_rule("output", *match, nft.decide(NFT_JUMP, "allowed"))
    if log:
        change.add_rule("output", nft.log(LOG_GROUP, LOGGED_BYTES))
    change.add_rule("output", *nft.protocol(_TCP), nft.reject_tcp())
    change.add_rule("output", nft.reject_port())
    return change
