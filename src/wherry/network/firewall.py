"""The rules around bridges: one table `wherry`, in the namespace that the bridges are in.

    # who may be reached
    forward:      established and related: accept
                  within one network (seen here where bridges are filtered, by Docker): accept
                  from or to an internal network: reject
                  to a published port: accept
                  to any of our networks, from another one or from outside: reject
    input:        from an internal network to other addresses than its gateway: reject
    # published ports, for other than loopback addresses
    prerouting, output:  to an address of this host: dnat by the maps `published…`
    # the way out
    postrouting:  from a network to its own published port: masquerade, or the answer goes astray
                  from a network to elsewhere: masquerade if it wants that

The rules stay as they are; what networks and ports there are is in sets, whose elements come and
go one by one. Nobody else's table is touched (but see `wherry.network.foreign`).
"""

import errno
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network

from wherry.network import expressions as nft
from wherry.network.model import Network, Publication, Sandbox
from wherry.network.netfilter import (
    NF_ACCEPT,
    NF_INET_FORWARD,
    NF_INET_LOCAL_IN,
    NF_INET_LOCAL_OUT,
    NF_INET_POST_ROUTING,
    NF_INET_PRE_ROUTING,
    NFT_JUMP,
    NFT_RETURN,
    Netfilter,
    Transaction,
    ifname,
    key,
)
from wherry.pids import process_start

TABLE = "wherry"

_FILTER, _DSTNAT, _SRCNAT = 0, -100, 100
_SETS = {
    "bridges": "ifname",
    "internal": "ifname",
    "masquerading": "ifname",
    "within": "ifname . ifname",
}
_PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": 132}
_IPPROTO_ICMPV6 = 58
_VERSIONS = {4: "ipv4_addr", 6: "ipv6_addr"}


@dataclass(frozen=True, slots=True)
class Forwarding:
    """A published port of the host that is forwarded to a container."""

    protocol: str
    """One that `_PROTOCOLS` knows: "tcp", "udp", "sctp"."""
    host_address: str
    """The host's address; unspecified for all of its family."""
    host_port: int
    address: str
    """The container's, of the same family."""
    port: int

    @property
    def entry(self) -> tuple[str, bytes, bytes]:
        """The map it belongs to, its key there, and the value. Raises ValueError."""
        host, container = ip_address(self.host_address), ip_address(self.address)
        if host.version != container.version:
            raise ValueError(f"{self.host_address} is forwarded to no {self.address}")
        at = [] if host.is_unspecified else [host.packed]
        number = bytes([_PROTOCOLS[self.protocol]])
        name = f"published{host.version}{'_at' if at else ''}"
        wanted = key(*at, number, struct.pack("!H", self.host_port))
        return name, wanted, key(container.packed, struct.pack("!H", self.port))


def forwardings_of(publication: Publication, sandbox: Sandbox) -> list[Forwarding]:
    """What the kernel is to forward for a publication; nothing from loopback addresses."""
    host = ip_address(publication.host_ip or "0.0.0.0")  # noqa: S104
    if host.is_loopback or publication.protocol not in _PROTOCOLS:
        return []
    for attachment in sorted(sandbox.attachments, key=lambda each: not each.default_route):
        for text in attachment.addresses:
            address = ip_interface(text).ip
            if address.version == host.version and not attachment.network.internal:
                return [
                    Forwarding(
                        publication.protocol, str(host), publication.host_port,
                        str(address), publication.container_port,
                    )
                ]  # fmt: skip
    return []


class Firewall:
    """The table `wherry` of the namespace that `netfilter` was opened in. All raise OSError."""

    def __init__(self, netfilter: Netfilter) -> None:
        self._netfilter = netfilter

    def prepare(self) -> None:
        """Have the table there with this version's rules, and what is in its sets left alone."""
        try:
            self._netfilter.commit(_rules(Transaction(TABLE)))
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.EINVAL, errno.EBUSY, errno.EOPNOTSUPP):
                raise
            # Another version's sets: its elements come again with the containers.
            fresh = Transaction(TABLE)
            fresh.add_table()
            fresh.delete_table()
            self._netfilter.commit(_rules(fresh))

    def add_network(self, network: Network) -> None:
        """Have the rules hold for a bridge; whatever held before for one of that name is over."""
        name = ifname(network.bridge)
        change = self._without_subnets(name)
        for subnet in map(ip_network, (each.subnet for each in network.subnets)):
            first, last = (each.packed for each in (subnet[0], subnet[-1]))
            change.add_element(f"subnets{subnet.version}", key(first, name), end=key(last, name))
        change.add_element("bridges", name)
        change.add_element("within", key(name, name))
        masquerade = network.masquerade and not network.internal
        for member, wanted in (("internal", network.internal), ("masquerading", masquerade)):
            if wanted:
                change.add_element(member, name)
            else:
                change.discard_element(member, name)
        try:
            self._netfilter.commit(change)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            # Another engine has left, and removed the table that both had.
            self.prepare()
            self._netfilter.commit(change)

    def remove_network(self, bridge: str) -> None:
        """Forget a bridge, which need not be known."""
        name = ifname(bridge)
        change = self._without_subnets(name)
        for member in ("bridges", "internal", "masquerading"):
            change.discard_element(member, name)
        change.discard_element("within", key(name, name))
        self._netfilter.commit(change)

    def networks(self) -> set[str]:
        """The bridges that are known."""
        found = self._netfilter.elements(TABLE, "bridges")
        return {element.key.rstrip(b"\0").decode(errors="replace") for element in found}

    def publish(self, forwarding: Forwarding, pid: int) -> None:
        """Forward a port of the host for as long as the process `pid` lives (see `sweep`)."""
        name, wanted, value = forwarding.entry
        note = f"{pid} {process_start(pid)}".encode()
        change = Transaction(TABLE)
        change.add_element(name, wanted, value, note=note, only_new=True)
        try:
            self._netfilter.commit(change)
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
            change = Transaction(TABLE)
            change.delete_element(name, wanted)
            change.add_element(name, wanted, value, note=note)
            self._netfilter.commit(change)

    def withdraw(self, forwarding: Forwarding) -> None:
        """Forward a port no more; it need not have been."""
        name, wanted, _ = forwarding.entry
        self._delete(name, wanted)

    def sweep(self) -> None:
        """Withdraw the ports of processes that ended while nobody looked."""
        for family in _VERSIONS:
            for name in (f"published{family}", f"published{family}_at"):
                for element in self._netfilter.elements(TABLE, name):
                    pid, _, start = element.note.decode(errors="replace").partition(" ")
                    if not (pid.isdecimal() and start and process_start(int(pid)) == start):
                        self._delete(name, element.key)

    def remove(self) -> None:
        """Delete the table."""
        change = Transaction(TABLE)
        change.add_table()
        change.delete_table()
        self._netfilter.commit(change)

    def _without_subnets(self, bridge: bytes) -> Transaction:
        """The beginning of a change: a bridge's subnets are forgotten."""
        change = Transaction(TABLE)
        for family in _VERSIONS:
            for element in self._netfilter.elements(TABLE, f"subnets{family}"):
                if element.key.endswith(bridge):
                    change.delete_element(f"subnets{family}", element.key, end=element.end)
        return change

    def _delete(self, name: str, wanted: bytes) -> None:
        change = Transaction(TABLE)
        change.delete_element(name, wanted)
        try:
            self._netfilter.commit(change)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise


def _rules(change: Transaction) -> Transaction:
    """Everything that is the same wherever wherry has networks."""
    change.add_table()
    for name, types in _SETS.items():
        change.add_set(name, types)
    for family, address in _VERSIONS.items():
        to = f"{address} . inet_service"
        change.add_set(f"subnets{family}", f"{address} . ifname", ranges=True)
        change.add_set(f"published{family}", "inet_proto . inet_service", to)
        change.add_set(f"published{family}_at", f"{address} . inet_proto . inet_service", to)
    accept, reject = nft.decide(NF_ACCEPT), nft.reject_host()

    change.add_chain("forward", ("filter", NF_INET_FORWARD, _FILTER))
    change.add_rule("forward", *nft.established(), accept)
    change.add_rule("forward", *nft.interfaces_in("within"), accept)
    change.add_rule("forward", *nft.iifname_in("internal"), reject)
    change.add_rule("forward", *nft.oifname_in("internal"), reject)
    change.add_rule("forward", *nft.translated(), accept)
    change.add_rule("forward", *nft.oifname_in("bridges"), reject)

    change.add_chain("input", ("filter", NF_INET_LOCAL_IN, _FILTER))
    change.add_rule("input", *nft.established(), accept)
    # Neighbours are found by multicast.
    change.add_rule("input", *nft.protocol(_IPPROTO_ICMPV6), accept)
    other = nft.to_other_than_its_interface()
    change.add_rule("input", *nft.iifname_in("internal"), *other, reject)

    change.add_chain("published")
    for family in _VERSIONS:
        for name, by_address in ((f"published{family}_at", True), (f"published{family}", False)):
            change.add_rule("published", *nft.dnat(name, family, by_address=by_address))
    to_published = [*nft.to_local(), nft.decide(NFT_JUMP, "published")]
    change.add_chain("prerouting", ("nat", NF_INET_PRE_ROUTING, _DSTNAT))
    change.add_rule("prerouting", *to_published)
    change.add_chain("output", ("nat", NF_INET_LOCAL_OUT, _DSTNAT))
    # What is sent from 127.0.0.1 may not leave by another interface: those ports are proxied.
    for loopback in ("127.0.0.0/8", "::1/128"):
        match = nft.destination(ip_network(loopback))
        change.add_rule("output", *match, nft.decide(NFT_RETURN))
    change.add_rule("output", *to_published)

    change.add_chain("postrouting", ("nat", NF_INET_POST_ROUTING, _SRCNAT))
    for family in _VERSIONS:
        back = [*nft.source_and_oifname_in(f"subnets{family}", family), *nft.translated()]
        change.add_rule("postrouting", *back, nft.masquerade())
    change.add_rule("postrouting", *nft.interfaces_in("within"), accept)
    change.add_rule("postrouting", *nft.iifname_in("masquerading"), nft.masquerade())
    return change
