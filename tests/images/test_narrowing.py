"""One platform of an index alone: loaded out of an archive, removed from the store."""

import io
from pathlib import Path

import pytest
from tests.images.mover import index_of
from tests.images.samples import (
    edited,
    layer_of,
    member,
    platform_image,
    saved,
    simple_image,
    tar_of,
)

from wherry.images import Image, ImageInUse, ImageStore, InvalidImage, NoSuchPlatform
from wherry.images.housekeeping import Housekeeping
from wherry.images.image import ATTESTATION
from wherry.oci import (
    Descriptor,
    Digest,
    Index,
    MediaType,
    encode,
    parse_platform,
    parse_reference,
)

PLATFORMS = ("wasi/wasm", "linux/amd64", "linux/arm64")
AMD, ARM = parse_platform("linux/amd64"), parse_platform("linux/arm64")


def images_for(store: ImageStore) -> dict[str, Image]:
    """An image for each platform: a layer of its own above one that all have."""
    images = {}
    with store.hold():
        shared = layer_of(store, tar_of(member("shared", b"s" * 3000)))
        for platform in PLATFORMS:
            own = layer_of(store, tar_of(member("own", platform.encode() * 300)))
            images[platform] = platform_image(store, platform, shared, own)
    return images


@pytest.fixture
def several(store: ImageStore) -> dict[str, Image]:
    """The images of the index `several`."""
    images = images_for(store)
    index_of(store, "several", [(image, platform) for platform, image in images.items()])
    for image in images.values():  # none is listed by itself
        store.remove(image.digest)
    return images


def test_one_platform_goes_and_the_others_stay(
    store: ImageStore, several: dict[str, Image]
) -> None:
    amd = several["linux/amd64"]
    store.lowerdirs(store.resolve("several", AMD))
    before, target = store.usage().total, store.resolve("several").target
    removal = store.remove_platforms("several", [AMD])
    assert (removal.untagged, removal.deleted) == ([], [amd.digest])
    shared, own = (Digest(layer.digest) for layer in amd.manifest.layers)
    assert store.blobs.has(shared)
    assert not any(map(store.blobs.has, (amd.digest, amd.id, own)))
    assert removal.reclaimed == before - store.usage().total > 0
    assert {str(image.platform) for image in store.platforms("several")} == set(PLATFORMS) - {
        "linux/amd64"
    }
    assert store.resolve("several").target == target
    assert store.check() == []
    assert store.collect() == 0
    with pytest.raises(NoSuchPlatform, match="not for linux/amd64"):
        store.remove_platforms("several", [AMD])


def test_what_is_said_about_an_image_goes_with_it(store: ImageStore) -> None:
    images = images_for(store)
    with store.hold():
        said = simple_image(store, None, "attestation")
        manifests = [image.descriptor for image in images.values()]
        about = {
            ATTESTATION: "attestation-manifest",
            "vnd.docker.reference.digest": images["linux/arm64"].digest,
        }
        manifests.append(
            Descriptor(
                media_type=MediaType.MANIFEST, digest=said.digest, size=said.descriptor.size,
                annotations=about,
            )
        )  # fmt: skip
        index = encode(Index(schema_version=2, manifests=manifests))
        store.tag(store.blobs.write(MediaType.INDEX, index), parse_reference("several"))
    for image in (*images.values(), said):
        store.remove(image.digest)
    removal = store.remove_platforms("several", [ARM])
    assert removal.deleted == sorted([images["linux/arm64"].digest, said.digest])
    assert store.check() == []


def test_what_is_used_or_named_by_itself_stays(
    store: ImageStore, several: dict[str, Image]
) -> None:
    amd = several["linux/amd64"]
    with pytest.raises(ImageInUse, match="linux/amd64 is used by a container"):
        store.remove_platforms("several", [AMD], in_use=[amd.id])
    with store.hold():
        store.resolve("several", AMD)
        with pytest.raises(ImageInUse, match="is being worked with"):
            store.remove_platforms("several", [AMD])
    store.tag(amd.descriptor, parse_reference("alone"))
    with pytest.raises(ImageInUse, match="has a name of its own"):
        store.remove_platforms("several", [AMD])
    with pytest.raises(ImageInUse, match="nothing else here"):
        store.remove_platforms("alone", [AMD])
    with pytest.raises(ImageInUse, match="nothing else here"):
        store.remove_platforms("several", [parse_platform(each) for each in PLATFORMS])
    assert len(store.platforms("several")) == 3
    assert store.check() == []


def test_one_platform_of_an_archive_is_kept(
    store: ImageStore, several: dict[str, Image], tmp_path: Path
) -> None:
    archive = saved(store, "several")
    other = ImageStore(tmp_path / "other")
    assert other.load(io.BytesIO(archive), AMD) == ["several:latest"]
    target = other.resolve("several").target
    assert target == store.resolve("several").target
    assert set(other.blobs.digests()) == {target.digest, *several["linux/amd64"].blobs}
    assert other.check() == []
    # What is here by another way stays when it comes once more.
    assert other.load(io.BytesIO(archive), ARM) == ["several:latest"]
    assert {str(each.platform) for each in other.platforms("several")} == set(PLATFORMS[1:])
    with pytest.raises(NoSuchPlatform, match="not for linux/s390x"):
        other.load(io.BytesIO(archive), parse_platform("linux/s390x"))
    assert len(other.platforms("several")) == 2
    assert other.check() == []
    assert other.collect() == 0


def test_a_broken_archive_leaves_no_half_image_in_an_index_that_was_here(
    store: ImageStore, several: dict[str, Image], tmp_path: Path
) -> None:
    archive = saved(store, "several")
    other = ImageStore(tmp_path / "other")
    other.load(io.BytesIO(archive), AMD)
    before = set(other.blobs.digests())
    lost = several["linux/arm64"].blobs[-1].partition(":")[2]
    broken = edited(archive, lambda name, data: None if lost in name else (name, data))
    with pytest.raises(InvalidImage, match="is missing"):
        other.load(io.BytesIO(broken))
    assert set(other.blobs.digests()) == before
    assert other.check() == []


def test_a_removal_that_was_killed_leaves_only_too_much(
    store: ImageStore, several: dict[str, Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object) -> int:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Housekeeping, "discard", kill)
        store.remove_platforms("several", [AMD])
    again = ImageStore(store.blobs.path(several["linux/amd64"].digest).parents[3])
    assert len(again.platforms("several")) == 2
    assert again.check() == []
    assert again.collect() > 0
    own = Digest(several["linux/amd64"].manifest.layers[1].digest)
    assert not again.blobs.has(own)
