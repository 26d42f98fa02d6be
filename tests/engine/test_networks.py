"""Networks as nouns: made, found, shown and removed as Docker does; nothing is wired here."""

from ipaddress import ip_network
from pathlib import Path

import pytest
from tests.engine.kitchen import make

from wherry.engine import (
    Conflict,
    Engine,
    EngineError,
    Filters,
    Forbidden,
    InvalidRequest,
    NotFound,
)
from wherry.engine.config import (
    ContainerConfig,
    EndpointAddresses,
    EndpointConfig,
    HostConfig,
    NetworkingConfig,
    PortBinding,
)
from wherry.engine.containers import recovery
from wherry.engine.networks import collection, subnets
from wherry.engine.networks.request import Ipam, IpamConfig, NetworkRequest
from wherry.engine.record import Endpoint, Plugged

pytestmark = pytest.mark.root


def network(name: str, *subnets: str, **given: object) -> NetworkRequest:
    ipam = Ipam(config=[IpamConfig(subnet=subnet) for subnet in subnets])
    return NetworkRequest(name=name, **{"ipam": ipam, **given})  # type: ignore[arg-type]


def names(engine: Engine, **filters: str) -> list[str]:
    chosen = Filters({key: [value] for key, value in filters.items()})
    return [each.name for each in engine.networks.list(chosen)]


async def test_the_predefined_ones_are_there(engine: Engine) -> None:
    assert names(engine) == ["bridge", "host", "none"]
    bridge = engine.networks.inspect(engine.networks.get("bridge"))
    assert bridge.options["com.docker.network.bridge.name"] == "wherry0"
    assert len(bridge.ipam.config) == 1
    for name in ("bridge", "host", "none"):
        with pytest.raises(Forbidden, match="pre-defined"):
            await engine.networks.remove(engine.networks.get(name))
        with pytest.raises(Forbidden, match="predefined"):
            engine.networks.create(network(name))


async def test_each_network_has_a_subnet_of_its_own(engine: Engine) -> None:
    for name in ("one", "two", "three"):
        engine.networks.create(network(name, enable_ipv6=name == "three"))
    found = [
        ip_network(config.subnet) for each in engine.networks.list() for config in each.ipam.config
    ]
    assert [each.version for each in found] == [4, 4, 4, 4, 6]
    assert not any(one.overlaps(two) for one in found[:4] for two in found[:4] if one is not two)


async def test_names_ids_and_beginnings_of_ids_lead_to_it(engine: Engine) -> None:
    id = engine.networks.create(network("mine")).id
    for reference in ("mine", id, id[:12]):
        assert engine.networks.get(reference).id == id
    for reference in ("min", "", id[:2], "nothing"):
        with pytest.raises(NotFound, match="not found"):
            engine.networks.get(reference)
    with pytest.raises(Conflict, match="already exists"):
        engine.networks.create(network("mine"))


@pytest.mark.parametrize(
    ("request_", "error", "reason"),
    [
        (network(""), InvalidRequest, "invalid name"),
        (network("a\nb"), InvalidRequest, "invalid name"),
        (network("n", driver="overlay"), NotFound, 'plugin "overlay" not found'),
        (network("n", driver="host"), Forbidden, "only one instance"),
        (network("n", scope="swarm"), Forbidden, "swarm"),
        (network("n", ipam=Ipam(driver="x")), NotFound, 'plugin "x" not found'),
        (network("n", "bad"), InvalidRequest, "invalid network config: "),
        (network("n", "10.9.0.1/16"), InvalidRequest, "it should be 10.9.0.0/16"),
        (network("n", "10.9.0.0/16", "10.8.0.0/16"), Forbidden, "multiple subnets"),
        (network("n", "10.9.0.0/16", "10.9.1.0/24"), Forbidden, "multiple subnets"),
        (network("n", "fd00::/64"), InvalidRequest, "--ipv6"),
        (network("n", options={"com.docker.network.driver.mtu": "x"}), InvalidRequest, "mtu"),
        (
            network("n", options={"com.docker.network.bridge.name": "much-too-long-a-name"}),
            InvalidRequest,
            "interface name",
        ),
        (
            network("n", options={"com.docker.network.bridge.name": "wherry0"}),
            Forbidden,
            "same bridge name",
        ),
        (
            network("n", options={"com.docker.network.bridge.enable_icc": "perhaps"}),
            InvalidRequest,
            "enable_icc",
        ),
    ],
)
async def test_what_cannot_be_a_network_is_refused(
    engine: Engine, request_: NetworkRequest, error: type[EngineError], reason: str
) -> None:
    with pytest.raises(error, match=reason) as caught:
        engine.networks.create(request_)
    assert "\n" not in caught.value.message
    assert names(engine) == ["bridge", "host", "none"]


async def test_a_subnet_that_another_network_has_is_refused(engine: Engine) -> None:
    engine.networks.create(network("one", "10.9.0.0/16"))
    with pytest.raises(Forbidden, match="Pool overlaps"):
        engine.networks.create(network("two", "10.9.7.0/24"))


async def test_filters_choose(engine: Engine) -> None:
    engine.networks.create(network("fleet", labels={"tier": "web"}))
    engine.networks.create(network("fleet-two"))
    assert names(engine, type="custom") == ["fleet", "fleet-two"]
    assert names(engine, driver="null") == ["none"]
    assert names(engine, label="tier=web") == ["fleet"]
    assert names(engine, name="eet") == ["fleet", "fleet-two"]
    assert names(engine, name="^fleet$") == ["fleet"]
    assert names(engine, name="two$") == ["fleet-two"]
    assert names(engine, dangling="true") == ["fleet", "fleet-two"]
    for wrong in ({"type": "odd"}, {"dangling": "perhaps"}, {"colour": "red"}):
        with pytest.raises(InvalidRequest):
            names(engine, **wrong)


async def test_prune_removes_what_nobody_is_in(engine: Engine) -> None:
    engine.networks.create(network("kept", labels={"keep": ""}))
    engine.networks.create(network("gone"))
    events = engine.events.subscribe(Filters({"type": ["network"]}))
    report = await engine.networks.prune(Filters({"label!": ["keep"]}))
    assert report.networks_deleted == ["gone"]
    event = await anext(events)
    assert (event.action, event.actor.attributes) == ("destroy", {"name": "gone", "type": "bridge"})
    assert names(engine, type="custom") == ["kept"]


async def test_networks_outlive_the_engine(places: tuple[Path, Path]) -> None:
    engine = await Engine.open(*places)
    engine.networks.create(
        network("mine", "10.9.0.0/16", "fd00:9::/64", enable_ipv6=True, internal=True)
    )
    before = engine.networks.list()
    await engine.close()
    engine = await Engine.open(*places)
    assert engine.networks.list() == before
    await engine.close()


async def test_after_a_reboot_the_predefined_one_gives_way_to_the_hosts(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await Engine.open(*places)
    engine.networks.create(network("mine"))
    before = {each.name: each for each in engine.networks.list()}
    await engine.close()
    taken = [ip_network(before[name].ipam.config[0].subnet) for name in ("bridge", "mine")]
    for module in (collection, subnets):
        monkeypatch.setattr(module, "host_networks", lambda: taken)
    engine = await Engine.open(*places)
    same = {each.name: each for each in engine.networks.list()}
    await engine.close()
    assert same == before
    monkeypatch.setattr(recovery, "_boot", lambda: "another")
    engine = await Engine.open(*places)
    after = {each.name: each for each in engine.networks.list()}
    await engine.close()
    (config,) = after["bridge"].ipam.config
    assert not any(ip_network(config.subnet).overlaps(each) for each in taken)
    # What people made stays as it is: they may have written its addresses down.
    assert after["mine"] == before["mine"]


async def test_a_container_without_sockets_is_in_its_network_in_name_only(engine: Engine) -> None:
    engine.networks.create(network("mine"))
    host = HostConfig(network_mode="mine")
    config = ContainerConfig(cmd=["/loop.wasm"], exposed_ports={"80/tcp": {}})
    container = await make(engine, config=config, host=host)
    await engine.containers.start(container)
    found = (await engine.containers.inspect(container)).network_settings
    assert list(found.networks) == ["mine"]
    assert (found.networks["mine"].ip_address, found.networks["mine"].endpoint_id) == ("", "")
    assert engine.networks.inspect(engine.networks.get("mine")).containers == {}
    assert not (engine.run / "network.lock").exists()
    await engine.containers.rename(container, "another")
    await engine.containers.disconnect(container, "mine")
    await engine.networks.remove(engine.networks.get("mine"))
    with pytest.raises(EngineError, match="is not connected to network bridge"):
        await engine.containers.disconnect(container, "bridge")


async def test_a_network_that_a_killed_engine_was_about_is_left(engine: Engine) -> None:
    """What is asked for and what is given are two steps; the former counts."""
    for name in ("kept", "half"):
        engine.networks.create(network(name))
    host = HostConfig(network_mode="kept")
    container = await make(engine, "/loop.wasm", host=host)
    ends = {
        name: Endpoint(id=name, network=engine.networks.get(name).id, ipv4=ipv4)
        for name, ipv4 in {"kept": "172.30.0.2/16", "half": "172.31.0.2/16"}.items()
    }
    container.life.plugged = Plugged(sandbox="x", endpoints=ends)
    engine.containers._lifecycle.networking.recover(container)
    assert list(container.life.plugged.endpoints) == ["kept"]
    assert list(engine.networks.leases._taken) == [engine.networks.get("kept").id]


async def test_what_cannot_be_written_down_changes_no_networks(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("has", "wants"):
        engine.networks.create(network(name))
    container = await make(engine, "/loop.wasm", host=HostConfig(network_mode="has"))

    def full(record: object) -> None:
        raise EngineError("disk is full")

    monkeypatch.setattr(engine.containers._context.state, "save_record", full)
    with pytest.raises(EngineError, match="full"):
        await engine.containers.disconnect(container, "has")
    with pytest.raises(EngineError, match="full"):
        await engine.containers.connect(container, engine.networks.get("wants"), EndpointConfig())
    assert list(container.record.networks) == ["has"]


async def test_ports_that_nobody_would_answer_at_are_warned_of(engine: Engine) -> None:
    for mode, warnings in (("bridge", 1), ("host", 1), ("none", 0)):
        host = HostConfig(
            network_mode=mode, port_bindings={"80/tcp": [PortBinding(host_port="8080")]}
        )
        made = await engine.containers.create(ContainerConfig(image="guests"), host)
        assert len(made.warnings) == warnings, made.warnings
        assert all("Published ports" in warning for warning in made.warnings)


@pytest.mark.parametrize(
    ("mode", "asked", "error", "reason"),
    [
        ("away", {}, InvalidRequest, "network away not found"),
        ("mine", {"away": EndpointConfig()}, InvalidRequest, "network away not found"),
        ("host", {"mine": EndpointConfig()}, InvalidRequest, "sharing network namespace"),
        ("none", {"mine": EndpointConfig()}, InvalidRequest, "private"),
        ("mine", {"none": EndpointConfig()}, InvalidRequest, "private"),
        ("mine", {"mine": EndpointConfig(mac_address="zz")}, InvalidRequest, "invalid MAC"),
        ("bridge", {"bridge": EndpointConfig(aliases=["x"])}, InvalidRequest, "user defined"),
        ("mine", {"mine": EndpointConfig(links=["away:x"])}, InvalidRequest, "could not get"),
        ("container:away", {}, InvalidRequest, "No such container: away"),
        *[
            (name, {name: EndpointConfig(ipam_config=EndpointAddresses(ipv4_address=ip))},
             InvalidRequest, reason)
            for name, ip, reason in (
                ("mine", "10.8.0.1", "no configured subnet"),
                ("mine", "nonsense", "invalid IPv4 address"),
                ("chosen", "10.8.0.1", "user configured subnets"),
                ("bridge", "172.17.0.9", "user defined networks only"),
            )
        ],
    ],
)  # fmt: skip
async def test_a_place_in_a_network_that_cannot_be_had_is_refused(
    engine: Engine,
    mode: str,
    asked: dict[str, EndpointConfig],
    error: type[EngineError],
    reason: str,
) -> None:
    engine.networks.create(network("mine", "10.9.0.0/16"))
    engine.networks.create(network("chosen"))
    with pytest.raises(error, match=reason):
        await engine.containers.create(
            ContainerConfig(image="guests"),
            HostConfig(network_mode=mode),
            NetworkingConfig(endpoints_config=asked),
        )
    assert list(engine.containers) == []
