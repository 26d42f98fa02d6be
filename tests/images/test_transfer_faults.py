"""Transfers that are cut, lied to or given up: what is in the store then, and how it goes on."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest
from tests.images.mover import Mover, index_of, ingested, sized_image
from tests.images.samples import found_faults, simple_image
from tests.registries import Answer, CutAnswer, CutRequest, Faults, Hold, RealRegistry

from wherry.images import DigestMismatch, InvalidImage
from wherry.images.transfer import look
from wherry.images.transfer.pull import AT_ONCE
from wherry.oci import WASM, parse_platform, parse_reference
from wherry.registry import Abandoned, Cancel, Client, Hosts, NotFound, RegistryError

ARM = parse_platform("linux/arm64")


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
    assert request.headers["range"] == f"bytes={kept}-{layer.size - 1}"
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
        f"bytes=50000-{layer.size - 1}",
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


def test_a_config_of_other_bytes_is_not_looked_at_either(faults: Faults, here: Mover) -> None:
    name = f"{faults.name}/look/lie:1"
    image = sized_image(here.store, name, [10], seed="look lie")
    here.push(name)
    reference = parse_reference(name)
    repository = here.client.repository(reference)
    assert look(repository, reference)[1] == [WASM]
    config = here.store.blobs.read(image.id, 1 << 20).replace(b"wasm", b"arm6")
    faults.add("GET", f"/blobs/{image.id}", Answer(200, {}, config), times=9)
    with pytest.raises(DigestMismatch, match="other bytes"):
        look(repository, reference)


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
    damaged = image.blobs[1:3]
    for digest in damaged:
        path = there.store.blobs.path(digest)
        path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    assert found_faults(there.store, repair=True)
    assert not any(map(there.store.blobs.has, damaged))
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
