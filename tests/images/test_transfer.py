"""Images between the store and a real registry: what moves, what does not, and what stays equal."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.images.mover import Mover, index_of, ingested, sized_image
from tests.images.samples import simple_image
from tests.registries import Answer, CutAnswer, CutRequest, Faults, Hold, RealRegistry, registry

from wherry.images import DigestMismatch, InvalidImage, NoSuchPlatform
from wherry.images.transfer.pull import AT_ONCE
from wherry.oci import Platform, parse_platform
from wherry.registry import Abandoned, Cancel, Client, Hosts, NotFound, RegistryError

ARM = parse_platform("linux/arm64")


@pytest.fixture
def faults(real: RealRegistry) -> Iterator[Faults]:
    with Faults(real) as proxy:
        yield proxy


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
    here.store.tag(more.target, parse(f"{faults.name}/more"))
    here.push(f"{faults.name}/base")
    here.push(f"{faults.name}/more")
    there.pull(f"{faults.name}/base")
    faults.clear()
    there.pull(f"{faults.name}/more")
    assert there.states(base.manifest.layers[0].digest) == ["Already exists"]
    assert not faults.requests("GET", base.manifest.layers[0].digest)


def parse(name: str):  # type: ignore[no-untyped-def]
    from wherry.oci import parse_reference

    return parse_reference(name)


def test_a_blob_of_another_repository_is_mounted(faults: Faults, here: Mover, there: Mover) -> None:
    image = sized_image(here.store, f"{faults.name}/mount/from:1", [7000], seed="mount")
    here.push(f"{faults.name}/mount/from:1")
    there.pull(f"{faults.name}/mount/from:1")
    again = Mover(Path(there.store.blobs.path(image.digest)).parents[3])
    again.store.tag(image.target, parse(f"{faults.name}/mount/to:2"))
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
    there.store.tag(pulled.target, parse(f"{faults.name}/elsewhere:1"))
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
        there.store.tag(pulled.target, parse(f"{second.name}/half:1"))
        with pytest.raises(NoSuchPlatform, match=r"linux/arm64.*--platform wasi/wasm"):
            there.push(f"{second.name}/half:1")


def test_a_cut_download_goes_on_where_it_was_in_the_next_pull(
    faults: Faults, here: Mover, there: Mover, tmp_path: Path
) -> None:
    name = f"{faults.name}/cut"
    image = sized_image(here.store, name, [3_000_000], seed="cut")
    layer = image.manifest.layers[0]
    here.push(name)
    faults.clear()
    faults.add("GET", layer.digest, CutAnswer(1_000_000))
    faults.add("GET", layer.digest, Answer(404), times=100)
    with pytest.raises(RegistryError):
        there.pull(name)
    assert there.store.list() == []
    assert there.store.check() == []
    (kept,) = ingested(tmp_path / "there").values()
    assert 0 < kept <= 1_000_000
    there.store.sweep()
    faults.clear()
    there.pull(name)
    (request,) = faults.requests("GET", layer.digest)
    assert request.headers["range"] == f"bytes={kept}-"
    assert ingested(tmp_path / "there") == {}
    assert there.store.check() == []


def test_a_damaged_half_is_fetched_anew(
    faults: Faults, here: Mover, there: Mover, tmp_path: Path
) -> None:
    name = f"{faults.name}/damaged"
    image = sized_image(here.store, name, [100_000], seed="damaged")
    layer = image.manifest.layers[0]
    here.push(name)
    half = tmp_path / "there" / "images" / "ingest" / layer.digest.replace(":", "-")
    half.write_bytes(b"\0" * 50_000)
    faults.clear()
    there.pull(name)
    assert [r.headers.get("range") for r in faults.requests("GET", layer.digest)] == [
        "bytes=50000-",
        None,
    ]
    assert there.store.check() == []


def test_prune_gives_half_downloads_back(there: Mover, tmp_path: Path) -> None:
    half = tmp_path / "there" / "images" / "ingest" / ("sha256-" + "0" * 64)
    half.write_bytes(b"half")
    there.store.sweep()
    assert half.exists()
    there.store.prune()
    assert not half.exists()


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
    here.store.tag(image.target, parse(two))
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


@pytest.mark.parametrize("lie", [b"short", b"x" * 70_000])
def test_what_has_another_digest_is_refused_and_not_kept(
    faults: Faults, here: Mover, there: Mover, tmp_path: Path, lie: bytes
) -> None:
    name = f"{faults.name}/lies"
    image = sized_image(here.store, name, [50_000], seed="lies")
    layer = image.manifest.layers[0]
    here.push(name)
    lie = (lie * (layer.size // len(lie) + 1))[: layer.size]
    faults.add("GET", layer.digest, Answer(200, {"Content-Length": str(len(lie))}, lie), times=9)
    with pytest.raises(DigestMismatch, match="has the digest"):
        there.pull(name)
    assert there.store.list() == []
    assert ingested(tmp_path / "there") == {}


def test_what_is_no_image_is_refused_before_anything_is_fetched(
    faults: Faults, here: Mover, there: Mover
) -> None:
    name = f"{faults.name}/wrong"
    image = simple_image(here.store, name, "wrong")
    here.push(name)
    good = here.store.blobs.read(image.digest, 1 << 20)
    layer = good[good.index(b'"layers":[') + 10 : good.rindex(b"]")]
    layers = good.replace(b'"layers":[', b'"layers":[' + (layer + b",") * 2)
    huge = good.replace(f'"size":{image.manifest.config.size}'.encode(), b'"size":10000000000')
    both = good[:-1] + b',"manifests":[]}'
    for data, message in (
        (layers, "3 layers, but its config speaks of 1"),
        (
            good.replace(b'"layers":[', b'"layers":[' + (layer + b",") * 1000),
            "1001 layers, at most",
        ),
        (huge, "10000000000 bytes"),
        (both, "manifest and index|ambiguous"),
        (b'{"schemaVersion":1,"fsLayers":[],"history":[]}', "schema 1"),
        (b"[]", "manifest"),
    ):
        faults.clear()
        answer = Answer(200, {"Content-Type": image.descriptor.media_type}, data)
        faults.add("GET", "/manifests/", answer, times=9)
        with pytest.raises((InvalidImage, RegistryError), match=message):
            there.pull(name)
        assert not faults.requests("GET", image.manifest.layers[0].digest)
    assert there.store.list() == []


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
        here.store.tag(here.store.blobs.write(index.media_type, bare), parse(name))
    here.push(name)
    assert there.pull(name, Platform(os="wasi", architecture="wasm")).image.digest == wasm.digest


def test_a_blob_that_a_mirror_lies_about_is_fetched_from_the_registry(
    real: RealRegistry, here: Mover, there: Mover, tmp_path: Path
) -> None:
    name = f"{real.name}/mirrored:1"
    image = sized_image(here.store, name, [50_000])
    here.push(name)
    layer = image.manifest.layers[0]
    with Faults(real) as liar:
        liar.add("GET", layer.digest, Answer(200, {}, b"x" * layer.size), times=9)
        (tmp_path / real.name).mkdir()
        (tmp_path / real.name / "hosts.toml").write_text(f'[host."{liar.url}"]')
        there.client = Client(Hosts([tmp_path]))
        assert there.pull(name).image.digest == image.digest
        assert len(liar.requests("GET", layer.digest)) == 1
    assert there.store.check() == []


def test_a_pull_that_is_cut_anywhere_leaves_a_whole_store_and_goes_on(
    faults: Faults, here: Mover, tmp_path: Path
) -> None:
    name = f"{faults.name}/cut/pull:1"
    wasm = sized_image(here.store, None, [1000, 600_000, 2000], seed="cut pull")
    other = sized_image(here.store, None, [10], seed="cut pull, not wanted")
    index_of(here.store, name, [(wasm, "wasi/wasm"), (other, "linux/arm64")])
    here.push(name)
    faults.clear()
    Mover(tmp_path / "count").pull(name)
    requests = len(faults.requests("GET"))
    assert requests == 2 + 1 + 3
    there = Mover(tmp_path / "there", tries=1)
    for number in range(requests):
        for after in (None, 0, 100):
            faults.clear()
            faults.add("GET", "/v2/.+", CutAnswer(after), times=99, skip=number)
            one = Mover(tmp_path / f"cut {number} {after}", tries=1)
            with pytest.raises(RegistryError):
                one.pull(name)
            assert one.store.list() == []
            assert one.store.check() == []
            faults.clear()
            have = {*one.store.blobs.digests()}
            assert one.pull(name).image.digest == wasm.digest
            assert one.store.check() == []
            asked = {seen.path.rpartition("/")[2] for seen in faults.requests("GET", "/blobs/")}
            assert asked and asked.isdisjoint(have)
    # One store that is cut again and again gets there too, a little further each time.
    for number in range(requests):
        faults.clear()
        faults.add("GET", "/v2/.+", CutAnswer(300), times=99, skip=2 + number % 2)
        with contextlib.suppress(RegistryError):
            there.pull(name)
        assert there.store.check() == []
    faults.clear()
    assert there.pull(name).image.digest == wasm.digest


def test_a_push_that_is_cut_anywhere_names_nothing_and_goes_on(
    faults: Faults, tmp_path: Path
) -> None:
    here = Mover(tmp_path / "patient", tries=1)
    reader = Mover(tmp_path / "reader")
    for number, (method, path) in enumerate(
        (
            ("HEAD", "/blobs/"),
            ("POST", "/uploads/"),
            ("PATCH|PUT", "/uploads/"),
            ("PUT", "/manifests/sha256"),
            ("PUT", "/manifests/1$"),
        )
    ):
        name = f"{faults.name}/cut/push{number}:1"
        image = sized_image(here.store, None, [1000, 300_000], seed=f"cut push {number}")
        index = index_of(here.store, name, [(image, "wasi/wasm")])
        faults.clear()
        cut = CutAnswer(None) if method in ("HEAD", "POST") else CutRequest(0)
        faults.add(method, path, cut, times=99)
        with pytest.raises(RegistryError):
            here.push(name)
        assert faults.requests(method, path)
        faults.clear()
        with pytest.raises(NotFound):
            reader.pull(name)
        here.push(name)
        assert reader.pull(name).target.digest == index.digest


def test_what_the_check_has_removed_comes_with_the_next_pull(
    real: RealRegistry, here: Mover, there: Mover
) -> None:
    name = f"{real.name}/checked/image"
    image = sized_image(here.store, name, [5000, 6000], seed="checked")
    here.push(name)
    there.pull(name)
    for digest in (image.blobs[1], image.blobs[2]):
        path = there.store.blobs.path(digest)
        path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    assert len([*there.store.checking(repair=True)]) > 0
    assert there.store.check() != []
    there.pull(name)
    assert there.store.check() == []


def test_a_pull_that_is_given_up_leaves_only_what_has_come(
    faults: Faults, here: Mover, there: Mover, tmp_path: Path
) -> None:
    name = f"{faults.name}/given/up:1"
    image = sized_image(here.store, name, [5000] * (AT_ONCE + 3), seed="given up")
    here.push(name)
    holds = [Hold() for _ in range(AT_ONCE)]
    for layer, hold in zip(image.manifest.layers, holds, strict=False):
        faults.add("GET", layer.digest, hold)
    cancel = Cancel()
    failures: list[BaseException] = []

    def pull() -> None:
        try:
            there.pull(name, cancel=cancel)
        except BaseException as error:
            failures.append(error)

    pulling = threading.Thread(target=pull)
    pulling.start()
    assert all(hold.reached.wait(60) for hold in holds)
    faults.clear()
    cancel.cancel()
    pulling.join(60)
    assert [type(error) for error in failures] == [Abandoned]
    assert faults.requests() == []
    assert ingested(tmp_path / "there") == {}
    for hold in holds:
        hold.released.set()
