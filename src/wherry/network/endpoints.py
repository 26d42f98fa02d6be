"""A container's interfaces: pairs of veth, one end in the container, the other at a bridge.

A pair is made by one message, with all that must be so from the beginning; what comes after may be
done again. So whoever dies in between leaves nothing that attaching again does not mend. The outer
end is named after container and network, the inner one carries a mark: by these both are known
again without any record.
"""

import errno
import hashlib
import ipaddress
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from wherry.network.keeper import OUTER
from wherry.network.model import Attachment
from wherry.network.namespaces import set_sysctl

MARK = 0x776572
"""The group of interfaces (`ip link show group …`) that a container's own are in."""

_IFA_F_NODAD = 0x02
_RT_SCOPE_UNIVERSE = 0
_MAIN = 254
"""The routing table that is meant when none is named."""

_Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def outer_name(sandbox: str, network: str) -> str:
    """The name of the end at the bridge."""
    digest = hashlib.sha256(f"{sandbox}\0{network}".encode()).hexdigest()
    return f"{OUTER}{digest[:12]}"


def create(
    home: IPRoute,
    sandbox: str,
    attachment: Attachment,
    inside: int,
    *,
    bridge: int,
    mtu: int,
    hairpin: bool,
) -> None:
    """Make a pair between the bridge of index `bridge` and the namespace `inside`.

    Another pair of that name is replaced. With `hairpin` the bridge sends back what a published
    port of the container's own turns out to be. Raises NetlinkError.
    """
    name = outer_name(sandbox, attachment.network.id)
    inner: dict[str, Any] = {"ifname": attachment.interface, "net_ns_fd": inside, "group": MARK}
    inner |= {"mtu": mtu}
    if attachment.mac:
        inner["address"] = attachment.mac
    wanted = {"kind": "veth", "peer": inner, "master": bridge, "mtu": mtu, "state": "up"}
    try:
        home.link("add", ifname=name, **wanted)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
        delete(home, sandbox, attachment.network.id)
        home.link("add", ifname=name, **wanted)
    port = {"mode": int(hairpin), "isolated": int(not attachment.network.icc)}
    if any(port.values()):
        home.link("set", ifname=name, kind="bridge_slave", **port)


def delete(home: IPRoute, sandbox: str, network: str) -> None:
    """Remove a pair, which need not be there. Raises NetlinkError."""
    with _missing_allowed():
        home.link("del", ifname=outer_name(sandbox, network))


def cut(home: IPRoute, sandbox: str, network: str) -> None:
    """Let nothing through a pair any more, which need not be there. Raises NetlinkError.

    For one whose namespace is about to end, and the pair with it: to remove it takes the kernel
    15 ms, this a third of one.
    """
    with _missing_allowed():
        home.link("set", ifname=outer_name(sandbox, network), state="down")


@contextmanager
def _missing_allowed() -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        if error.code not in (errno.ENODEV, errno.ENOENT):
            raise


def present(inside: IPRoute) -> dict[str, int]:
    """The marked interfaces of a container, by name, with their indices."""
    return {
        link.get("ifname"): link["index"]
        for link in inside.link("dump")
        if link.get("group") == MARK
    }


def is_connected(home: IPRoute, sandbox: str, network: str, *, bridge: int, inner: int) -> bool:
    """Whether the outer end of the interface of index `inner` is at its bridge."""
    try:
        (link,) = home.link("get", ifname=outer_name(sandbox, network))
    except NetlinkError as error:
        if error.code in (errno.ENODEV, errno.ENOENT):
            return False
        raise
    return bool(link.get("master") == bridge and link.get("link") == inner)


def prepare(attachment: Attachment) -> None:
    """Set what must be set before the interface is up; in the container's namespace."""
    conf = f"ipv6/conf/{attachment.interface}"
    try:
        if any(":" in address for address in attachment.addresses):
            set_sysctl(f"{conf}/disable_ipv6", 0)
            set_sysctl(f"{conf}/accept_ra", 0)
            set_sysctl(f"{conf}/accept_dad", 0)
        else:
            set_sysctl(f"{conf}/disable_ipv6", 1)
    except FileNotFoundError:  # a kernel without IPv6
        pass
    for name, value in attachment.sysctls.items():
        set_sysctl(name, value)


def configure(inside: IPRoute, attachment: Attachment, index: int, *, fresh: bool) -> None:
    """Give an interface its addresses, take away others, and have it be up. Raises NetlinkError."""
    wanted = {ipaddress.ip_interface(address) for address in attachment.addresses}
    had = set() if fresh else _addresses(inside, index)
    for each in wanted - had:
        flags = {"flags": _IFA_F_NODAD} if each.version == 6 else {}
        length = each.network.prefixlen
        inside.addr("add", index=index, address=str(each.ip), prefixlen=length, **flags)
    for each in had - wanted:
        length = each.network.prefixlen
        inside.addr("del", index=index, address=str(each.ip), prefixlen=length)
    inside.link("set", index=index, state="up")


def route(
    inside: IPRoute,
    attachments: Iterable[Attachment],
    indices: dict[str, int],
    *,
    fresh: bool,
) -> None:
    """Have the default routes be those of the attachment that says so, or none.

    In a `fresh` namespace nobody has to look for others. Raises NetlinkError.
    """
    gateways: dict[int, tuple[str, int]] = {}
    for attachment in attachments:
        if attachment.default_route and not attachment.network.internal:
            has = {ipaddress.ip_interface(address).version for address in attachment.addresses}
            for subnet in attachment.network.subnets:
                version = 6 if ":" in subnet.gateway else 4
                if subnet.gateway and version in has:
                    gateways.setdefault(version, (subnet.gateway, indices[attachment.interface]))
    for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        wanted = gateways.get(version)
        there = False
        for found in [] if fresh else inside.get_default_routes(family=family, table=_MAIN):
            if (found.get("gateway"), found.get("oif")) == wanted:
                there = True
            elif found.get("gateway"):
                inside.route(
                    "del", dst="default", family=family,
                    gateway=found.get("gateway"), oif=found.get("oif"),
                )  # fmt: skip
        if wanted is not None and not there:
            gateway, index = wanted
            inside.route("add", dst="default", family=family, gateway=gateway, oif=index)


def _addresses(inside: IPRoute, index: int) -> set[_Interface]:
    """The addresses of an interface, without those it gave itself."""
    return {
        ipaddress.ip_interface(f"{found.get('address')}/{found['prefixlen']}")
        for found in inside.addr("dump", index=index)
        if found["scope"] == _RT_SCOPE_UNIVERSE and found["index"] == index
    }
