"""Ports in all forms that Docker has for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.engine.config import ContainerConfig, HostConfig, PortBinding
from wherry.engine.containers.networking.ports import (
    Port,
    Wish,
    exposed_ports,
    parse_ports,
    wished_ports,
)
from wherry.engine.errors import InvalidRequest


def wishes(bindings: dict[str, list[tuple[str, str]] | None], **host: bool) -> list[Wish]:
    port_bindings = {
        key: None if given is None else [PortBinding(host_ip=ip, host_port=at) for ip, at in given]
        for key, given in bindings.items()
    }
    config = ContainerConfig(exposed_ports={"53/udp": {}, "80": {}, "9/sctp": {}})
    return wished_ports(config, HostConfig(port_bindings=port_bindings, **host))  # type: ignore[arg-type]


def test_a_port_is_published_where_it_is_said() -> None:
    assert wishes({"80/tcp": [("", "8080"), ("127.0.0.1", "")], "53/UDP": [("::1", "53-60")]}) == [
        Wish(Port(53, "udp"), "::1", 53, 60),
        Wish(Port(80, "tcp"), "", 8080, 8080),
        Wish(Port(80, "tcp"), "127.0.0.1", 0, 0),
    ]


def test_port_0_of_the_host_is_any_free_one() -> None:
    assert wishes({"80/tcp": [("", "0")]}) == wishes({"80/tcp": [("", "")]})


def test_all_exposed_ports_are_published_that_are_not_already() -> None:
    assert wishes({"80/tcp": [("", "8080")]}, publish_all_ports=True) == [
        Wish(Port(53, "udp"), "", 0, 0),
        Wish(Port(80, "tcp"), "", 8080, 8080),
    ]


def test_published_ports_are_exposed_in_numeric_order() -> None:
    host = HostConfig(port_bindings={"9090/tcp": [], "81-82": None})
    config = ContainerConfig(exposed_ports={"100/tcp": {}, "81/tcp": {}})
    found = exposed_ports(config, host)
    assert list(map(str, found)) == ["81/tcp", "82/tcp", "100/tcp", "9090/tcp"]


@pytest.mark.parametrize(
    ("key", "binding", "reason"),
    [
        ("99999/tcp", ("", ""), "invalid port specification"),
        ("80/tcp", ("", "99999"), "invalid port specification"),
        ("80/tcp", ("", "9-8"), "invalid port specification"),
        ("80/tcp", ("", "x"), "invalid port specification"),
        ("0/tcp", ("", ""), "invalid port specification"),
        ("80/foo", ("", ""), "invalid proto: 'foo'"),
        ("80/sctp", ("", "80"), "only TCP and UDP"),
        ("80/tcp", ("abc", "80"), "invalid host address"),
        ("1-65535/tcp", ("", ""), "more than"),
    ],
)
def test_what_is_no_port_is_named(key: str, binding: tuple[str, str], reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        wishes({key: [binding]})


@given(st.text(st.characters(codec="utf-8"), max_size=12))
def test_any_text_is_ports_or_refused(text: str) -> None:
    try:
        found = parse_ports(text)
    except InvalidRequest as error:
        assert "\n" not in error.message
    else:
        assert all(0 < port.number < 65536 for port in found)
