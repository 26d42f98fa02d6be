"""The addresses that running containers have in each network."""

from collections import defaultdict
from collections.abc import Iterable
from ipaddress import ip_interface

from wherry.engine.config import EndpointAddresses
from wherry.engine.errors import Forbidden, InvalidRequest
from wherry.engine.record import AddressPool, NetworkRecord
from wherry.network.addresses import (
    Address,
    AddressError,
    Pool,
    choose_address,
    parse_address,
    parse_pool,
)


class Leases:
    """What is given out. Addresses come and go as text with their prefix: "172.18.0.2/16"."""

    def __init__(self) -> None:
        self._taken: defaultdict[str, set[Address]] = defaultdict(set)

    def lease(
        self, network: NetworkRecord, asked: EndpointAddresses, kept: Iterable[str]
    ) -> tuple[str, str]:
        """An address of IPv4 and one of IPv6, or "" where the network has none of the kind.

        `kept` are addresses that containers ask for, running or not: given to none but them.
        Raises Forbidden (in use, none left).
        """
        found = {4: "", 6: ""}
        taken, others = self._taken[network.id], set(map(parse_address, _auxiliary(network)))
        promised = set(map(parse_address, kept))
        try:
            for pool in map(_parse, network.pools):
                wanted = asked.ipv4_address if pool.subnet.version == 4 else asked.ipv6_address
                if wanted:
                    address = parse_address(wanted)
                    if address in taken | others or not pool.is_assignable(address):
                        raise AddressError(f"Address already in use: {address} in {network.name}")
                else:
                    address = choose_address(pool, taken | others | promised)
                taken.add(address)
                found[address.version] = f"{address}/{pool.subnet.prefixlen}"
        except AddressError as error:
            self.free(network.id, *found.values())
            raise Forbidden(str(error)) from None
        return found[4], found[6]

    def take(self, network: str, *addresses: str) -> None:
        """These are in use already: by a container that an earlier engine has started."""
        self._taken[network].update(ip_interface(text).ip for text in addresses if text)

    def free(self, network: str, *addresses: str) -> None:
        """Give addresses back."""
        taken = self._taken[network]
        taken.difference_update(ip_interface(text).ip for text in addresses if text)
        if not taken:
            del self._taken[network]


def check_addresses(network: NetworkRecord, asked: EndpointAddresses | None) -> None:
    """Whether a container can ask for these addresses there. Raises InvalidRequest."""
    if asked is None:
        return
    for text, version in ((asked.ipv4_address, 4), (asked.ipv6_address, 6)):
        if not text:
            continue
        if network.chosen:
            raise InvalidRequest(
                "invalid endpoint settings: user specified IP address is supported only when "
                "connecting to networks with user configured subnets"
            )
        try:
            address = parse_address(text)
        except AddressError:
            address = None
        if address is None or address.version != version:
            raise InvalidRequest(
                f"invalid endpoint settings: invalid IPv{version} address: {text[:80]}"
            )
        if not any(address in _parse(pool).subnet for pool in network.pools):
            raise InvalidRequest(
                "invalid endpoint settings: no configured subnet or ip-range contain the IP "
                f"address {address}"
            )


def _parse(pool: AddressPool) -> Pool:
    return parse_pool(pool.subnet, pool.gateway, pool.ip_range)


def _auxiliary(network: NetworkRecord) -> Iterable[str]:
    return (text for pool in network.pools for text in pool.auxiliary.values())
