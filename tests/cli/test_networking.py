"""From the network's flags of `run` and `create` to the body of the request."""

from __future__ import annotations

from typing import Any

import pytest

from wherry.cli.creation import describe
from wherry.cli.errors import CommandError
from wherry.cli.index import load


def body(*flags: str) -> dict[str, Any]:
    return describe(load("run").parse([*flags, "image"]), "image", [])


def published(*texts: str) -> Any:
    flags = [word for text in texts for word in ("-p", text)]
    document = body(*flags)
    bindings = document["HostConfig"]["PortBindings"]
    assert set(document["ExposedPorts"]) == set(bindings)
    return {
        port: [(binding["HostIp"], binding["HostPort"]) for binding in places]
        for port, places in bindings.items()
    }


def test_nothing_is_said_of_networks_unasked() -> None:
    document = body()
    assert "ExposedPorts" not in document and "NetworkingConfig" not in document
    assert not {"NetworkMode", "PortBindings", "Dns"} & set(document["HostConfig"])


@pytest.mark.parametrize(
    ("text", "bindings"),
    [
        ("80", {"80/tcp": [("", "")]}),
        ("8080:80", {"80/tcp": [("", "8080")]}),
        (":80", {"80/tcp": [("", "")]}),
        ("0:80", {"80/tcp": [("", "0")]}),
        ("127.0.0.1:8080:80", {"80/tcp": [("127.0.0.1", "8080")]}),
        ("127.0.0.1::80", {"80/tcp": [("127.0.0.1", "")]}),
        ("[::1]:8080:80", {"80/tcp": [("::1", "8080")]}),
        ("::1:8080:80", {"80/tcp": [("::1", "8080")]}),
        ("[::]::80/udp", {"80/udp": [("::", "")]}),
        ("53:53/UDP", {"53/udp": [("", "53")]}),
        ("80/", {"80/tcp": [("", "")]}),
        ("7:7/sctp", {"7/sctp": [("", "7")]}),
        ("8000-8002:80-82", {f"{80 + n}/tcp": [("", f"{8000 + n}")] for n in range(3)}),
        ("80-81", {"80/tcp": [("", "")], "81/tcp": [("", "")]}),
        ("8000-8010:80", {"80/tcp": [("", "8000-8010")]}),
        ("8000-8000:80", {"80/tcp": [("", "8000")]}),
        ("127.0.0.1:8000-8001:80-81/udp",
         {"80/udp": [("127.0.0.1", "8000")], "81/udp": [("127.0.0.1", "8001")]}),
        ("published=8080,target=80,protocol=udp", {"80/udp": [("", "8080")]}),
        ("target=80", {"80/tcp": [("", "")]}),
        ("target=80,published=8080,mode=host", {"80/tcp": [("", "8080")]}),
    ],
)  # fmt: skip
def test_ports_are_published(text: str, bindings: dict[str, list[tuple[str, str]]]) -> None:
    assert published(text) == bindings


def test_one_port_may_be_published_at_several_places() -> None:
    found = published("8080:80", "127.0.0.1:81:80", "80:80/udp")
    assert found == {"80/tcp": [("", "8080"), ("127.0.0.1", "81")], "80/udp": [("", "80")]}


def test_ports_are_exposed() -> None:
    document = body("--expose", "80", "--expose", "90-91/udp", "-p", "80:80", "-P")
    assert set(document["ExposedPorts"]) == {"80/tcp", "90/udp", "91/udp"}
    assert set(document["HostConfig"]["PortBindings"]) == {"80/tcp"}
    assert document["HostConfig"]["PublishAllPorts"] is True


def test_one_network_is_the_mode_of_the_container() -> None:
    for name in ("front", "host", "none", "bridge", "container:web"):
        for flag in ("--network", "--net"):
            document = body(flag, name)
            assert document["HostConfig"]["NetworkMode"] == name
            assert "NetworkingConfig" not in document


def test_flags_are_for_the_first_of_several_networks() -> None:
    document = body(
        "--network", "front", "--network", "name=back,alias=a,alias=b,ip=10.9.0.2",
        "--network-alias", "shop", "--network-alias", "store", "--ip", "10.8.0.9",
        "--ip6", "fd00::9", "--mac-address", "92:d0:c6:0a:29:33", "--link", "db:data",
    )  # fmt: skip
    assert document["HostConfig"]["NetworkMode"] == "front"
    assert "Links" not in document["HostConfig"]
    assert document["NetworkingConfig"]["EndpointsConfig"] == {
        "front": {
            "IPAMConfig": {"IPv4Address": "10.8.0.9", "IPv6Address": "fd00::9"},
            "Aliases": ["shop", "store"],
            "Links": ["db:data"],
            "MacAddress": "92:d0:c6:0a:29:33",
        },
        "back": {"IPAMConfig": {"IPv4Address": "10.9.0.2"}, "Aliases": ["a", "b"]},
    }


def test_the_long_form_says_all_of_a_network() -> None:
    document = body(
        "--network", "name=net,ip6=fd00::3,mac-address=92-d0-c6-0a-29-33,driver-opt=a=b,"
        "link-local-ip=169.254.1.1,gw-priority=7",
    )  # fmt: skip
    assert document["NetworkingConfig"]["EndpointsConfig"]["net"] == {
        "IPAMConfig": {"IPv6Address": "fd00::3", "LinkLocalIPs": ["169.254.1.1"]},
        "MacAddress": "92-d0-c6-0a-29-33",
        "DriverOpts": {"a": "b"},
        "GwPriority": 7,
    }


def test_links_on_the_default_network_are_the_hosts() -> None:
    document = body("--link", "db", "--link", "cache:c")
    assert document["HostConfig"]["Links"] == ["db", "cache:c"]
    assert "NetworkingConfig" not in document


def test_names_and_resolvers() -> None:
    document = body(
        "-h", "me", "--domainname", "house", "--dns", "9.9.9.9", "--dns", "2620:fe::fe",
        "--dns-search", "example.com", "--dns-search", ".", "--dns-option", "ndots:2",
        "--add-host", "a:10.0.0.1", "--add-host", "b=10.0.0.2", "--add-host", "c:::1",
        "--add-host", "d=[fd00::1]", "--add-host", "here:host-gateway",
    )  # fmt: skip
    host = document["HostConfig"]
    assert (document["Hostname"], document["Domainname"]) == ("me", "house")
    assert host["Dns"] == ["9.9.9.9", "2620:fe::fe"]
    assert host["DnsSearch"] == ["example.com", "."]
    assert host["DnsOptions"] == ["ndots:2"]
    assert host["ExtraHosts"] == [
        "a:10.0.0.1", "b:10.0.0.2", "c:::1", "d:fd00::1", "here:host-gateway",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "flags",
    [
        ("-p", ""), ("-p", "x"), ("-p", "8080:"), ("-p", "65536"), ("-p", "-1"), ("-p", "80-79"),
        ("-p", "80-"), ("-p", "8000-8001:80-82"), ("-p", "8000:80-81"), ("-p", "80/icmp"),
        ("-p", "80/tcp/"), ("-p", "web:80:80"), ("-p", "1.2.3:80:80"), ("-p", "[::1:80:80"),
        ("-p", "8080:٨0"), ("-p", "published=80"), ("-p", "target=80,colour=red"),
        ("-p", "target=80,tcp"), ("-p", "999999999999999999999:80"),
        ("--expose", "8080:80"), ("--expose", "http"), ("--expose", ""), ("--expose", "9-8"),
        ("--network", ""), ("--network", "alias=a"), ("--network", "name=a,what=b"),
        ("--network", "name=a,alias"), ("--network", "name=a,ip=x"), ("--network", "name="),
        ("--network", "name=a,gw-priority=high"), ("--network", "name=a,driver-opt=x"),
        ("--network", "name=a,link-local-ip=x"), ("--network", "a", "--network", "a"),
        ("--network", "a", "--network", "host"), ("--network", "none", "--network", "bridge2"),
        ("--network", "name=a,alias=b", "--network-alias", "c"),
        ("--network", "name=a,ip=10.0.0.1", "--ip", "10.0.0.2"),
        ("--network", "name=a,mac-address=92:d0:c6:0a:29:33", "--mac-address", "92:d0:c6:0a:29:33"),
        ("--ip", "fd00::1"), ("--ip6", "10.0.0.1"), ("--ip", "10.0.0"), ("--mac-address", "92:d0"),
        ("--mac-address", "g2:d0:c6:0a:29:33"), ("--link", ":x"), ("--link", "a:b:c"),
        ("--dns", "localhost"), ("--dns", ""), ("--dns-search", "-x"), ("--dns-search", "a b"),
        ("--dns-search", "a" * 64), ("--add-host", "x"), ("--add-host", ":1.2.3.4"),
        ("--add-host", "x:y"), ("--add-host", "a:b=1.2.3.4"), ("--add-host", "x:"),
    ],
)  # fmt: skip
def test_mistakes_are_told_and_end_with_125(flags: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as caught:
        body(*flags)
    assert caught.value.exit_code == 125
    assert "\n" not in str(caught.value)
