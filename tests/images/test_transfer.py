"""Images between the store and a real registry: what moves, what does not, and what stays equal."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from msgspec import structs
from tests.images.mover import Mover, index_of, sized_image
from tests.images.samples import simple_image
from tests.registries import Faults, Hold, RealRegistry, registry

from wherry.images import NoSuchPlatform
from wherry.images.transfer.pull import AT_ONCE
from wherry.oci import Platform, parse_platform, parse_reference
from wherry.registry import Abandoned, Cancel, NotFound

ARM = parse_platform("linux/arm64")


def test_an_image_comes_back_as_it_went(real: RealRegistry, here: Mover, there: Mover) -> None:
    name = f"{real.name}/round/trip:1"
    image = sized_image(here.store, name, [100, 200_000, 300])
    here.push(name)
    pulled = there.pull(name)
    assert pulled.image.digest == image.digest
    assert pulled.image.id == image.id
    assert pulled.fresh
    assert there.store.check() == []
    assert there.said == [
        "Pulling from round/trip",
        f"Digest: {image.digest}",
        f"Status: Downloaded newer image for {name}",
    ]
    assert there.states(image.manifest.layers[1].digest) == [
        "Pulling fs layer", "Downloading", "Verifying Checksum", "Download complete",
        "Pull complete",
    ]  # fmt: skip
    assert there.store.lowerdirs(there.store.resolve(name))


def noted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What from now on is flushed to disk and given its name, in that order."""
    done: list[str] = []

    def noting(call: str) -> None:
        genuine = getattr(os, call)

        def note(what: int | Path, *others: Path) -> None:
            genuine(what, *others)
            if others:
                done.append(f"name {Path(others[0]).name}")
            else:
                path = Path(os.readlink(f"/proc/self/fd/{what}"))
                done.append(f"flush {'blob' if path.parent.name == 'ingest' else path.name}")

        monkeypatch.setattr(os, call, note)

    for call in ("fsync", "fdatasync", "rename", "replace"):
        noting(call)
    return done


def test_a_pull_is_durable_before_it_has_a_name_and_waits_for_the_disk_few_times(
    real: RealRegistry, here: Mover, there: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{real.name}/durable:1"
    image = sized_image(here.store, name, [1000], seed="durable")
    here.push(name)
    done = noted(monkeypatch)
    there.pull(name)
    layer, config, manifest = (
        digest.partition(":")[2]
        for digest in (image.manifest.layers[0].digest, image.id, image.digest)
    )
    assert done == [
        "flush blob", f"name {layer}", "flush blob", f"name {config}", "flush blob",
        f"name {manifest}", "flush sha256", "flush .index.json.new", "name index.json",
        "flush images", "name origins.json",
    ]  # fmt: skip


def test_an_image_that_is_made_is_on_disk_before_it_is_listed(
    here: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = sized_image(here.store, "base", [1000], seed="made")
    done = noted(monkeypatch)
    image = here.store.write_image(
        structs.replace(base.config, author="another"), base.manifest.layers
    )
    config, manifest = (digest.partition(":")[2] for digest in (image.id, image.digest))
    assert done == [
        "flush blob", f"name {config}", "flush blob", f"name {manifest}", "flush sha256",
        "flush .index.json.new", "name index.json", "flush images",
    ]  # fmt: skip


def test_what_is_there_is_neither_sent_nor_fetched_again(
    faults: Faults, here: Mover, there: Mover
) -> None:
    name = f"{faults.name}/there/already"
    image = sized_image(here.store, name, [1000, 2000], seed="already")
    here.push(name)
    faults.clear()
    here.push(name)
    assert not faults.requests("POST|PATCH")
    assert here.states(image.manifest.layers[0].digest) == ["Preparing", "Layer already exists"]
    there.pull(name)
    faults.clear()
    again = there.pull(name)
    assert not again.fresh
    assert not faults.requests("GET")
    assert there.said[-1] == f"Status: Image is up to date for {name}:latest"
    assert there.states(image.manifest.layers[0].digest) == []


def test_layers_that_another_image_has_are_not_fetched(
    faults: Faults, here: Mover, there: Mover
) -> None:
    base = sized_image(here.store, f"{faults.name}/base", [5000], seed="base")
    more = here.store.write_image(
        base.config, base.manifest.layers, annotations={"another": "manifest"}
    )
    here.store.tag(more.target, parse_reference(f"{faults.name}/more"))
    here.push(f"{faults.name}/base")
    here.push(f"{faults.name}/more")
    there.pull(f"{faults.name}/base")
    faults.clear()
    there.pull(f"{faults.name}/more")
    assert there.states(base.manifest.layers[0].digest) == ["Already exists"]
    assert not faults.requests("GET", base.manifest.layers[0].digest)


def test_a_blob_of_another_repository_is_mounted(faults: Faults, here: Mover, there: Mover) -> None:
    image = sized_image(here.store, f"{faults.name}/mount/from:1", [7000], seed="mount")
    here.push(f"{faults.name}/mount/from:1")
    there.pull(f"{faults.name}/mount/from:1")
    again = Mover(Path(there.store.blobs.path(image.digest)).parents[3])
    again.store.tag(image.target, parse_reference(f"{faults.name}/mount/to:2"))
    faults.clear()
    again.push(f"{faults.name}/mount/to:2")
    assert not faults.requests("PATCH")
    assert again.states(image.manifest.layers[0].digest) == ["Preparing", "Mounted from"]


def test_a_pull_by_digest_keeps_that_name(real: RealRegistry, here: Mover, there: Mover) -> None:
    image = simple_image(here.store, f"{real.name}/by/digest:tag", "by digest")
    here.push(f"{real.name}/by/digest:tag")
    name = f"{real.name}/by/digest@{image.digest}"
    for asked in (name, f"{real.name}/by/digest:gone@{image.digest}"):
        pulled = there.pull(asked)
        assert pulled.image.digest == image.digest
    found = there.store.resolve(name)
    assert found.names == [name]
    assert found.tags == []
    assert found.repo_digests == [name]
    assert there.store.prune().deleted == []
    assert there.store.remove(name).untagged == [name]
    assert there.store.list() == []


def test_only_the_platform_asked_for_is_fetched_and_the_index_stays_as_it_is(
    faults: Faults, here: Mover, there: Mover
) -> None:
    name = f"{faults.name}/two:1"
    wasm = sized_image(here.store, None, [3000], seed="wasm")
    other = sized_image(here.store, None, [4000], seed="arm")
    index = index_of(here.store, name, [(wasm, "wasi/wasm"), (other, "linux/arm64")])
    here.push(name)
    faults.clear()
    pulled = there.pull(name)
    assert (pulled.image.digest, pulled.target.digest) == (wasm.digest, index.digest)
    assert not faults.requests("GET", other.digest)
    assert there.store.check() == []
    assert any("wasi/wasm is taken of 2 platforms" in line for line in there.said)
    assert [image.digest for image in there.store.list()] == [wasm.digest]
    with pytest.raises(NoSuchPlatform, match=r"wasi/wasm, linux/arm64, not for linux/riscv64"):
        there.pull(name, parse_platform("linux/riscv64"))
    # What is not here is taken from where the rest came from.
    there.store.tag(pulled.target, parse_reference(f"{faults.name}/elsewhere:1"))
    there.push(f"{faults.name}/elsewhere:1")
    fresh = Mover(there.store.blobs.path(index.digest).parents[4] / "fresh")  # type: ignore[arg-type]
    assert fresh.pull(f"{faults.name}/elsewhere:1", ARM).image.digest == other.digest


def test_an_index_that_is_not_whole_is_not_pushed_where_the_rest_cannot_come_from(
    real: RealRegistry, here: Mover, there: Mover
) -> None:
    name = f"{real.name}/half:1"
    wasm = sized_image(here.store, None, [300], seed="half wasm")
    other = sized_image(here.store, None, [400], seed="half arm")
    index_of(here.store, name, [(wasm, "wasi/wasm"), (other, "linux/arm64")])
    here.push(name)
    pulled = there.pull(name)
    with registry() as second:
        there.store.tag(pulled.target, parse_reference(f"{second.name}/half:1"))
        with pytest.raises(NoSuchPlatform, match=r"linux/arm64.*--platform wasi/wasm"):
            there.push(f"{second.name}/half:1")


def test_a_tag_that_moves_during_the_pull_changes_nothing(
    faults: Faults, here: Mover, there: Mover
) -> None:
    name = f"{faults.name}/moving:now"
    first = sized_image(here.store, name, [50_000], seed="first")
    here.push(name)
    hold = Hold()
    faults.add("GET", first.manifest.layers[0].digest, hold)
    results = []
    pulling = threading.Thread(target=lambda: results.append(there.pull(name)))
    pulling.start()
    assert hold.reached.wait(60)
    second = sized_image(here.store, name, [60_000], seed="second")
    here.push(name)
    hold.released.set()
    pulling.join(60)
    assert [pulled.image.digest for pulled in results] == [first.digest]
    assert there.store.resolve(name).digest == first.digest
    assert there.pull(name).image.digest == second.digest


def test_two_pulls_of_one_blob_are_one_download(faults: Faults, here: Mover, there: Mover) -> None:
    one, two = f"{faults.name}/one", f"{faults.name}/two-names"
    image = sized_image(here.store, one, [80_000], seed="both")
    here.store.tag(image.target, parse_reference(two))
    here.push(one)
    here.push(two)
    faults.clear()
    digest = image.manifest.layers[0].digest
    hold = Hold()
    faults.add("GET", digest, hold)
    waits = threading.Event()
    cancel = Cancel()
    failures: list[BaseException] = []

    def first() -> None:
        try:
            there.pull(one, cancel=cancel)
        except BaseException as error:
            failures.append(error)

    def second() -> None:
        def tell(event: object) -> None:
            if getattr(event, "state", "") == "Downloading":
                waits.set()

        there.pull(two, tell=tell)

    threads = [threading.Thread(target=first)]
    threads[0].start()
    assert hold.reached.wait(60)
    threads.append(threading.Thread(target=second))
    threads[1].start()
    assert waits.wait(60)
    assert len(faults.requests("GET", digest)) == 1
    # Who came first gives up; who waited goes on.
    cancel.cancel()
    threads[0].join(60)
    assert [type(error) for error in failures] == [Abandoned]
    hold.released.set()
    threads[1].join(60)
    assert there.store.resolve(two).digest == image.digest
    assert there.store.check() == []


def test_several_layers_come_at_once(faults: Faults, here: Mover, there: Mover) -> None:
    name = f"{faults.name}/several"
    image = sized_image(here.store, name, [1000] * (AT_ONCE + 2), seed="several")
    here.push(name)
    holds = [Hold() for _ in range(AT_ONCE)]
    for layer, hold in zip(image.manifest.layers, holds, strict=False):
        faults.add("GET", layer.digest, hold)
    pulling = threading.Thread(target=lambda: there.pull(name))
    pulling.start()
    assert all(hold.reached.wait(60) for hold in holds)
    for hold in holds:
        hold.released.set()
    pulling.join(60)
    assert there.store.resolve(name).digest == image.digest


def test_nothing_of_that_name(real: RealRegistry, there: Mover) -> None:
    with pytest.raises(NotFound):
        there.pull(f"{real.name}/no/such:image")


def test_platforms_that_an_index_does_not_tell_are_read_from_configs(
    real: RealRegistry, here: Mover, there: Mover
) -> None:
    name = f"{real.name}/untold:1"
    wasm = sized_image(here.store, None, [300], seed="untold")
    index = index_of(here.store, name, [(wasm, "wasi/wasm")])
    data = here.store.blobs.read(index.digest, 1 << 20)  # type: ignore[arg-type]
    bare = data.replace(b',"platform":{"architecture":"wasm","os":"wasi"}', b"")
    assert bare != data
    with here.store.hold():
        here.store.tag(here.store.blobs.write(index.media_type, bare), parse_reference(name))
    here.push(name)
    assert there.pull(name, Platform(os="wasi", architecture="wasm")).image.digest == wasm.digest
