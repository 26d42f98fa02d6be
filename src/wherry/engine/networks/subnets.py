"""The subnets of a network that is being made: those asked for, checked, or ones that are free."""

from collections.abc import Iterable, Sequence
from ipaddress import ip_network

from wherry.engine.errors import Forbidden, InvalidRequest, NotFound
from wherry.engine.networks.request import IpamConfig
from wherry.engine.record import AddressPool
from wherry.network.addresses import (
    AddressError,
    IPNetwork,
    Pool,
    choose_address,
    choose_subnet,
    choose_subnet6,
    parse_address,
    parse_pool,
)
from wherry.network.host import networks as host_networks


def plan_subnets(
    name: str, asked: Sequence[IpamConfig], others: Iterable[IPNetwork], *, ipv6: bool
) -> list[AddressPool]:
    """The subnets of the network `name`; `others` are those of the other networks.

    A subnet that nobody asked for is free of the host's routes, too. Raises InvalidRequest,
    Forbidden (overlaps another network), NotFound (none is free).
    """
    others = list(others)
    pools: dict[int, AddressPool] = {}
    for config in asked:
        pool = _parse(config)
        version = pool.subnet.version
        if version == 6 and not ipv6:
            raise _invalid(f"invalid subnet {pool.subnet}: it is of IPv6: give --ipv6, too")
        if taken := [other for other in others if overlap(pool.subnet, other)]:
            raise Forbidden(
                "Pool overlaps with other one on this address space: "
                f"{taken[0]} is that of another network"
            )
        if version in pools:
            raise Forbidden("bridge driver doesn't support multiple subnets")
        pools[version] = _describe(pool, config)
    try:
        if 4 not in pools:
            chosen = choose_subnet([*others, *host_networks()])
            pools[4] = _describe(parse_pool(str(chosen)))
        if ipv6 and 6 not in pools:
            pools[6] = _describe(parse_pool(str(choose_subnet6(name, [*others, *host_networks()]))))
    except AddressError as error:
        raise NotFound(str(error)) from None
    return [pools[version] for version in sorted(pools)]


def _parse(config: IpamConfig) -> Pool:
    try:
        pool = parse_pool(config.subnet, config.gateway, config.ip_range)
        if str(pool.subnet) != config.subnet and "/" in config.subnet:
            given = config.subnet.partition("/")[0]
            if parse_address(given) != pool.subnet.network_address:
                raise AddressError(f"invalid subnet {config.subnet}: it should be {pool.subnet}")
        for text in config.auxiliary.values():
            if parse_address(text) not in pool.subnet:
                raise AddressError(f"auxiliary address {text} is not within subnet {pool.subnet}")
    except AddressError as error:
        raise _invalid(str(error)) from None
    return pool


def _describe(pool: Pool, config: IpamConfig | None = None) -> AddressPool:
    auxiliary = config.auxiliary if config is not None else {}
    gateway = pool.gateway
    if config is not None and not config.gateway:
        taken = {parse_address(text) for text in auxiliary.values()}
        if gateway in taken:
            gateway = choose_address(pool, taken)
    return AddressPool(
        subnet=str(pool.subnet),
        gateway=str(gateway),
        ip_range="" if pool.part == pool.subnet else str(pool.part),
        auxiliary=auxiliary,
    )


def overlap(one: IPNetwork, other: IPNetwork) -> bool:
    """Whether some address is in both."""
    return one.version == other.version and one.overlaps(ip_network(other))


def _invalid(reason: str) -> InvalidRequest:
    return InvalidRequest(f"invalid network config: {reason}")
