"""`network …`: what is asked of the engine, and what a person sees of its answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.cli.conftest import Shell
from tests.cli.engine import Engine

NETWORKS = [
    {
        "Id": "b" * 64, "Name": name, "Driver": "bridge", "Scope": "local", "Labels": {"a": "1"},
        "Created": "2026-11-21T09:54:40.5Z", "EnableIPv6": name == "net10",
    }
    for name in ("net10", "net2", "bridge")
]  # fmt: skip


def asked(shell: Shell, engine: Engine, *words: str) -> Any:
    """The body of the last request that `wherry WORDS` makes."""
    shell.daemon.requests.clear()
    done = shell(*words)
    assert done.returncode == 0, done.stderr
    return json.loads(shell.daemon.requests[-1].body)


def test_a_network_is_created(shell: Shell, engine: Engine) -> None:
    engine.documents["POST /networks/create"] = {"Id": "0" * 64, "Warning": "beware"}
    done = shell("network", "create", "net")
    assert done.stdout.decode() == "0" * 64 + "\n"
    assert done.stderr.decode() == "wherry: warning: beware\n"
    body = asked(shell, engine, "network", "create", "net")
    assert (body["Name"], body["Driver"], body["Internal"]) == ("net", "bridge", False)
    assert "IPAM" not in body
    body = asked(
        shell, engine, "network", "create", "--internal", "--ipv6", "--attachable",
        "--label", "a=b", "-o", "com.docker.network.driver.mtu=1400", "-d", "host", "net",
    )  # fmt: skip
    assert body["Internal"] and body["EnableIPv6"] and body["Attachable"]
    assert (body["Labels"], body["Driver"]) == ({"a": "b"}, "host")
    assert body["Options"] == {"com.docker.network.driver.mtu": "1400"}


def test_addresses_go_to_their_subnet(shell: Shell, engine: Engine) -> None:
    engine.documents["POST /networks/create"] = {"Id": "0" * 64}
    body = asked(
        shell, engine, "network", "create", "--subnet", "10.8.0.0/24", "--subnet", "fd00:8::/64",
        "--gateway", "fd00:8::1", "--gateway", "10.8.0.254", "--ip-range", "10.8.0.128/25",
        "--aux-address", "printer=10.8.0.9", "--ipam-opt", "x=y", "net",
    )  # fmt: skip
    assert body["IPAM"] == {
        "Driver": "default",
        "Options": {"x": "y"},
        "Config": [
            {"Subnet": "10.8.0.0/24", "IPRange": "10.8.0.128/25", "Gateway": "10.8.0.254",
             "AuxiliaryAddresses": {"printer": "10.8.0.9"}},
            {"Subnet": "fd00:8::/64", "Gateway": "fd00:8::1"},
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    "flags",
    [
        ("--subnet", "10.8.0.0"), ("--subnet", "x"), ("--gateway", "10.8.0.1"),
        ("--subnet", "10.8.0.0/33"), ("--subnet", "10.8.0.0/16", "--subnet", "10.8.1.0/24"),
        ("--subnet", "10.8.0.0/24", "--gateway", "10.9.0.1"),
        ("--subnet", "10.8.0.0/24", "--gateway", "here"),
        ("--subnet", "10.8.0.0/24", "--gateway", "10.8.0.1/24"),
        ("--subnet", "10.8.0.0/24", "--ip-range", "10.8.0.0/16"),
        ("--subnet", "10.8.0.0/24", "--subnet", "10.9.0.0/24",
         "--gateway", "10.8.0.1", "--gateway", "10.8.0.2"),
        ("--subnet", "10.8.0.0/24", "--aux-address", "10.8.0.3"),
        ("--subnet", "10.8.0.0/24", "--aux-address", "a=10.9.0.3"),
    ],
)  # fmt: skip
def test_addresses_that_fit_nowhere_are_told(shell: Shell, flags: tuple[str, ...]) -> None:
    done = shell("network", "create", *flags, "net")
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"Traceback" not in done.stderr
    assert shell.daemon.requests == []


def test_networks_are_listed_by_name(shell: Shell, engine: Engine) -> None:
    engine.documents["GET /networks"] = NETWORKS
    assert shell("network", "ls").stdout.decode().splitlines() == [
        "NETWORK ID     NAME      DRIVER    SCOPE",
        "bbbbbbbbbbbb   bridge    bridge    local",
        "bbbbbbbbbbbb   net2      bridge    local",
        "bbbbbbbbbbbb   net10     bridge    local",
    ]
    layout = '{{.Name}} {{.IPv6}} {{.Internal}} {{.Labels}} {{.Label "a"}} {{.CreatedAt}}'
    line = shell("network", "ls", "--format", layout).stdout.decode().splitlines()[-1]
    assert line == "net10 true false a=1 1 2026-11-21 09:54:40.5 +0000 UTC"
    assert shell("network", "ls", "-q", "--no-trunc").stdout.decode().split() == ["b" * 64] * 3
    shell.daemon.requests.clear()
    shell("network", "ls", "-f", "driver=bridge", "--filter", "type=custom")
    query = shell.daemon.requests[0].query["filters"]
    assert query == ['{"driver":["bridge"],"type":["custom"]}']


def test_a_container_is_connected_and_disconnected(shell: Shell, engine: Engine) -> None:
    engine.documents["POST /networks/net/connect"] = None
    engine.documents["POST /networks/net/disconnect"] = None
    assert asked(
        shell, engine, "network", "connect", "--alias", "db", "--alias", "data", "--ip", "10.8.0.3",
        "--ip6", "fd00::3", "--link", "a:b", "--driver-opt", "x=y", "net", "web",
    ) == {
        "Container": "web",
        "EndpointConfig": {
            "IPAMConfig": {"IPv4Address": "10.8.0.3", "IPv6Address": "fd00::3"},
            "Aliases": ["db", "data"], "Links": ["a:b"], "DriverOpts": {"x": "y"},
        },
    }  # fmt: skip
    body = asked(shell, engine, "network", "disconnect", "-f", "net", "web")
    assert body == {"Container": "web", "Force": True}
    done = shell("network", "connect", "--ip", "x", "net", "web")
    assert (done.returncode, b'"x" for "--ip"' in done.stderr) == (125, True)


def test_networks_are_removed_one_by_one(shell: Shell, engine: Engine) -> None:
    engine.documents["DELETE /networks/a"] = None
    engine.documents["GET /networks"] = NETWORKS
    engine.refusals["DELETE /networks/b"] = (403, "network b has active endpoints (web)")
    engine.refusals["DELETE /networks/nt2"] = (404, "network nt2 not found")
    done = shell("network", "rm", "nt2", "b", "a")
    assert (done.returncode, done.stdout) == (1, b"a\n")
    assert done.stderr.decode().splitlines() == [
        "wherry: network nt2 not found; did you mean 'net2'?",
        "wherry: network b has active endpoints (web)",
    ]
    done = shell("network", "rm", "-f", "nt2", "a")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a\n", b"")


def test_what_may_have_been_meant_is_said(shell: Shell, engine: Engine) -> None:
    engine.documents["GET /networks"] = NETWORKS
    engine.documents["GET /containers/json"] = [{"Names": ["/web", "/worker"]}]
    engine.refusals["POST /containers/create"] = (400, "network fornt not found")
    done = shell("run", "--network", "fornt", "hello")
    assert (done.returncode, done.stderr.decode()) == (
        125,
        "wherry: network fornt not found; make it with 'wherry network create fornt'\n",
    )
    engine.refusals["POST /networks/net3/connect"] = (404, "network net3 not found")
    assert shell("network", "connect", "net3", "web").stderr == (
        b"wherry: network net3 not found; did you mean 'net2'? "
        b"Or make it with 'wherry network create net3'\n"
    )
    engine.refusals["GET /containers/wbe/json"] = (404, "No such container: wbe")
    assert shell("port", "wbe").stderr == b"wherry: No such container: wbe; did you mean 'web'?\n"
    engine.refusals["GET /containers/json"] = (500, "broken")
    assert shell("port", "wbe").stderr == b"wherry: No such container: wbe\n"


def test_pruning_networks_asks_first(shell: Shell, engine: Engine) -> None:
    engine.documents["POST /networks/prune"] = {"NetworksDeleted": ["net2", "net10"]}
    done = shell("network", "prune", input=b"n\n")
    assert done.stdout.startswith(
        b"WARNING! This will remove all custom networks not used by at least one container.\n"
    )
    assert shell.daemon.requests == []
    done = shell("network", "prune", "-f", "--filter", "until=1h")
    assert done.stdout == b"Deleted Networks:\nnet2\nnet10\n\n"


def test_a_network_is_inspected(shell: Shell, engine: Engine) -> None:
    engine.documents["GET /networks/net"] = {"Name": "net", "Containers": {}}
    for words in (["network", "inspect"], ["inspect"], ["inspect", "--type", "network"]):
        assert json.loads(shell(*words, "net").stdout) == [{"Name": "net", "Containers": {}}]
    shell.daemon.requests.clear()
    shell("network", "inspect", "-v", "-f", "{{.Name}}", "net")
    assert shell.daemon.requests[0].query == {"verbose": ["1"]}
