"""Pulls and pushes of the engine: joined, given up, told of, and what is asked of registries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator

import pytest
from tests.engine.kitchen import make_image
from tests.engine.test_images import deeds
from tests.registries import ChangeAnswer, Faults, Hold, RealRegistry, registry

from wherry.engine import Engine, Filters, InvalidRequest, NotFound, Unauthorized
from wherry.engine.images.flow import Announced, Event
from wherry.oci import Index, RuntimeConfig, decode
from wherry.registry import Credentials

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def real() -> Iterator[RealRegistry]:
    with registry() as running:
        yield running


async def _all(events: AsyncGenerator[Event, None]) -> list[str]:
    """What a transfer says to people, to its end."""
    return [event.text async for event in events if isinstance(event, Announced)]


async def _reached(hold: Hold) -> None:
    assert await asyncio.to_thread(hold.reached.wait, 60)


async def test_an_image_goes_and_comes_and_both_are_told(
    engine: Engine, real: RealRegistry
) -> None:
    name = f"{real.name}/engine/round:1"
    image = make_image(engine.store, name)
    transfers = await engine.images.transfers()
    said = await _all(transfers.pushes.push(f"{real.name}/engine/round", "1"))
    assert said[0] == f"The push refers to repository [{real.name}/engine/round]"
    assert said[-1].startswith(f"1: digest: {image.digest} size: ")
    await engine.images.remove(name)
    said = await _all(transfers.pulls.pull(name))
    assert said[-1] == f"Status: Downloaded newer image for {name}"
    assert engine.images.resolve(name).digest == image.digest
    told = [deed for deed in deeds(engine) if deed[0] in ("push", "pull")]
    repository = f"{real.name}/engine/round"
    assert told == [("push", repository), ("pull", repository)]


async def test_who_asks_for_what_is_being_pulled_joins_it(
    engine: Engine, real: RealRegistry
) -> None:
    with Faults(real) as faults:
        name = f"{faults.name}/joined:1"
        image = make_image(engine.store, name, config=RuntimeConfig(env=["JOINED=1"]))
        transfers = await engine.images.transfers()
        await _all(transfers.pushes.push(f"{faults.name}/joined", "1"))
        await engine.images.remove(name)
        faults.clear()
        hold = Hold()
        faults.add("GET", image.manifest.config.digest, hold)
        first = asyncio.create_task(_all(transfers.pulls.pull(name)))
        await _reached(hold)
        second = asyncio.create_task(_all(transfers.pulls.pull(name)))
        # Somebody else's login is another matter: it has to be tried.
        third = transfers.pulls.pull(name, credentials=Credentials("ann", "secret"))
        assert await anext(third)
        await third.aclose()
        assert len(faults.requests("GET", "/manifests/1$")) == 2
        hold.released.set()
        assert await first == await second
        assert engine.images.resolve(name).digest == image.digest


async def test_a_pull_ends_with_the_last_who_follows_it(engine: Engine, real: RealRegistry) -> None:
    with Faults(real) as faults:
        name = f"{faults.name}/left:1"
        image = make_image(engine.store, name, {"left": b"left"})
        transfers = await engine.images.transfers()
        await _all(transfers.pushes.push(f"{faults.name}/left", "1"))
        await engine.images.remove(name)
        hold = Hold()
        faults.add("GET", image.manifest.config.digest, hold)
        first = asyncio.create_task(_all(transfers.pulls.pull(name)))
        await _reached(hold)
        second = transfers.pulls.pull(name)
        assert await anext(second)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        (flow,) = transfers._flows
        assert not flow._cancel.cancelled
        await second.aclose()
        assert flow._cancel.cancelled
        await flow.ended()
        hold.released.set()
        with pytest.raises(NotFound):
            engine.images.resolve(name)
        # And the next is one of its own.
        await _all(transfers.pulls.pull(name))
        assert engine.images.resolve(name).digest == image.digest


async def test_an_engine_that_closes_leaves_no_transfer_behind(
    engine: Engine, real: RealRegistry
) -> None:
    with Faults(real) as faults:
        name = f"{faults.name}/closing:1"
        image = make_image(engine.store, name, {"closing": b"closing"})
        transfers = await engine.images.transfers()
        await _all(transfers.pushes.push(f"{faults.name}/closing", "1"))
        await engine.images.remove(name)
        hold = Hold()
        faults.add("GET", image.manifest.config.digest, hold)
        pulling = asyncio.create_task(_all(transfers.pulls.pull(name)))
        await _reached(hold)
        await engine.images.close()
        (result,) = await asyncio.gather(pulling, return_exceptions=True)
        assert "cancel" in str(result)
        hold.released.set()
        assert engine.store.check() == []


async def test_all_tags(engine: Engine, real: RealRegistry) -> None:
    repository = f"{real.name}/all/tags"
    one = make_image(engine.store, f"{repository}:one", {"which": b"1"})
    two = make_image(engine.store, f"{repository}:two", {"which": b"2"})
    transfers = await engine.images.transfers()
    said = await _all(transfers.pushes.push(repository))
    digests = [line.partition(" size")[0] for line in said if "digest:" in line]
    assert digests == [f"one: digest: {one.digest}", f"two: digest: {two.digest}"]
    await engine.images.remove(f"{repository}:one")
    await engine.images.remove(f"{repository}:two")
    await _all(transfers.pulls.pull(repository, all_tags=True))
    assert engine.images.resolve(f"{repository}:two").digest == two.digest
    with pytest.raises(InvalidRequest, match="all-tags"):
        await _all(transfers.pulls.pull(f"{repository}:one", all_tags=True))


async def test_what_a_registry_warns_of_is_told_once(engine: Engine, real: RealRegistry) -> None:
    with Faults(real) as faults:
        name = f"{faults.name}/warned:1"
        make_image(engine.store, name, {"warned": b"warned"})
        faults.add(".*", "", ChangeAnswer({"Warning": '299 - "moving soon"'}), times=1000)
        transfers = await engine.images.transfers()
        told = f"Warning from {faults.name}/warned: moving soon"
        assert (await _all(transfers.pushes.push(f"{faults.name}/warned", "1"))).count(told) == 1
        assert (await _all(transfers.pulls.pull(name))).count(told) == 1


async def test_passwords_are_wanted_and_checked(engine: Engine) -> None:
    ann = Credentials("ann", "secret")
    with registry(htpasswd={"ann": "secret"}) as closed:
        name = f"{closed.name}/closed:1"
        make_image(engine.store, name)
        transfers = await engine.images.transfers()
        with pytest.raises(Unauthorized):
            await _all(transfers.pushes.push(f"{closed.name}/closed", "1"))
        await _all(transfers.pushes.push(f"{closed.name}/closed", "1", credentials=ann))
        with pytest.raises(NotFound, match=f"'docker login': {closed.name} denies access"):
            await _all(transfers.pulls.pull(name))
        with pytest.raises(Unauthorized):
            await transfers.registries.login(closed.name, Credentials("ann", "wrong"))
        assert await transfers.registries.login(closed.name, ann) == ""
        assert (await transfers.registries.distribution(name, ann)).platforms[0].is_wasm
        (found,) = await transfers.registries.search(f"{closed.name}/clo", 5, Filters(), ann)
        assert found.name == f"{closed.name}/closed"
        few = Filters({"stars": ["3"]})
        assert await transfers.registries.search(f"{closed.name}/clo", 5, few, ann) == []
        with pytest.raises(InvalidRequest, match="stars=many"):
            await transfers.registries.search("clo", 5, Filters({"stars": ["many"]}), ann)


async def test_a_manifest_list_is_made_and_sent(engine: Engine, real: RealRegistry) -> None:
    here = make_image(engine.store, f"{real.name}/list/here:1", {"is": b"here"})
    there = make_image(
        engine.store, f"{real.name}/list/there:1", {"is": b"there"}, compression="zstd"
    )
    transfers = await engine.images.transfers()
    await _all(transfers.pushes.push(f"{real.name}/list/there", "1"))
    await engine.images.remove(f"{real.name}/list/there:1")
    name = f"{real.name}/list/both:1"
    members = [f"{real.name}/list/here:1", f"{real.name}/list/there:1"]
    assert await transfers.ask(lambda m: m.create(name, members, {}, amend=False)) == name
    with pytest.raises(InvalidRequest, match="--amend"):
        await transfers.ask(lambda m: m.create(name, members[:1], {}, amend=False))
    from wherry.engine.images.manifests import Annotation

    arm = Annotation(manifest=members[1], os="linux", architecture="arm", variant="v7")
    await transfers.ask(lambda m: m.annotate(name, arm))
    with pytest.raises(NotFound, match="not in the manifest list"):
        await transfers.ask(lambda m: m.annotate(name, Annotation(manifest="other:1")))
    mine = await transfers.ask(lambda m: m.inspect(name, "", {}, verbose=False))
    # Of one with zstd layers it is said, wherever it is.
    assert [m.annotations for m in decode(mine, Index, "list").manifests] == [
        None, {"io.github.containers.compression.zstd": "true"},
    ]  # fmt: skip
    said = await _all(transfers.pushes.push_list(name, None, purge=True))
    assert said[-1].startswith("1: digest: sha256:")
    with pytest.raises(NotFound, match="was made here"):
        await transfers.ask(lambda m: m.remove(name))
    theirs = await transfers.ask(lambda m: m.inspect(name, "", {}, verbose=False))
    assert theirs == mine
    assert here.digest.encode() in theirs
    verbose = await transfers.ask(lambda m: m.inspect(name, "", {}, verbose=True))
    assert verbose.count(b'"OCIManifest"') == 2
    shown = await transfers.registries.distribution(name, None)
    assert [str(platform) for platform in shown.platforms] == ["wasi/wasm", "linux/arm/v7"]
    await _all(transfers.pulls.pull(name, "linux/arm/v7"))
    found = [image.digest for image in engine.store.platforms(name)]
    assert found == [here.digest, there.digest]
