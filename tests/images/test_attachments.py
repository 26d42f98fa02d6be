"""What hangs on an image: out of sight, safe from collectors, and gone with it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.images.samples import simple_image
from tests.images.test_killed import killed_at, points

from wherry.images import Image, ImageNotFound, ImageStore, InvalidImage
from wherry.images.attachments import names_attachments
from wherry.oci import (
    Descriptor,
    Digest,
    Manifest,
    MediaType,
    Reference,
    digest_of,
    encode,
    parse_reference,
)

NOTE = "text/x-note"
TAG = parse_reference("hello:sha256-x.sig")


def part(data: bytes, **annotations: str) -> Descriptor:
    return Descriptor(
        media_type=NOTE, digest=digest_of(data), size=len(data), annotations=annotations or None
    )


def hang(
    store: ImageStore, image: Image, *texts: bytes, reference: Reference | None = None
) -> Descriptor:
    """Hang a manifest with these layers on an image."""
    config = b"{}"
    manifest = Manifest(
        schema_version=2, config=part(config), layers=[part(text) for text in texts]
    )
    blobs = {digest_of(data): data for data in (config, *texts)}
    subject = Digest(image.target.digest)
    with store.hold():
        return store.attachments.add(
            subject, MediaType.MANIFEST, encode(manifest), blobs, reference
        )


def hanging(store: ImageStore, image: Image) -> list[list[str]]:
    """The digests of the layers of all that hangs on an image."""
    found = store.attachments.of(Digest(image.target.digest))
    return [[layer["digest"] for layer in json.loads(each.manifest)["layers"]] for each in found]


def test_an_attachment_is_no_image(store: ImageStore) -> None:
    image = simple_image(store, "hello")
    target = hang(store, image, b"one", reference=TAG)
    assert [each.id for each in store.list()] == [image.id]
    for name in (TAG.familiar, target.digest, target.digest[7:19], f"hello@{target.digest}"):
        with pytest.raises(ImageNotFound):
            store.resolve(name)
    assert store.resolve("hello").names == ["hello:latest"]
    assert hanging(store, image) == [[digest_of(b"one")]]


def test_other_tools_find_it_in_the_layout(store: ImageStore, tmp_path: Path) -> None:
    image = simple_image(store, "hello")
    hang(store, image, b"one", reference=TAG)
    index = json.loads((tmp_path / "data" / "images" / "index.json").read_bytes())
    annotations = index["manifests"][1]["annotations"]
    assert annotations["org.opencontainers.image.ref.name"] == "hello:sha256-x.sig"
    assert annotations["io.wherry.subject"] == image.target.digest
    assert hanging(ImageStore(tmp_path / "data"), image) == [[digest_of(b"one")]]


def test_it_stays_as_long_as_its_image_and_goes_with_it(store: ImageStore) -> None:
    image = simple_image(store, "hello")
    store.tag(image.target, parse_reference("other"))
    before = {*store.blobs.digests()}
    hang(store, image, b"one", reference=TAG)
    store.collect()
    store.prune()
    store.remove("hello")
    store.collect()
    assert hanging(store, image) == [[digest_of(b"one")]]
    assert store.check() == []
    store.remove("other")
    assert {*store.blobs.digests()} == set() != before
    assert store.attachments.of(Digest(image.target.digest)) == []


def test_it_stays_with_an_image_that_is_in_use(store: ImageStore) -> None:
    image = simple_image(store, "hello")
    hang(store, image, b"one")
    store.remove("hello", force=True, in_use=[image.id])
    store.prune(all=True, in_use=[image.id])
    assert hanging(store, image) == [[digest_of(b"one")]]
    store.prune(all=True)
    assert [*store.blobs.digests()] == []


def test_what_hangs_on_an_attachment_goes_with_that(store: ImageStore) -> None:
    image = simple_image(store, "hello")
    target = hang(store, image, b"one")
    config = b"{}"
    manifest = encode(Manifest(schema_version=2, config=part(config), layers=[part(b"two")]))
    blobs = {digest_of(b"two"): b"two"}
    with store.hold():
        store.attachments.add(Digest(target.digest), MediaType.MANIFEST, manifest, blobs)
    store.collect()
    assert store.attachments.of(Digest(target.digest))
    store.remove("hello")
    assert [*store.blobs.digests()] == []


def test_its_bytes_are_its_images(store: ImageStore) -> None:
    image = simple_image(store, "hello")
    before = store.usage()
    hang(store, image, b"one" * 10_000)
    after = store.usage()
    assert after.blobs > before.blobs
    assert store.usage(in_use=[image.id]).reclaimable == 0
    assert after.images[Digest(image.target.digest)] != before.images[Digest(image.target.digest)]


def test_one_that_says_all_that_another_says_takes_its_place(store: ImageStore) -> None:
    image = simple_image(store, "hello")
    hang(store, image, b"one", reference=TAG)
    hang(store, image, b"one", b"two", reference=TAG)
    assert hanging(store, image) == [[digest_of(b"one"), digest_of(b"two")]]
    hang(store, image, b"three", reference=TAG)
    assert sorted(map(len, hanging(store, image))) == [1, 2]
    names = [each.reference for each in store.attachments.of(Digest(image.target.digest))]
    assert names.count(TAG) == 1
    hang(store, image, b"one", b"two", b"three", reference=TAG)
    assert list(map(len, hanging(store, image))) == [3]


def test_the_same_one_twice_is_one(store: ImageStore) -> None:
    image = simple_image(store, "hello")
    for reference in (TAG, TAG, None):
        hang(store, image, b"one", reference=reference)
    assert hanging(store, image) == [[digest_of(b"one")]]


def test_the_same_one_on_two_images_stays_on_both(store: ImageStore) -> None:
    images = [simple_image(store, name, name) for name in ("hello", "other")]
    for image in images:
        hang(store, image, b"one")
    assert [hanging(store, image) for image in images] == [[[digest_of(b"one")]]] * 2


def test_what_is_not_whole_or_has_no_image_is_refused(store: ImageStore) -> None:
    image = simple_image(store, "hello")
    manifest = encode(Manifest(schema_version=2, config=part(b"{}"), layers=[part(b"one")]))
    subject = Digest(image.target.digest)
    nowhere = Digest("sha256:" + "0" * 64)
    good = {digest_of(data): data for data in (b"{}", b"one")}

    def add(subject: Digest, manifest: bytes, blobs: dict[Digest, bytes]) -> Callable[[], object]:
        return lambda: store.attachments.add(subject, MediaType.MANIFEST, manifest, blobs)

    for attempt, error in (
        (add(subject, b"{}", good), InvalidImage),
        (add(subject, manifest, {}), InvalidImage),
        (add(nowhere, manifest, good), ImageNotFound),
    ):
        with pytest.raises(error), store.hold():
            attempt()
    assert hanging(store, image) == []
    assert store.check() == []


def test_a_damaged_one_is_told_and_passed_over(store: ImageStore) -> None:
    image = simple_image(store, "hello")
    target = hang(store, image, b"one")
    store.blobs.path(digest_of(b"one")).unlink()
    assert any("a signature of image" in str(line) for line in store.check())
    store.blobs.path(Digest(target.digest)).write_bytes(b"damaged")
    assert hanging(store, image) == []
    assert [each.id for each in store.list()] == [image.id]


def test_kill_9_while_it_is_hung_up_or_taken_down_leaves_a_whole_store(tmp_path: Path) -> None:
    def victim(root: Path) -> tuple[Image, Callable[[], None]]:
        store = ImageStore(root)
        image = simple_image(store, "hello")

        def work() -> None:
            hang(store, image, b"one", reference=TAG)
            store.remove("hello")

        return image, work

    _, work = victim(tmp_path / "counted")
    for point in points(work)[::4]:
        image, work = victim(tmp_path / str(point))
        assert killed_at(point, work)
        again = ImageStore(tmp_path / str(point))
        assert again.check() == []
        if again.list():
            hang(again, image, b"one", reference=TAG)
            assert hanging(again, image) == [[digest_of(b"one")]]
            again.remove("hello")
        again.collect()
        assert [*again.blobs.digests()] == []


@pytest.mark.parametrize(
    ("tag", "is_one"),
    [
        (f"sha256-{'a' * 64}", True),
        (f"sha256-{'a' * 64}.sig", True),
        (f"sha256-{'a' * 64}.att", True),
        (f"sha256-{'a' * 63}", False),
        ("latest", False),
        (f"v1-sha256-{'a' * 64}.sig", False),
    ],
)
def test_tags_of_attachments_are_known_by_their_form(tag: str, is_one: bool) -> None:
    assert names_attachments(tag) is is_one
