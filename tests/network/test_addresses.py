"""Subnets and addresses: what is chosen is free, what people give is checked."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.network import addresses, host
from wherry.network.addresses import AddressError, IPNetwork, choose_address, parse_pool

_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")


@st.composite
def _subnets(draw: st.DrawFn) -> ipaddress.IPv4Network:
    block = ipaddress.ip_network(draw(st.sampled_from(_PRIVATE)))
    length = draw(st.integers(block.prefixlen, 30))
    offset = draw(st.integers(0, block.num_addresses - 1))
    return ipaddress.IPv4Network((int(block.network_address) + offset, length), strict=False)


@given(st.lists(_subnets(), max_size=40))
def test_a_chosen_subnet_is_private_and_overlaps_nothing(
    taken: list[ipaddress.IPv4Network],
) -> None:
    try:
        chosen = addresses.choose_subnet(taken)
    except AddressError:
        blocks = [ipaddress.ip_network(each) for each in ("172.16.0.0/12", "10.64.0.0/10")]
        assert all(any(each.overlaps(block) for each in taken) for block in blocks)
        return
    assert chosen.is_private
    assert not any(chosen.overlaps(each) for each in taken)


def test_networks_are_chosen_one_after_another_until_none_is_left() -> None:
    taken: list[IPNetwork] = [ipaddress.ip_network("0.0.0.0/0")]
    for _ in range(31):
        taken.append(addresses.choose_subnet(taken))
    assert str(taken[1]) == "172.17.0.0/16" and str(taken[16]) == "192.168.0.0/20"
    with pytest.raises(AddressError, match="--subnet"):
        addresses.choose_subnet([ipaddress.ip_network(each) for each in _PRIVATE])


@given(st.text(max_size=20), st.integers(0, 3))
def test_subnets_of_ipv6_are_unique_local_and_stay_with_their_name(name: str, count: int) -> None:
    taken: list[IPNetwork] = []
    for _ in range(count):
        taken.append(addresses.choose_subnet6(name, taken))
    chosen = addresses.choose_subnet6(name, taken)
    assert chosen == addresses.choose_subnet6(name, taken)
    assert chosen.prefixlen == 64 and chosen.subnet_of(ipaddress.IPv6Network("fd00::/8"))
    assert chosen not in taken


@given(st.integers(24, 30), st.data())
def test_every_address_is_given_once(length: int, data: st.DataObject) -> None:
    subnet = ipaddress.IPv4Network(("10.9.8.0", length))
    gateway = data.draw(st.sampled_from(list(subnet.hosts())))
    pool = parse_pool(str(subnet), str(gateway))
    given_: set[addresses.Address] = set()
    for _ in range(subnet.num_addresses - 3):
        address = choose_address(pool, given_)
        assert address in subnet and address != gateway and address not in given_
        assert address not in (subnet.network_address, subnet.broadcast_address)
        given_.add(address)
    with pytest.raises(AddressError, match="no address is free"):
        choose_address(pool, given_)
    assert len({addresses.mac_of(each) for each in given_}) == len(given_)


def test_addresses_come_out_of_the_range_that_was_given() -> None:
    pool = parse_pool("10.1.0.0/16", ip_range="10.1.4.0/30")
    taken = [choose_address(pool, ())]
    for _ in range(3):
        taken.append(choose_address(pool, taken))
    assert [str(each) for each in taken] == ["10.1.4.0", "10.1.4.1", "10.1.4.2", "10.1.4.3"]
    with pytest.raises(AddressError, match=r"10\.1\.4\.0/30"):
        choose_address(pool, taken)


def test_the_gateway_of_ipv6_is_the_first_address_and_a_container_the_second() -> None:
    pool = parse_pool("2001:db8::/64")
    assert (str(pool.gateway), str(choose_address(pool, ()))) == ("2001:db8::1", "2001:db8::2")
    assert addresses.mac_of(choose_address(pool, ())).startswith("02:42:")


@pytest.mark.parametrize(
    ("subnet", "gateway", "ip_range", "said"),
    [
        ("10.0.0.0", "", "", "ADDRESS/LENGTH"),
        ("10.0.0.0/33", "", "", "ADDRESS/LENGTH"),
        ("hello/8", "", "", "ADDRESS/LENGTH"),
        ("", "", "", "ADDRESS/LENGTH"),
        ("fe80::%eth0/64", "", "", "zone"),
        ("10.0.0.0/31", "", "", "no room"),
        ("2001:db8::/128", "", "", "no room"),
        ("127.0.0.0/8", "", "", "not for networks"),
        ("224.0.0.0/24", "", "", "not for networks"),
        ("10.0.0.0/24", "10.0.1.1", "", "gateway 10.0.1.1"),
        ("10.0.0.0/24", "10.0.0.0", "", "gateway 10.0.0.0"),
        ("10.0.0.0/24", "10.0.0.255", "", "gateway 10.0.0.255"),
        ("10.0.0.0/24", "x" * 9999, "", "no IP address"),
        ("10.0.0.0/24", "fd00::1", "", "gateway fd00::1"),
        ("10.0.0.0/24", "", "10.0.0.0/16", "not within"),
        ("10.0.0.0/24", "", "fd00::/64", "not within"),
    ],
)
def test_what_makes_no_network_is_told(subnet: str, gateway: str, ip_range: str, said: str) -> None:
    with pytest.raises(AddressError, match=said) as caught:
        parse_pool(subnet, gateway, ip_range)
    assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)


def test_hosts_bits_in_a_subnet_are_forgiven_as_docker_does() -> None:
    assert str(parse_pool("10.0.0.7/24").subnet) == "10.0.0.0/24"


@pytest.mark.parametrize(
    ("subnet", "address", "assignable"),
    [
        ("10.0.0.0/24", "10.0.0.6", True),
        ("10.0.0.0/24", "10.0.0.254", True),
        ("10.0.0.0/24", "10.0.0.1", False),
        ("10.0.0.0/24", "10.0.0.0", False),
        ("10.0.0.0/24", "10.0.0.255", False),
        ("10.0.0.0/24", "10.0.1.5", False),
        ("10.0.0.0/24", "::ffff:10.0.0.9", False),
        ("fd00::/64", "fd00::6", True),
        ("fd00::/64", "fd00::", False),
        ("fd00::/64", "fd00::ffff:ffff:ffff:ffff", True),
    ],
)
def test_what_is_the_subnets_own_is_not_for_a_container(
    subnet: str, address: str, assignable: bool
) -> None:
    pool = parse_pool(subnet, ip_range=subnet)
    assert pool.is_assignable(addresses.parse_address(address)) is assignable


def test_a_mac_is_taken_in_its_usual_forms_only() -> None:
    assert addresses.parse_mac("02-42-AC-11-00-02") == "02:42:ac:11:00:02"
    for wrong in ("", "02:42:ac:11:00", "01:00:5e:00:00:01", "00:00:00:00:00:00", "zz" * 9):
        with pytest.raises(AddressError):
            addresses.parse_mac(wrong)


def test_the_hosts_routes_are_read_as_the_kernel_writes_them() -> None:
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    routes = [
        head,
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
        "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n",
        "gone\t0000000A\t00000000\t0000\t0\t0\t0\t000000FF\t0\t0\t0\n",
    ]
    assert [str(each) for each in host._parse4(routes)] == ["0.0.0.0/0", "192.0.2.0/24"]
    zero = "0" * 32
    lines = [
        f"{to} {length} {zero} 00 {zero} 00000100 00000001 00000000 {flags} {interface:>8}\n"
        for to, length, flags, interface in (
            ("fd" + "0" * 30, "40", "00000001", "eth0"),
            ("fe80" + "0" * 28, "40", "00000001", "eth0"),
            (zero, "00", "00200200", "lo"),
        )
    ]
    assert [str(each) for each in host._parse6(lines)] == ["fd00::/64"]
