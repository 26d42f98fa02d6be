"""examples/http-go as its README lines say: built, run, published, and found by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from tests.engine_under_test import Wherry
from tests.guests.toolchain import EXAMPLES, Guests
from tests.network.machine import FAR, INSIDE, NOBODY, Machine

pytestmark = [pytest.mark.root, pytest.mark.guests]

FRONT = ("-d", "--network", "front", "--dns", "127.0.0.1")  # where nobody answers
WEB = (*FRONT, "--name", "web", "-p", "8080:8080")
SHOP = (*FRONT, "--name", "shop", "--network-alias", "store")


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with Machine() as machine:
        yield machine


@pytest.fixture(scope="module", params=[None, NOBODY], ids=["root", "user"])
def engine(
    request: pytest.FixtureRequest,
    machine: Machine,
    guests: Guests,
) -> Iterator[Wherry]:
    """An engine, of root or of an ordinary user, with two servers that know each other's names."""
    with Wherry(user=request.param) as wherry:
        wherry.within = machine.within
        context = wherry.folder / "http-go"
        context.mkdir(mode=0o755)
        shutil.copy(EXAMPLES / "http-go" / "Dockerfile", context)
        shutil.copy(guests.go(EXAMPLES / "http-go"), context / "server.wasm")
        wherry.ok("build", "-q", "-t", "http-go", context)
        wherry.ok("network", "create", "front")
        for flags in (SHOP, WEB):
            wherry.ok("run", *flags, "http-go", timeout=300)
        yield wherry


@pytest.fixture
def fetch(machine: Machine, engine: Wherry) -> Callable[..., str]:
    """What curl is answered, from the machine or from the world outside it."""

    def ask(url: str, *, outside: bool = False, patience: int = 20) -> str:
        where = machine.outside if outside else machine
        flags = ["--retry", str(patience), "--retry-connrefused", "--max-time", "20", "-sS"]
        if patience:
            flags.append("--fail")  # what an attempt in vain says is no part of the answer
        return where.ok("curl", *flags, url).strip()

    return ask


def test_a_published_port_is_served(engine: Wherry, fetch: Callable[..., str]) -> None:
    assert fetch("http://127.0.0.1:8080/") == "hello 127.0.0.1, from Go in WebAssembly"
    assert engine.ok("port", "web") == "8080/tcp -> 0.0.0.0:8080\n8080/tcp -> [::]:8080"


def test_the_guest_sees_the_address_of_a_client_outside(
    engine: Wherry, fetch: Callable[..., str]
) -> None:
    said = fetch(f"http://{INSIDE}:8080/", outside=True)
    client = said.removeprefix("hello ").partition(",")[0]
    assert client != INSIDE
    assert client.startswith("198.51.100.") or client == FAR


def test_containers_find_each_other_by_name_and_alias(
    engine: Wherry, fetch: Callable[..., str]
) -> None:
    path = '(index .NetworkSettings.Networks "front").IPAddress'
    address = engine.ok("inspect", "-f", f"{{{{{path}}}}}", "web")
    for name in ("shop", "store"):
        said = fetch(f"http://127.0.0.1:8080/from/{name}")
        assert said == f"{name} says: hello {address}, from Go in WebAssembly"


def test_a_name_that_is_gone_is_not_found(engine: Wherry, fetch: Callable[..., str]) -> None:
    engine.ok("rm", "-f", "shop")
    said = fetch("http://127.0.0.1:8080/from/shop", patience=0)
    assert "lookup shop" in said and "shop says" not in said
    engine.ok("run", *SHOP, "http-go")
    assert fetch("http://127.0.0.1:8080/from/shop").startswith("shop says: hello ")


def test_egress_by_name_holds_for_a_guest_that_asks_the_resolver_itself(
    engine: Wherry, fetch: Callable[..., str]
) -> None:
    rules = ("--label", "io.wherry.egress=web:8080")
    engine.ok("run", *FRONT, "--name", "guarded", *rules, "-p", "8083:8080", "http-go")
    assert fetch("http://127.0.0.1:8083/from/web").startswith("web says: hello ")
    assert "lookup shop" in fetch("http://127.0.0.1:8083/from/shop", patience=0)
    path = '(index .NetworkSettings.Networks "front").IPAddress'
    address = engine.ok("inspect", "-f", f"{{{{{path}}}}}", "shop")
    refused = fetch(f"http://127.0.0.1:8083/from/{address}", patience=0)
    assert f"dial tcp {address}:8080: connect: Connection refused" in refused
    told = engine("logs", "guarded").err
    for target in ("shop", f"{address}:8080"):
        assert f"egress to {target} denied" in told
