"""Headers and files that others write: read as their grammars say, and never stumbled over."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.registries import Authority

from wherry.registry import Hosts, RegistryError
from wherry.registry.challenge import Challenge, parse_challenges
from wherry.registry.headers import content_range, next_page, retry_after, uploaded
from wherry.registry.hosts import is_loopback, parse_hosts
from wherry.registry.patience import Patience
from wherry.registry.proxies import Proxy, proxy_for
from wherry.registry.url import parse_url

WORD = st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True)
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"))
PARAMETERS = st.dictionaries(WORD.map(str.lower), TEXT, min_size=1, max_size=4)


def quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(
    st.lists(st.builds(Challenge, WORD.map(str.lower), PARAMETERS), max_size=3),
    st.sampled_from([",", ", ", " , ", ",,"]),
)
def test_challenges_are_read_as_they_were_written(given: list[Challenge], comma: str) -> None:
    header = comma.join(
        f"{each.scheme} "
        + comma.join(f"{name}={quoted(value)}" for name, value in each.parameters.items())
        for each in given
    )
    assert parse_challenges(header) == given


@given(st.text(max_size=300))
def test_no_header_is_stumbled_over(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme
    content_range(header)
    uploaded(header)
    next_page(header)
    after = retry_after(header)
    assert after is None or after >= 0


def test_challenges_that_registries_send() -> None:
    assert parse_challenges(
        'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
        'scope="repository:library/x:pull,push",error="insufficient_scope"'
    ) == [
        Challenge(
            "bearer",
            {
                "realm": "https://auth.docker.io/token",
                "service": "registry.docker.io",
                "scope": "repository:library/x:pull,push",
                "error": "insufficient_scope",
            },
        )
    ]
    assert parse_challenges('Negotiate abc==, BASIC Realm = "a \\"b\\"" , Digest') == [
        Challenge("negotiate", {}),
        Challenge("basic", {"realm": 'a "b"'}),
        Challenge("digest", {}),
    ]
    assert parse_challenges("") == []
    assert parse_challenges('Basic realm="never closed') == [Challenge("basic", {})]


@given(st.integers(0, 1 << 62), st.integers(0, 1 << 62), st.none() | st.integers(0, 1 << 62))
def test_a_content_range_makes_sense_or_is_none(first: int, last: int, size: int | None) -> None:
    header = f"bytes {first}-{last}/{'*' if size is None else size}"
    sensible = first <= last and (size is None or last < size)
    assert content_range(header) == ((first, last, size) if sensible else None)


@given(st.integers(2, 1 << 62))
def test_what_was_uploaded_is_counted(count: int) -> None:
    assert uploaded(f"0-{count - 1}") == uploaded(f"bytes=0-{count - 1}") == count


def test_an_upload_that_has_nothing_begins_at_its_beginning() -> None:
    assert uploaded("0-0") == 0
    assert uploaded(None) is uploaded("1-5") is uploaded("0--1") is None


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ('</v2/x/tags/list?n=1&last=b>; rel="next"', "/v2/x/tags/list?n=1&last=b"),
        ("</a>; rel=next", "/a"),
        ('</a>; rel="prev", </b,c>; title="x"; rel="last next"', "/b,c"),
        ("</a>; rel=prev", None),
        ('</a>; title="rel=next"', None),
        ("</a", None),
        (None, None),
    ],
)
def test_the_next_page_is_found(header: str | None, target: str | None) -> None:
    assert next_page(header) == target


def test_a_registry_may_say_when_to_come_back() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after("120") == 120
    assert retry_after("Thu, 01 Jan 2026 00:00:30 GMT", now) == 30
    assert retry_after("Thu, 01 Jan 2015 00:00:30 GMT", now) == 0
    assert retry_after("soon") is retry_after("-5") is retry_after(None) is None


@given(st.integers(1, 1000), st.none() | st.floats(0, 100))
def test_waiting_is_bounded(failures: int, after: float | None) -> None:
    patience = Patience()
    pause = patience.seconds(failures, after)
    assert 0 < pause <= max(patience.longest * 1.25, after or 0)
    assert after is None or pause >= after


HOSTS = """
server = "https://registry.example/base"
ca = "own.crt"

[host."https://mirror.example:5000"]
  capabilities = ["pull", "resolve"]
  ca = ["/etc/a.crt", "b.crt"]
  client = [["c.cert", "c.key"], ["both.pem"]]
  skip_verify = true
  dial_timeout = "500ms"
  [host."https://mirror.example:5000".header]
    X-One = "a"
    X-Two = ["b", "c"]

[host."http://plain.example/path/v3"]
  override_path = true

[host."cache.example"]
"""


def test_hosts_toml_is_read_as_containerd_does() -> None:
    registry = parse_hosts(HOSTS, "docker.io", Path("/certs"))
    server, (mirror, plain, cache) = registry.server, registry.mirrors
    assert (server.scheme, server.authority, server.path) == (
        "https",
        "registry.example",
        "/base/v2",
    )
    assert server.trust.ca == ("/certs/own.crt",)
    assert not server.namespace
    assert mirror.authority == "mirror.example:5000"
    assert mirror.capabilities == {"pull", "resolve"}
    assert mirror.trust.ca == ("/etc/a.crt", "/certs/b.crt")
    assert mirror.trust.client == (
        ("/certs/c.cert", "/certs/c.key"),
        ("/certs/both.pem", "/certs/both.pem"),
    )
    assert not mirror.trust.verify
    assert mirror.connect_seconds == 0.5
    assert mirror.headers == (("X-One", "a"), ("X-Two", "b"), ("X-Two", "c"))
    assert mirror.namespace == "docker.io"
    assert (plain.scheme, plain.path) == ("http", "/path/v3")
    assert (cache.scheme, cache.path) == ("https", "/v2")
    assert cache.capabilities == {"pull", "resolve", "push"}


def test_a_mirror_that_is_the_server_gives_it_its_options() -> None:
    text = 'server = "https://a.example"\n[host."https://a.example"]\nskip_verify = true\n'
    registry = parse_hosts(text, "a.example", Path("/"))
    assert registry.mirrors == ()
    assert not registry.server.trust.verify


VALUES = st.recursive(
    st.text(max_size=20) | st.booleans() | st.integers(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


def toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(toml(each) for each in value)}]"
    if isinstance(value, int):
        return str(value)
    escaped = "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in str(value))
    return f'"{escaped}"'


@given(
    st.dictionaries(
        st.sampled_from(
            ["server", "ca", "client", "skip_verify", "capabilities", "override_path", "header"]
        ),
        VALUES.filter(lambda v: "\\Ud8" not in toml(v)),
    ),
    st.text(max_size=30),
)
def test_any_hosts_toml_is_read_or_refused(table: dict[str, object], address: str) -> None:
    lines = [f"{name} = {toml(value)}" for name, value in table.items()]
    for text in ("\n".join(lines), f"[host.{toml(address)}]\n" + "\n".join(lines)):
        try:
            registry = parse_hosts(text, "docker.io", Path("/certs"))
        except ValueError as error:
            assert str(error)
        else:
            assert registry.server.authority


def test_a_hosts_toml_that_is_wrong_says_which_and_why(tmp_path: Path) -> None:
    (tmp_path / "a.example").mkdir()
    file = tmp_path / "a.example/hosts.toml"
    for text, why in {
        "server = 5": "'server' is not a text",
        "server =": "Invalid value",
        'server = "ftp://x"': "not the address of a server",
        '[host."x y"]': "characters that no address has",
        '[host."https://x"]\ncapabilities = ["fly"]': "unknown capabilities: fly",
        '[host."https://x"]\ndial_timeout = "soon"': "dial_timeout",
        '[host."https://x"]\nclient = [["a", "b", "c"]]': "pair of certificate and key",
    }.items():
        file.write_text(text)
        with pytest.raises(RegistryError, match=why) as raised:
            Hosts([tmp_path]).registry("a.example")
        assert str(file) in str(raised.value)


def test_the_first_folder_with_a_hosts_toml_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    (first / "a.example").mkdir(parents=True)
    Authority(first / "a.example")
    (second / "a.example").mkdir(parents=True)
    (second / "a.example/hosts.toml").write_text('server = "https://b.example"')
    (second / "_default").mkdir()
    (second / "_default/hosts.toml").write_text('[host."https://mirror.example"]')
    (second / "c.example_5000_").mkdir()
    (second / "c.example_5000_/hosts.toml").write_text('server = "http://c.example:5000"')
    hosts = Hosts([tmp_path / "absent", first, second])
    assert hosts.registry("a.example").server.authority == "b.example"
    assert hosts.registry("c.example:5000").server.scheme == "http"
    other = hosts.registry("other.example")
    assert other.server.authority == "other.example"
    assert [mirror.authority for mirror in other.mirrors] == ["mirror.example"]
    trust = Hosts([first]).registry("a.example").server.trust
    assert trust.ca == (str(first / "a.example/ca.crt"),)


def test_people_are_told_of_a_folder_that_they_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, own = tmp_path / "etc/wherry/certs.d", tmp_path / "home/.config/wherry/certs.d"
    (tmp_path / "etc").mkdir()
    (tmp_path / "home").mkdir()
    hosts = Hosts([machine, own])
    assert hosts.way_to_trust("a.example", None).endswith(f"at {machine}/a.example/ca.crt")
    monkeypatch.setattr("os.access", lambda path, _: path != tmp_path / "etc")
    assert hosts.way_to_trust("a.example", None).endswith(f"at {own}/a.example/ca.crt")
    assert hosts.place_for_hosts("a.example") == str(own / "a.example/hosts.toml")
    file = own / "a.example/hosts.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[host."https://b.example"]')
    registry = hosts.registry("a.example")
    for host, name in ((registry.server, "a.example"), (registry.mirrors[0], "b.example")):
        assert hosts.way_to_trust(name, host).endswith(f"as 'ca' of {name} in {file}")
    monkeypatch.setattr("os.access", lambda *_: False)
    assert hosts.way_to_trust("a.example", None).endswith(f"at {machine}/a.example/ca.crt")


@pytest.mark.parametrize("host", ["..", ".", "_default", "../other", ""])
def test_no_host_is_a_way_out_of_the_folder(tmp_path: Path, host: str) -> None:
    folder = tmp_path / "certs.d"
    for place in (tmp_path, folder, folder / "_default", tmp_path / "other"):
        place.mkdir(exist_ok=True)
        (place / "hosts.toml").write_text("skip_verify = true")
    assert Hosts([folder]).elsewhere(host) is None


def test_a_certificate_without_its_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.example").mkdir()
    (tmp_path / "a.example/me.cert").write_text("")
    with pytest.raises(RegistryError, match="has no key: put it beside, as me"):
        Hosts([tmp_path]).registry("a.example")


def test_names_of_registries_without_configuration() -> None:
    hosts = Hosts()
    assert hosts.registry("docker.io").server.authority == "registry-1.docker.io"
    assert not hosts.registry("ghcr.io").server.may_be_plain
    for name in ("localhost", "localhost:5000", "127.0.0.1:5000", "127.3.2.1", "[::1]:5000"):
        assert hosts.registry(name).server.may_be_plain, name


@given(st.text(max_size=60))
def test_any_address_is_an_url_or_refused(text: str) -> None:
    for address in (text, f"http://{text}", f"https://h/{text}"):
        try:
            url = parse_url(address)
        except ValueError:
            continue
        assert parse_url(str(url)) == url
        assert str(url).isascii() and str(url).isprintable() and " " not in str(url)


PROXIES = {
    "HTTPS_PROXY": "http://proxy:3128",
    "http_proxy": "plainproxy:3128",
    "NO_PROXY": "internal.example,.corp,10.0.0.0/8,other.example:8443, *.wild",
}


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://ghcr.io/", "proxy"),
        ("http://ghcr.io/", "plainproxy"),
        ("https://internal.example/", None),
        ("https://a.internal.example/", None),
        ("https://notinternal.example/", "proxy"),
        ("https://x.corp/", None),
        ("https://corp/", "proxy"),
        ("https://a.wild/", None),
        ("https://10.1.2.3/", None),
        ("https://11.1.2.3/", "proxy"),
        ("https://other.example:8443/", None),
        ("https://other.example/", "proxy"),
        ("http://localhost:5000/", None),
        ("http://[::1]:5000/", None),
    ],
)
def test_proxies_are_those_of_the_environment(url: str, proxy: str | None) -> None:
    assert proxy_for(parse_url(url), PROXIES) == (Proxy(proxy, 3128) if proxy else None)
    assert proxy_for(parse_url(url), {"NO_PROXY": "*", **PROXIES} | {"NO_PROXY": "*"}) is None
    assert proxy_for(parse_url(url), {}) is None


def test_this_machine_is_known_by_its_names() -> None:
    assert all(is_loopback(host) for host in ("localhost", "a.localhost", "127.1.2.3", "::1"))
    assert not any(is_loopback(host) for host in ("localhost.example", "128.0.0.1", "::2", ""))
