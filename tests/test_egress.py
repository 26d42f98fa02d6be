"""The rules of what a container may reach."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.egress import Denials, Egress


def test_an_address_is_allowed_on_the_ports_of_its_rule() -> None:
    egress = Egress.parse("10.1.2.3:443, 10.2.0.0/16:5000-5999 [2001:db8::1]:80,192.0.2.1")
    assert egress.allows("10.1.2.3", 443)
    assert not egress.allows("10.1.2.3", 444)
    assert not egress.allows("10.1.2.4", 443)
    assert egress.allows("10.2.255.1", 5000)
    assert egress.allows("10.2.255.1", 5999)
    assert not egress.allows("10.2.255.1", 6000)
    assert egress.allows("2001:db8::1", 80)
    assert egress.allows("192.0.2.1", 1)
    assert egress.allows("192.0.2.1", 65535)


@pytest.mark.parametrize("text", ["", " ", ",", "\n"])
def test_no_rule_denies_everything(text: str) -> None:
    egress = Egress.parse(text)
    assert not egress.allows("127.0.0.1", 80)
    assert not egress.permits("localhost")


@pytest.mark.parametrize("rule", ["[2001:db8::/32]:443", "[2001:db8::]/32:443", "2001:db8::/32"])
def test_networks_of_ipv6_are_written_in_several_ways(rule: str) -> None:
    egress = Egress.parse(rule)
    assert egress.allows("2001:db8:1::1", 443)
    assert not egress.allows("2001:db9::1", 443)


def test_an_address_of_ipv4_within_ipv6_is_the_same_address() -> None:
    egress = Egress.parse("10.0.0.1:80")
    assert egress.allows("::ffff:10.0.0.1", 80)
    assert not Egress.parse("[::/0]").allows("::ffff:10.0.0.1", 80)
    assert Egress.parse("[::ffff:10.0.0.0/104]:80").allows("10.7.7.7", 80)


def test_the_unspecified_address_is_what_linux_takes_it_for() -> None:
    assert Egress.parse("127.0.0.1:80").allows("0.0.0.0", 80)
    assert not Egress.parse("10.0.0.0/8").allows("0.0.0.0", 80)
    assert Egress.parse("[::1]:80").allows("::", 80)


def test_a_name_allows_what_it_led_to_on_its_ports() -> None:
    egress = Egress.parse("db:3306")
    assert not egress.allows("172.18.0.3", 3306)
    assert egress.looked_up("db", ["172.18.0.3", "fd00::3"]) == ["172.18.0.3", "fd00::3"]
    assert egress.allows("172.18.0.3", 3306)
    assert egress.allows("fd00::3", 3306)
    assert not egress.allows("172.18.0.3", 22)
    assert not egress.allows("172.18.0.4", 3306)


def test_a_name_no_rule_is_about_allows_nothing() -> None:
    egress = Egress.parse("db:3306")
    assert not egress.permits("evil.example")
    assert egress.looked_up("evil.example", ["172.18.0.3"]) == []
    assert not egress.allows("172.18.0.3", 3306)


def test_two_names_of_one_address_allow_the_ports_of_both() -> None:
    egress = Egress.parse("a:1,b:2")
    egress.looked_up("a", ["10.0.0.1"])
    egress.looked_up("b", ["10.0.0.1"])
    assert egress.allows("10.0.0.1", 1)
    assert egress.allows("10.0.0.1", 2)


@pytest.mark.parametrize("name", ["db", "DB", "db.", "Db."])
def test_names_are_compared_without_case_and_final_dot(name: str) -> None:
    assert Egress.parse("dB.:3306").permits(name)


def test_a_star_and_a_domain_are_the_names_beneath_it() -> None:
    egress = Egress.parse("*.example.com:443")
    assert egress.permits("a.example.com")
    assert egress.permits("a.b.EXAMPLE.com.")
    assert not egress.permits("example.com")
    assert not egress.permits("badexample.com")
    assert not egress.permits("a.example.com.evil.example")


def test_a_star_is_any_host() -> None:
    egress = Egress.parse("*:443")
    assert egress.permits("anything.example")
    assert egress.allows("203.0.113.1", 443)
    assert egress.allows("2001:db8::1", 443)
    assert not egress.allows("203.0.113.1", 80)


def test_a_name_in_other_letters_is_its_ascii_form() -> None:
    egress = Egress.parse("bücher.example:443")
    assert egress.permits("xn--bcher-kva.example")
    assert not egress.permits("bücher.example")  # no resolver is asked in these letters


def test_an_address_written_out_may_be_looked_up_but_allows_nothing() -> None:
    egress = Egress.parse("db:3306")
    assert egress.permits("10.0.0.1")
    assert egress.permits("fe80::1%eth0")
    assert egress.looked_up("10.0.0.1", ["10.0.0.1"]) == ["10.0.0.1"]
    assert not egress.allows("10.0.0.1", 3306)


@pytest.mark.parametrize("name", ["10.0.0.1%leak.example", "1.2.3.4.5", "2130706433", "0x7f.1"])
def test_what_a_resolver_might_ask_others_about_is_a_name(name: str) -> None:
    assert not Egress.parse("db").permits(name)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "::1", "0.0.0.0", "169.254.169.254", "fe80::1", "224.0.0.1"),
        *("255.255.255.255", "fd00:ec2::254", "100.100.100.200", "::ffff:169.254.169.254"),
    ],
)
def test_whoever_owns_a_name_cannot_lead_it_home(address: str) -> None:
    egress = Egress.parse("*.example.com")
    assert egress.looked_up("rebound.example.com", [address]) == []
    assert not egress.allows(address, 80)


def test_localhost_is_the_name_of_loopback() -> None:
    egress = Egress.parse("localhost:8080")
    egress.looked_up("localhost", ["127.0.0.1", "::1"])
    assert egress.allows("127.0.0.1", 8080)
    assert egress.allows("::1", 8080)


def test_only_so_many_addresses_are_remembered_and_the_oldest_are_forgotten() -> None:
    egress = Egress.parse("*.example.com:80")
    for number in range(5000):
        egress.looked_up("a.example.com", [f"10.0.{number >> 8}.{number & 255}"])
        egress.looked_up("b.example.com", ["10.1.0.0"])
    assert not egress.allows("10.0.0.0", 80)
    assert egress.allows("10.0.19.135", 80)
    assert egress.allows("10.1.0.0", 80)


def test_a_target_is_shown_with_the_name_that_led_there() -> None:
    egress = Egress.parse("db:3306")
    egress.looked_up("db", ["172.18.0.3", "fd00::3"])
    assert egress.target("172.18.0.3", 22) == "172.18.0.3:22 (db)"
    assert egress.target("fd00::3", 22) == "[fd00::3]:22 (db)"
    assert egress.target("203.0.113.1", 80) == "203.0.113.1:80"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("db:99999", "a port is a number"),
        ("db:0", "a port is a number"),
        ("db:20-10", "a port is a number"),
        ("db:", "a port is missing"),
        ("db:http", "a port is a number"),
        ("db:-5", "a port is a number"),
        (":80", "names no host"),
        ("a..b:80", "names no host"),
        ("a*.example.com", "a \\* stands alone"),
        ("*example.com", "a \\* stands alone"),
        ("10.0.0.0/33:80", "names no network"),
        ("db/8", "names no network"),
        ("127.1:80", "neither a name nor an address"),
        ("2130706433", "neither a name nor an address"),
        ("0x7f.0x1", "neither a name nor an address"),
        ("2001:db8::1:x", "is written \\[ADDRESS\\]:PORT"),
        ("[2001:db8::1", "expected \\[ADDRESS\\]:PORT"),
        ("[db]:80", "address of IPv6"),
        ("http://db:80", "not a URL"),
        ("d b\x1b[31m:80", "names no host"),
        ("x" * 300, "names no host"),
        ("b\u00fc" + "\u00fc" * 80, "no form in ASCII"),
    ],
)
def test_a_rule_that_is_none_is_told_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        Egress.parse(text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_too_many_rules_are_refused() -> None:
    with pytest.raises(ValueError, match="300 egress rules are more than"):
        Egress.parse(",".join(["db"] * 300))
    with pytest.raises(ValueError, match="longer than"):
        Egress.parse("x" * 20_000)


@given(st.text(alphabet="abz019*.:-[]/%,\u00fc \x00", max_size=30), st.text(max_size=20))
def test_rules_and_names_are_anything(text: str, name: str) -> None:
    try:
        egress = Egress.parse(text)
    except ValueError as error:
        assert str(error).isprintable()
    else:
        egress.permits(name)
        egress.looked_up(name, [name, text])
        egress.allows(name, 80)
        egress.target(name, 80)


def test_a_denial_is_told_once_in_a_while() -> None:
    denials = Denials()
    assert "10.0.0.1:80" in denials.tell("10.0.0.1:80", 0.0)
    assert denials.tell("10.0.0.1:80", 59.0) == ""
    assert "1 more" in denials.tell("10.0.0.1:80", 61.0)


def test_denials_of_many_targets_fill_no_log() -> None:
    denials = Denials()
    lines = [denials.tell(f"10.0.0.1:{port}", 1.0) for port in range(10_000)]
    assert sum(map(bool, lines)) == Denials.BURST


def test_a_denial_steers_no_terminal() -> None:
    line = Denials().tell("evil\n\x1b[2J.example", 0.0)
    assert line.isprintable()
