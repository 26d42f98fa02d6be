"""Removing images: what goes, what stays, what comes back."""

import asyncio
import hashlib
import os
import subprocess
import tarfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.images.samples import image_of, layer_of, member, simple_image, tar_of

from wherry.images import ImageInUse, ImageNotFound, ImageStore, LayerWriter, rootfs
from wherry.images.unpack import unpack
from wherry.oci import Digest, parse_reference

OWN_FOLDERS = ("empty", "ingest")


def test_the_last_name_takes_the_image_with_it(store: ImageStore) -> None:
    image = simple_image(store, "hello")
    store.tag(image.target, parse_reference("other:1"))
    store.lowerdirs(image)
    taken = store.usage().total
    first = store.remove("hello")
    assert (first.untagged, first.deleted, first.reclaimed) == (["hello:latest"], [], 0)
    assert store.lowerdirs(image)[0].exists()
    last = store.remove("other:1")
    assert (last.untagged, last.deleted, last.reclaimed) == (["other:1"], [image.id], taken)
    assert store.usage().total == 0
    assert store.list() == []


def test_by_id_all_names_of_one_repository_go(store: ImageStore) -> None:
    image = simple_image(store, "hello:1")
    store.tag(image.target, parse_reference("hello:2"))
    assert store.remove(image.id).untagged == ["hello:1", "hello:2"]
    assert store.list() == []


def test_by_id_names_of_several_repositories_need_force(store: ImageStore) -> None:
    image = simple_image(store, "a")
    store.tag(image.target, parse_reference("b"))
    with pytest.raises(ImageInUse, match="a, b"):
        store.remove(image.id)
    assert store.remove(image.id, force=True).untagged == ["a:latest", "b:latest"]


def test_an_image_in_use_is_not_removed(store: ImageStore) -> None:
    image = simple_image(store, "hello")
    with pytest.raises(ImageInUse, match="hello"):
        store.remove("hello", in_use=[image.id])
    assert store.resolve("hello")


def test_an_image_in_use_loses_a_name_that_is_not_its_last(store: ImageStore) -> None:
    image = simple_image(store, "a")
    store.tag(image.target, parse_reference("b"))
    assert store.remove("a", in_use=[image.id]).untagged == ["a:latest"]


def test_by_force_an_image_in_use_stays_without_a_name(store: ImageStore) -> None:
    image = simple_image(store, "hello")
    paths = store.lowerdirs(image)
    removal = store.remove("hello", force=True, in_use=[image.id])
    assert (removal.untagged, removal.deleted) == (["hello:latest"], [])
    assert store.resolve(image.id).names == []
    assert all(path.exists() for path in paths)
    assert store.prune(all=True, in_use=[image.id]).deleted == []
    assert store.prune(all=False).deleted == [image.id]
    assert store.usage().total == 0


def test_layers_that_an_older_store_unpacked_stay_for_its_containers(store: ImageStore) -> None:
    image = simple_image(store, "hello")
    (folder,) = (path.parent for path in store.lowerdirs(image))
    older = folder.with_name(image.config.rootfs.diff_ids[0].partition(":")[2][:32])
    folder.rename(older)
    assert store.check() == []
    assert store.prune().reclaimed == 0
    assert older.exists()
    store.remove("hello")
    store.prune()
    assert not older.exists()


def test_what_is_not_there_is_not_removed(store: ImageStore) -> None:
    with pytest.raises(ImageNotFound):
        store.remove("nope")


def test_shared_layers_stay_until_the_last_image_goes(store: ImageStore) -> None:
    shared = layer_of(store, tar_of(member("shared", b"x" * 1000)))
    own = layer_of(store, tar_of(member("own", b"y" * 1000)))
    a = image_of(store, shared, own, name="a")
    b = image_of(store, shared, name="b")
    lower = store.lowerdirs(a)[-1]
    store.remove("a")
    assert lower.exists()
    assert store.blobs.has(b.blobs[-1])
    assert not store.blobs.has(a.blobs[-1])
    store.remove("b")
    assert not lower.exists()


def test_prune_takes_dangling_images_and_all_takes_unused_ones(store: ImageStore) -> None:
    dangling = simple_image(store, None, "1")
    used, unused = simple_image(store, "used", "2"), simple_image(store, "unused", "3")
    assert store.prune().deleted == [dangling.id]
    removal = store.prune(all=True, in_use=[used.id])
    assert (removal.untagged, removal.deleted) == (["unused:latest"], [unused.id])
    assert [image.id for image in store.list()] == [used.id]


def test_prune_by_age_and_label(store: ImageStore) -> None:
    image_of(store, created="2020-01-01T00:00:00Z", stage="test", name="old")
    image_of(store, created="2024-01-01T00:00:00Z", stage="live", name="new")
    image_of(store, created="2019-01-01T00:00:00Z", name="plain")
    until = datetime(2022, 1, 1, tzinfo=UTC)
    assert store.prune(all=True, labels=["stage=none"]).untagged == []
    assert store.prune(all=True, until=until, labels=["stage"]).untagged == ["old:latest"]
    assert store.prune(all=True, without_labels=["stage"]).untagged == ["plain:latest"]
    assert store.prune(all=True, until=until).untagged == []
    assert store.prune(all=True, labels=["stage=live"]).untagged == ["new:latest"]


def du(*paths: Path) -> int:
    """What du(1) says that `paths` take, in bytes."""
    said = subprocess.run(["du", "-csB1", *paths], capture_output=True, text=True, check=True)
    return int(said.stdout.splitlines()[-1].split()[0])


def test_usage_is_what_du_says(store: ImageStore, tmp_path: Path) -> None:
    linked = [member("f", b"x" * 12345), member("again", type=tarfile.LNKTYPE, linkname="f")]
    used = image_of(store, layer_of(store, tar_of(*linked)), name="used")
    unused = simple_image(store, "unused", "1")
    store.lowerdirs(used)
    store.lowerdirs(unused)
    usage = store.usage([used.id])
    unpacked = [p for p in (tmp_path / "data/layers").iterdir() if p.name not in OWN_FOLDERS]
    assert usage.layers == du(*unpacked)
    assert usage.blobs == du(*map(store.blobs.path, store.blobs.digests()))
    assert usage.unneeded == {}
    assert sum(image.size - image.shared for image in usage.images.values()) == usage.total
    before = du(tmp_path / "data")
    assert store.prune(all=True, in_use=[used.id]).reclaimed == usage.reclaimable
    assert before - du(tmp_path / "data") == usage.reclaimable
    assert store.usage([used.id]).reclaimable == 0


def test_usage_tells_of_each_image_what_it_shares(store: ImageStore) -> None:
    shared = layer_of(store, tar_of(member("shared", os.urandom(20_000))))
    own = layer_of(store, tar_of(member("own", os.urandom(50_000))))
    a = image_of(store, shared, own, name="a")
    b = image_of(store, shared, name="b")
    store.tag(b.target, parse_reference("b:again"))
    orphan = store.blobs.write("text/plain", b"orphan")
    store.lowerdirs(b)
    both = store.blobs.allocated(Digest(shared.descriptor.digest))
    both += store.usage().layers
    usage = store.usage()
    alone = [
        *(Digest(text) for text in (a.digest, a.manifest.config.digest)),
        Digest(own.descriptor.digest),
    ]
    assert usage.images[a.digest].shared == usage.images[b.digest].shared == both
    assert usage.images[a.digest].size == both + du(*map(store.blobs.path, alone))
    assert usage.unneeded == {orphan.digest: store.blobs.allocated(Digest(orphan.digest))}


MODULE = b"\0asm\1\0\0\0"
TEXT = b";; a comment\n(module)"


def compiled(root: Path, *contents: bytes) -> list[Path]:
    """Put what stands for the code of modules on the shelf: the files of each."""
    files = []
    for content in contents:
        name = hashlib.sha256(content).hexdigest()
        for path in (f"key/{name}", f"key/{name}.json", f"key-bounded/{name}.lock"):
            files.append(root / "cache" / path)
            files[-1].parent.mkdir(parents=True, exist_ok=True)
            files[-1].write_bytes(b"code")
        note = root / "cache/digests" / f"1-2-3-{len(name)}-{name[:8]}"
        note.parent.mkdir(exist_ok=True)
        note.write_text(name)
        files.append(note)
    return files


def test_compiled_code_goes_with_the_last_layer_that_has_the_module(
    store: ImageStore, tmp_path: Path
) -> None:
    common, foreign = MODULE + b"common", MODULE + b"of nobody here"
    first = layer_of(store, tar_of(member("a.wasm", common), member("dir/b.wat", TEXT)))
    second = layer_of(store, tar_of(member("elsewhere", common), member("c", b"\0asm?")))
    for name, layer in (("one", first), ("two", second)):
        store.lowerdirs(image_of(store, layer, name=name))
    code, of_text, of_foreign = (
        compiled(tmp_path / "data", content) for content in (common, TEXT, foreign)
    )
    store.remove("one")
    assert [path.exists() for path in code] == [True] * 4
    assert [path.exists() for path in of_text] == [False] * 4
    store.prune(all=True)
    assert [path.exists() for path in code] == [False] * 4
    assert [path.exists() for path in of_foreign] == [True] * 4


def test_what_no_image_needs_is_collected(store: ImageStore, tmp_path: Path) -> None:
    image = simple_image(store, "hello")
    orphan = layer_of(store, tar_of(member("orphan", b"x")))
    kept = store.blobs.write("text/plain", b"kept")
    store.layer_lowerdirs([orphan])
    (tmp_path / "data/images/ingest/half").write_bytes(b"half")
    os.makedirs(tmp_path / "data/layers/ingest/half/fs/a/b")
    assert store.collect([kept.digest]) > 0  # type: ignore[list-item]
    assert {*store.blobs.digests()} == {*image.blobs, kept.digest}
    assert sorted(os.listdir(tmp_path / "data/layers")) == ["empty", "ingest"]
    assert os.listdir(tmp_path / "data/layers/ingest") == []
    assert os.listdir(tmp_path / "data/images/ingest") == []


def test_a_hold_spares_what_is_touched_in_it(store: ImageStore) -> None:
    before = store.blobs.write("text/plain", b"before")
    with store.hold():
        inside = store.blobs.write("text/plain", b"inside")
        asked = store.blobs.write("text/plain", b"asked")
        store.collect()
        assert [*store.blobs.digests()] != []
        assert not store.blobs.has(before.digest)  # type: ignore[arg-type]
        assert store.blobs.has(inside.digest)  # type: ignore[arg-type]
    with store.hold():
        assert store.blobs.has(asked.digest)  # type: ignore[arg-type]
        store.collect()
        assert [*store.blobs.digests()] == [asked.digest]
    store.collect()
    assert [*store.blobs.digests()] == []


def test_a_hold_keeps_a_resolved_image_that_is_removed_meanwhile(store: ImageStore) -> None:
    simple_image(store, "base")
    with store.hold():
        base = store.resolve("base")
        paths = store.lowerdirs(base)
        removal = store.remove("base")
        assert (removal.untagged, removal.deleted) == (["base:latest"], [])
        assert store.prune(all=True).deleted == []
        assert all(store.blobs.has(digest) for digest in base.blobs)
        assert all(path.exists() for path in paths)
        store.write_image(base.config, base.manifest.layers, reference=parse_reference("again"))
    assert store.check() == []
    assert store.resolve("again").id == base.id
    assert store.remove("again").deleted == [base.id]
    assert store.usage().total == 0


def test_a_hold_spares_only_what_was_touched_in_it(store: ImageStore) -> None:
    image = simple_image(store, "hello")
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store.hold():
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    store.lowerdirs(store.resolve("hello"))
    removal = store.remove("hello")
    done.set()
    thread.join()
    assert removal.deleted == [image.id]
    assert store.usage().total == 0


async def test_a_hold_goes_along_into_threads(store: ImageStore) -> None:
    simple_image(store, "hello")
    with store.hold():
        image = await asyncio.to_thread(store.resolve, "hello")
        paths = await asyncio.to_thread(store.lowerdirs, image)
        assert store.remove("hello").deleted == []
        assert all(path.exists() for path in paths)
    assert store.prune().deleted == [image.id]


def test_a_layer_being_written_is_not_collected(store: ImageStore) -> None:
    with LayerWriter(store.blobs) as writer:
        writer.add_file("a", b"x" * 100_000)
        store.collect()
        layer = writer.commit()
    assert store.layer_lowerdirs([layer])


def test_another_process_that_holds_the_store_stops_collection(
    store: ImageStore, tmp_path: Path
) -> None:
    other = ImageStore(tmp_path / "data")  # Its locks are its own, as another process's are.
    orphan = store.blobs.write("text/plain", b"orphan")
    taken = store.usage().blobs
    with other.hold():
        assert store.collect() == 0
        assert [*store.blobs.digests()] == [orphan.digest]
        with store.hold():
            assert store.collect() == 0
    assert store.collect() == taken


def test_many_threads_at_once(store: ImageStore) -> None:
    faults: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(8):
                name = f"image-{number}"
                image = simple_image(store, name, f"{number} {turn % 2}")
                assert store.lowerdirs(image)
                if turn % 3 == 0:
                    store.remove(name)
                if turn % 4 == 0:
                    store.collect()
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert store.check() == []
    assert len({name for image in store.list() for name in image.names}) == 6


def test_layers_wanted_by_many_are_unpacked_once(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = [layer_of(store, tar_of(member(f"f{n}", os.urandom(5000)))) for n in range(6)]
    image = image_of(store, *layers, name="wanted")
    unpacked: list[str] = []

    def counted(*args: Any) -> None:
        unpacked.append(args[1].digest)
        unpack(*args)

    monkeypatch.setattr(rootfs, "unpack", counted)
    found: list[list[Path]] = []
    threads = [
        threading.Thread(target=lambda: found.append(store.lowerdirs(image))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(unpacked) == sorted(layer.descriptor.digest for layer in layers)
    assert found == [found[0]] * 8
