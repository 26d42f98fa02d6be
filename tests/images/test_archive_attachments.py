"""What hangs on images goes through archives: ours, Docker's, cosign's and those of other tools."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.images.samples import Snapshot, edited, saved, simple_image
from tests.images.test_attachments import hang, hanging, part

from wherry.images import Image, ImageError, ImageStore, InvalidImage
from wherry.images.archive.hanging import MAX_ATTACHMENTS
from wherry.images.blobs import BlobStore
from wherry.oci import Digest, Index, Manifest, MediaType, digest_of, encode, parse_reference

SUBJECT = "io.containerd.manifest.subject"
NAME = "org.opencontainers.image.ref.name"
COSIGN = "dev.cosignproject.cosign"
BY_TAG = parse_reference("hello:sha256-x.sig")
ONE = [[digest_of(b"one")]]
OTHERS = f"sha256:{'0' * 64}"

Entries = list[dict[str, Any]]
"""The descriptors of an index.json: here always an image and what hangs on it."""


@pytest.fixture
def signed(store: ImageStore) -> Image:
    """An image with something hanging on it."""
    image = simple_image(store, "hello")
    hang(store, image, b"one", reference=BY_TAG)
    return image


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    """Another empty store."""
    return ImageStore(tmp_path_factory.mktemp("other"))


def rewritten(archive: bytes, change: Callable[[Entries], object]) -> bytes:
    """An archive with another index.json."""

    def edit(name: str, data: bytes) -> tuple[str, bytes]:
        if name == "index.json":
            index = json.loads(data)
            change(index["manifests"])
            data = json.dumps(index).encode()
        return name, data

    return edited(archive, edit)


def load(store: ImageStore, archive: bytes) -> list[str]:
    return store.load(io.BytesIO(archive))


def test_what_hangs_on_an_image_is_saved_and_loaded_with_it(
    store: ImageStore, other: ImageStore, signed: Image
) -> None:
    target = hang(store, signed, b"two")
    config, note = b"{}", b"about the signature"
    manifest = encode(Manifest(schema_version=2, config=part(config), layers=[part(note)]))
    with store.hold():
        store.attachments.add(
            Digest(target.digest), MediaType.MANIFEST, manifest, {digest_of(note): note}
        )
    archive = saved(store, "hello")
    for _ in range(2):  # the second time all of it is there
        assert load(other, archive) == ["hello:latest"]
        assert sorted(hanging(other, signed)) == sorted(hanging(store, signed))
        assert len(other.attachments.of(Digest(target.digest))) == 1
        assert [each.id for each in other.list()] == [signed.id]
        assert other.check() == []
    assert saved(other, "hello") == archive
    other.remove("hello")
    assert [*other.blobs.digests()] == []


def test_of_one_platform_the_signatures_of_that_and_of_the_index_are_saved(
    store: ImageStore, other: ImageStore
) -> None:
    images = [simple_image(store, None, text) for text in "12"]
    index = Index(schema_version=2, manifests=[image.descriptor for image in images])
    with store.hold():
        store.tag(store.blobs.write(MediaType.INDEX, encode(index)), parse_reference("multi"))
    whole = store.resolve("multi")
    for image in (whole, *images):
        hang(store, image, image.target.digest.encode())
    out = io.BytesIO()
    store.save(["multi"], out, whole.platform)
    load(other, out.getvalue())
    kept = next(image for image in images if other.blobs.has(image.digest))
    gone = next(image for image in images if image != kept)
    assert len(hanging(other, whole)) == len(hanging(other, kept)) == 1
    assert hanging(other, gone) == []


def by_name(entries: Entries) -> None:
    """As tools do that copy the tags of a registry."""
    digest = entries[0]["digest"].replace(":", "-")
    entries[1]["annotations"] = {NAME: f"{digest}.sig"}


def by_marks(entries: Entries) -> None:
    """As `cosign save` does."""
    entries[0]["annotations"] = {NAME: "hello", "kind": f"{COSIGN}/image"}
    entries[1]["annotations"] = {"kind": f"{COSIGN}/sigs"}


def by_store(entries: Entries) -> None:
    """As in a store's folder, which is an OCI layout itself."""
    entries[1]["annotations"] = {"io.wherry.subject": entries[0]["digest"]}


@pytest.mark.parametrize("way", [by_name, by_marks, by_store])
def test_what_others_say_of_it_is_understood(
    store: ImageStore, other: ImageStore, signed: Image, way: Callable[[Entries], None]
) -> None:
    assert load(other, rewritten(saved(store, "hello"), way)) == ["hello:latest"]
    assert hanging(other, signed) == ONE


@pytest.mark.parametrize("listed", [True, False])
def test_a_manifest_with_a_subject_hangs_on_that(
    store: ImageStore, other: ImageStore, listed: bool
) -> None:
    """Listed as oras does it, or only there as cosign 3 saves its bundles."""
    image = simple_image(store, "hello")
    manifest = Manifest(
        schema_version=2, config=part(b"{}"), layers=[part(b"one")], subject=image.target
    )
    blobs = {digest_of(data): data for data in (b"{}", b"one")}
    with store.hold():
        store.attachments.add(image.digest, MediaType.MANIFEST, encode(manifest), blobs)

    def change(entries: Entries) -> None:
        if listed:
            del entries[1]["annotations"]
        else:
            by_marks(entries)
            del entries[1]

    load(other, rewritten(saved(store, "hello"), change))
    assert hanging(other, image) == ONE
    assert len(other.list()) == 1


def test_cosign_finds_image_and_signature_by_its_marks(store: ImageStore, signed: Image) -> None:
    entries: Entries = []
    archive = saved(store, "hello")
    rewritten(archive, entries.extend)
    assert entries[0]["annotations"]["kind"] == f"{COSIGN}/image"
    assert entries[1]["annotations"] == {SUBJECT: signed.target.digest}  # it is no signature
    simple_image(store, "other", "2")
    several: Entries = []
    rewritten(saved(store, "hello", "other"), several.extend)
    assert not any("kind" in each["annotations"] for each in several)


@pytest.mark.parametrize("key", [SUBJECT, "io.wherry.subject"])
def test_what_hangs_on_something_else_is_left_out(
    store: ImageStore, other: ImageStore, signed: Image, key: str
) -> None:
    mine = simple_image(other, "mine", "2")
    for subject in (OTHERS, mine.target.digest):
        archive = rewritten(
            saved(store, "hello"),
            lambda entries, on=subject: entries[1].update(annotations={key: on}),  # type: ignore[misc]
        )
        load(other, archive)
        assert hanging(other, signed) == hanging(other, mine) == []
        assert not other.blobs.has(digest_of(b"one"))


def test_what_is_loaded_takes_no_ones_place(
    store: ImageStore, other: ImageStore, signed: Image
) -> None:
    """Or an archive with a copy of a signature among a thousand others would bury it."""
    load(other, rewritten(saved(store, "hello"), lambda entries: entries.append(entries[1])))
    assert hanging(other, signed) == ONE
    hang(store, signed, b"one", *(b"%d" % n for n in range(120)), reference=BY_TAG)
    assert len(hanging(store, signed)) == 1
    load(other, saved(store, "hello"))
    assert hanging(other, signed)[0] == ONE[0]
    assert len(hanging(other, signed)) == 2


def refused(store: ImageStore, archive: bytes, about: str) -> None:
    root = store.blobs.path(Digest("sha256:0")).parents[3]
    before = Snapshot.of(root)
    with pytest.raises(ImageError, match=about) as caught:
        load(store, archive)
    assert isinstance(caught.value, InvalidImage)
    assert Snapshot.of(root) == before


def test_what_is_not_whole_or_makes_no_sense_is_refused(
    store: ImageStore, other: ImageStore, signed: Image
) -> None:
    simple_image(other, "mine", "2")
    archive = saved(store, "hello")
    gone = digest_of(b"one").partition(":")[2]
    less = edited(archive, lambda name, data: None if gone in name else (name, data))
    refused(other, less, gone)
    for subject in ("../../../etc", "sha256:0", ""):
        wrong = rewritten(archive, lambda e, s=subject: e[1].update(annotations={SUBJECT: s}))  # type: ignore[misc]
        refused(other, wrong, "digest|digits")
    many = rewritten(archive, lambda entries: entries.extend([entries[1]] * MAX_ATTACHMENTS))
    refused(other, many, f"more than {MAX_ATTACHMENTS}")
    refused(other, rewritten(archive, lambda entries: entries.pop(0)), "no image")


def test_a_manifest_is_read_as_often_as_it_is_there_not_as_it_is_named(
    signed: Image, other: ImageStore, store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of a megabyte, an archive of few kilobytes would keep a core busy for an hour."""
    read: list[Digest] = []
    honest = BlobStore.read

    def counting(blobs: BlobStore, digest: Digest, limit: int) -> bytes:
        read.append(digest)
        return honest(blobs, digest, limit)

    archive = rewritten(saved(store, "hello"), multiply)
    monkeypatch.setattr(BlobStore, "read", counting)
    assert len(load(other, archive)) == 200
    assert max(map(read.count, read)) < 20


def multiply(entries: Entries) -> None:
    """The image a hundred times with a name and without, and as often what hangs on it."""
    image, attached = entries
    plain = {key: value for key, value in image.items() if key != "annotations"}
    named = [{**plain, "annotations": {NAME: f"docker.io/library/a{n}:1"}} for n in range(100)]
    entries[:] = [*named, *([plain] * 100), *([attached] * 100)]
