"""Bridges: one interface for each network, in the namespace that all of them are in."""

import errno
import ipaddress
import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from wherry.network import foreign
from wherry.network.addresses import mac_of
from wherry.network.firewall import Firewall
from wherry.network.model import Network
from wherry.network.namespaces import get_sysctl, set_sysctl

_log = logging.getLogger(__name__)

_ALIAS = "wherry network "
"""In front of the network's id: by the alias of its interface (`ip link`) a bridge is known."""
_IFA_F_NODAD = 0x02
_IFF_UP = 0x1
_RT_SCOPE_UNIVERSE = 0
_USUAL_MTU = 1500
_ROUTER_ACCEPTS = 2
"""accept_ra for who forwards and yet has its own routes by advertisement."""


class Bridges:
    """The bridges of the namespace in which `links` and `firewall` were opened.

    If that is the host's (`host`), others may have rules there, too (`wherry.network.foreign`).
    To be used by a thread that is in it. All raise OSError, NetlinkError.
    """

    def __init__(self, links: IPRoute, firewall: Firewall, *, host: bool) -> None:
        self._host = host
        self._links = links
        self._firewall = firewall
        self._made: dict[str, tuple[Network, int, int]] = {}

    def ensure(self, network: Network) -> tuple[int, int]:
        """Have a network's bridge be there as it is described: its index, and its MTU in bytes."""
        known = self._made.get(network.id)
        if known is not None and known[0] == network:
            return known[1:]
        mtu = network.mtu or self._way_out_mtu()
        index = self._add(network, mtu)
        self._prepare(network)
        self._address(network, index)
        self._firewall.add_network(network)
        _forward(network)
        if self._host and (warning := foreign.admit(network.bridge)):
            _log.warning("%s", warning)
        self._links.link("set", index=index, state="up", ifalias=f"{_ALIAS}{network.id}")
        self._made[network.id] = (network, index, mtu)
        return index, mtu

    def forget(self, network: str) -> None:
        """Look again, at the next `ensure`, whether the bridge is as it should be."""
        self._made.pop(network, None)

    def remove(self, network: str) -> None:
        """Remove a network's bridge and its rules, if they are there."""
        self._made.pop(network, None)
        links = list(self._links.link("dump"))
        used = _in_use(links)
        for link in links:
            # Another engine's network may have the same id: its containers stay.
            if link.get("ifalias") == f"{_ALIAS}{network}" and link["index"] not in used:
                self._firewall.remove_network(link.get("ifname"))
                if self._host:
                    foreign.dismiss(link.get("ifname"))
                with suppress(NetlinkError):
                    self._links.link("del", index=link["index"])

    def leave(self) -> None:
        """Remove all bridges at which nobody is, and if that is all, our rules.

        Whoever else has networks here, another engine say, makes them again when it needs them.
        """
        for link in list(self._links.link("dump")):
            if (alias := link.get("ifalias") or "").startswith(_ALIAS):
                self.remove(alias.removeprefix(_ALIAS))
        if not self._firewall.networks():
            self._firewall.remove()

    def _add(self, network: Network, mtu: int) -> int:
        # A MAC that is given stays; else it would change with the containers at the bridge.
        mac = mac_of(ipaddress.ip_address(network.subnets[0].gateway)) if network.subnets else None
        wanted = {"kind": "bridge", "mtu": mtu, "br_mcast_snooping": 0}
        if mac:
            wanted["address"] = mac
        try:
            self._links.link("add", ifname=network.bridge, **wanted)
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise
        (link,) = self._links.link("get", ifname=network.bridge)
        self._refuse_foreign(network, link)
        if link.get("mtu") != mtu:
            self._links.link("set", index=link["index"], mtu=mtu)
        return int(link["index"])

    def _refuse_foreign(self, network: Network, link: Any) -> None:
        """Raises OSError if an interface is somebody else's: it is not to lose its addresses."""
        info = link.get("linkinfo")
        if info is None or info.get("kind") != "bridge":
            raise OSError(errno.EEXIST, f"interface {network.bridge} exists and is no bridge")
        alias = link.get("ifalias") or ""
        ours, mine = alias.startswith(_ALIAS), alias == f"{_ALIAS}{network.id}"
        strange = not self._addresses(link["index"]) <= _gateways(network)
        busy = link["index"] in _in_use(self._links.link("dump"))
        if (strange and (busy or not ours)) or (busy and ours and not mine):
            raise OSError(
                errno.EBUSY, f"bridge {network.bridge} is in use by others, another engine perhaps"
            )

    def _prepare(self, network: Network) -> None:
        set_sysctl(f"ipv4/conf/{network.bridge}/rp_filter", 1)
        set_sysctl(f"ipv4/conf/{network.bridge}/accept_redirects", 0)
        with suppress(FileNotFoundError):  # a kernel without IPv6
            conf = f"ipv6/conf/{network.bridge}"
            if any(":" in subnet.subnet for subnet in network.subnets):
                set_sysctl(f"{conf}/disable_ipv6", 0)
                set_sysctl(f"{conf}/accept_ra", 0)
                set_sysctl(f"{conf}/accept_dad", 0)
            else:
                set_sysctl(f"{conf}/disable_ipv6", 1)

    def _address(self, network: Network, index: int) -> None:
        wanted, had = _gateways(network), self._addresses(index)
        for address, length in wanted - had:
            flags = {"flags": _IFA_F_NODAD} if ":" in address else {}
            self._links.addr("add", index=index, address=address, prefixlen=length, **flags)
        for address, length in had - wanted:
            self._links.addr("del", index=index, address=address, prefixlen=length)

    def _addresses(self, index: int) -> set[tuple[str, int]]:
        """The addresses of an interface, without those it gave itself."""
        return {
            (found.get("address"), found["prefixlen"])
            for found in self._links.addr("dump", index=index)
            if found["index"] == index and found["scope"] == _RT_SCOPE_UNIVERSE
        }

    def _way_out_mtu(self) -> int:
        """The MTU of the interface that the default route leads to."""
        for route in self._links.get_default_routes(family=2):
            if (index := route.get("oif")) is not None:
                for link in self._links.link("get", index=index):
                    return int(link.get("mtu") or _USUAL_MTU)
        return _USUAL_MTU


def _gateways(network: Network) -> set[tuple[str, int]]:
    """The addresses that a bridge is to have, with the lengths of their prefixes."""
    return {
        (subnet.gateway, ipaddress.ip_network(subnet.subnet).prefixlen)
        for subnet in network.subnets
        if subnet.gateway
    }


def _in_use(links: Iterable[Any]) -> set[int]:
    """The indices of the bridges that have a port that is up."""
    return {link.get("master") for link in links if link["flags"] & _IFF_UP and link.get("master")}


def _forward(network: Network) -> None:
    """Have the kernel forward packets of the families that a network has."""
    set_sysctl("ipv4/ip_forward", 1)
    if not any(":" in subnet.subnet for subnet in network.subnets):
        return
    if get_sysctl("ipv6/conf/all/forwarding"):
        return
    # Who forwards takes no routes by advertisement any more, unless told to: the host would lose
    # its own way out.
    for accepts in Path("/proc/sys/net/ipv6/conf").glob("*/accept_ra"):
        with suppress(OSError, ValueError):
            if accepts.read_text().strip() == "1":
                accepts.write_text(str(_ROUTER_ACCEPTS))
    set_sysctl("ipv6/conf/all/forwarding", 1)
