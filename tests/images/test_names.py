"""Names, ids and what they stand for."""

import json
import os
from pathlib import Path

import pytest
from tests.images.samples import descriptor_of, image_of, simple_image

from wherry.images import (
    AmbiguousImage,
    ImageNotFound,
    ImageStore,
    InvalidImage,
    NoSuchPlatform,
    StoreDamaged,
)
from wherry.oci import (
    HOST,
    WASM,
    Descriptor,
    ImageConfig,
    Index,
    MediaType,
    RootFS,
    encode,
    parse_platform,
    parse_reference,
)


def index_of(store: ImageStore, name: str, *targets: Descriptor) -> Descriptor:
    """Put an image index of `targets` into the store."""
    with store.hold():
        target = store.blobs.write(
            MediaType.INDEX, encode(Index(schema_version=2, manifests=[*targets]))
        )
        store.tag(target, parse_reference(name))
    return target


def linux_image(store: ImageStore, architecture: str = HOST.architecture) -> Descriptor:
    config = ImageConfig(architecture=architecture, os="linux", rootfs=RootFS(diff_ids=[]))
    return store.write_image(config, []).descriptor


def test_an_image_is_found_by_every_form_of_its_name(store: ImageStore) -> None:
    image = simple_image(store, "hello")
    for name in (
        "hello",
        "hello:latest",
        "library/hello",
        "docker.io/library/hello:latest",
        f"hello@{image.digest}",
        f"hello:latest@{image.digest}",
        image.id,
        image.id.removeprefix("sha256:"),
        image.id.removeprefix("sha256:")[:12],
        image.id.removeprefix("sha256:")[:1],
        image.digest,
    ):
        assert store.resolve(name).id == image.id, name
    assert store.resolve("hello").names == ["hello:latest"]


@pytest.mark.parametrize(
    "name",
    ["", "nope", "hello:other", "HELLO", "a b", "../x", "hello@sha256:" + "0" * 64, "f" * 64],
)
def test_what_is_not_there_is_said_in_one_line(store: ImageStore, name: str) -> None:
    simple_image(store, "hello")
    with pytest.raises(ImageNotFound) as caught:
        store.resolve(name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_a_digest_of_another_repository_is_not_found(store: ImageStore) -> None:
    image = simple_image(store, "hello")
    with pytest.raises(ImageNotFound):
        store.resolve(f"other@{image.digest}")


def test_a_prefix_of_several_ids_is_ambiguous(store: ImageStore) -> None:
    ids: dict[str, int] = {}
    for number in range(40):
        first = simple_image(store, None, str(number)).id.removeprefix("sha256:")[:1]
        ids[first] = ids.get(first, 0) + 1
    shared = next(first for first, count in ids.items() if count > 1)
    with pytest.raises(AmbiguousImage):
        store.resolve(shared)


def test_a_name_is_preferred_to_an_id(store: ImageStore) -> None:
    other = simple_image(store, None, "other")
    named = simple_image(store, other.id.removeprefix("sha256:")[:6], "named")
    assert store.resolve(other.id.removeprefix("sha256:")[:6]).id == named.id


@pytest.mark.parametrize("form", ["{id}", "{hex}", "{digest}"])
def test_no_name_stands_before_a_whole_id(store: ImageStore, form: str) -> None:
    """An archive may say that its image is called like another's id."""
    wanted = simple_image(store, "wanted", "wanted")
    other = simple_image(store, "other", "other")
    name = form.format(id=wanted.id, hex=wanted.id.partition(":")[2], digest=wanted.digest)
    store.tag(other.target, parse_reference(name).with_default_tag())
    assert store.resolve(name).id == wanted.id
    assert store.select(name, None).image.id == wanted.id


def test_a_moved_name_leaves_the_old_image_dangling(store: ImageStore) -> None:
    old = simple_image(store, "hello", "old")
    new = simple_image(store, "hello", "new")
    assert store.resolve("hello").id == new.id
    names = {image.id: image.names for image in store.list()}
    assert names == {old.id: [], new.id: ["hello:latest"]}


def test_a_dangling_image_that_gets_a_name_is_listed_once(store: ImageStore) -> None:
    image = simple_image(store)
    assert [i.names for i in store.list()] == [[]]
    store.tag(image.target, parse_reference("a"))
    store.tag(image.target, parse_reference("example.com/b:1"))
    assert [i.names for i in store.list()] == [["a:latest", "example.com/b:1"]]


def test_the_same_image_written_twice_is_one(store: ImageStore) -> None:
    assert simple_image(store, "a").id == simple_image(store, "a").id
    simple_image(store)
    assert [image.names for image in store.list()] == [["a:latest"]]


def test_what_is_not_in_the_store_gets_no_name(store: ImageStore) -> None:
    with pytest.raises(ImageNotFound):
        store.tag(descriptor_of(MediaType.MANIFEST, b"{}"), parse_reference("x"))
    assert store.list() == []


def test_an_image_of_missing_or_other_layers_is_refused(store: ImageStore) -> None:
    config = ImageConfig(
        architecture="wasm", os="wasi", rootfs=RootFS(diff_ids=["sha256:" + "0" * 64])
    )
    with pytest.raises(InvalidImage):
        store.write_image(config, [])
    with pytest.raises(ImageNotFound):
        store.write_image(config, [descriptor_of(MediaType.LAYER_GZIP, b"")])
    assert store.list() == []
    assert store.check() == []


def test_another_process_sees_a_change_at_once(store: ImageStore, tmp_path: Path) -> None:
    other = ImageStore(tmp_path / "data")
    for number in range(20):
        simple_image(store, "hello", str(number))
        assert other.resolve("hello").id == store.resolve("hello").id


def test_the_index_is_what_other_tools_read(store: ImageStore, tmp_path: Path) -> None:
    image = simple_image(store, "hello")
    index = json.loads((tmp_path / "data/images/index.json").read_bytes())
    assert index["schemaVersion"] == 2
    assert index["manifests"] == [
        {
            "mediaType": MediaType.MANIFEST,
            "digest": image.digest,
            "size": image.descriptor.size,
            "platform": {"architecture": "wasm", "os": "wasi"},
            "annotations": {
                "org.opencontainers.image.ref.name": "hello:latest",
                "io.containerd.image.name": "docker.io/library/hello:latest",
            },
        }
    ]
    layout = (tmp_path / "data/images/oci-layout").read_bytes()
    assert json.loads(layout) == {"imageLayoutVersion": "1.0.0"}


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"schemaVersion":2}',
        b'{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"../../etc","size":1}]}',
        b'{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha256:1","size":1}]}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_index_is_told_and_kept(
    store: ImageStore, tmp_path: Path, garbage: bytes
) -> None:
    image = simple_image(store, "hello")
    index = tmp_path / "data/images/index.json"
    index.write_bytes(garbage)
    actions = (
        store.list,
        lambda: store.resolve("hello"),
        lambda: store.tag(image.target, parse_reference("x")),
        lambda: store.remove("hello"),
        lambda: store.prune(all=True),
        store.collect,
        lambda: ImageStore(tmp_path / "data").list(),
    )
    for action in actions:
        with pytest.raises(StoreDamaged) as caught:
            action()
        assert "\n" not in str(caught.value)
    assert index.read_bytes() == garbage
    assert all(store.blobs.has(digest) for digest in image.blobs)


def test_an_image_whose_blobs_are_gone_does_not_hide_the_others(
    store: ImageStore, tmp_path: Path
) -> None:
    broken = simple_image(store, "broken", "1")
    simple_image(store, "whole", "2")
    store.blobs.path(broken.digest).write_bytes(b"garbage")
    fresh = ImageStore(tmp_path / "data")
    assert [image.names for image in fresh.list()] == [["whole:latest"]]
    with pytest.raises(InvalidImage):
        fresh.resolve("broken")
    assert len(fresh.check()) == 2
    assert fresh.remove("whole").untagged == ["whole:latest"]


def test_of_an_index_the_platform_asked_for_is_taken(store: ImageStore) -> None:
    wasm, linux = simple_image(store), linux_image(store)
    arm = linux_image(store, "arm")
    index_of(store, "multi", arm, linux, wasm.descriptor)
    assert store.resolve("multi").id == wasm.id
    assert store.resolve("multi", WASM).id == wasm.id
    assert store.resolve("multi", HOST).digest == linux.digest
    assert store.resolve("multi", parse_platform("linux/arm")).digest == arm.digest
    assert len(store.platforms("multi")) == 3
    with pytest.raises(NoSuchPlatform, match=r"linux/arm, .*not for windows/amd64"):
        store.resolve("multi", parse_platform("windows/amd64"))


def test_of_an_index_without_wasm_the_host_is_taken_then_the_first(store: ImageStore) -> None:
    arm, linux = linux_image(store, "arm"), linux_image(store)
    index_of(store, "a", arm, linux)
    index_of(store, "b", arm)
    assert store.resolve("a").digest == linux.digest
    assert store.resolve("b").digest == arm.digest


def test_an_image_of_another_platform_is_not_given_out(store: ImageStore) -> None:
    simple_image(store, "hello")
    with pytest.raises(NoSuchPlatform):
        store.resolve("hello", HOST)
    for text in ("wasm", "wasi/wasm", "wasi/wasm32", "wasip1/wasm"):
        assert store.resolve("hello", parse_platform(text))


def test_an_index_with_missing_images_gives_those_that_are_there(store: ImageStore) -> None:
    wasm = simple_image(store)
    index_of(store, "sparse", descriptor_of(MediaType.MANIFEST, b"elsewhere"), wasm.descriptor)
    assert store.resolve("sparse").id == wasm.id
    index_of(store, "none", descriptor_of(MediaType.MANIFEST, b"elsewhere"))
    with pytest.raises(InvalidImage, match="no image that is in the store"):
        store.resolve("none")


@pytest.mark.parametrize("platform", ["wasi/wasm", "wasi/wasm32", "wasip1/wasm", "wasip2/wasm"])
def test_images_of_every_spelling_of_wasm_are_taken(store: ImageStore, platform: str) -> None:
    system, _, architecture = platform.partition("/")
    config = ImageConfig(architecture=architecture, os=system, rootfs=RootFS(diff_ids=[]))
    image = store.write_image(config, [], reference=parse_reference("x"))
    assert store.resolve("x", WASM).id == image.id


def test_a_manifest_that_says_it_is_an_index_is_refused(store: ImageStore) -> None:
    """One document that is a manifest here and an index elsewhere could show two faces."""
    image = simple_image(store)
    raw = store.blobs.read(image.digest, 1 << 20).replace(b"manifest.v1+json", b"index.v1+json")
    target = store.blobs.write(MediaType.MANIFEST, raw)
    with store.hold():
        store.tag(target, parse_reference("faces"))
    with pytest.raises(InvalidImage, match="says it is"):
        store.resolve("faces")


def test_a_list_of_images_is_not_read_again(store: ImageStore) -> None:
    for number in range(5):
        image_of(store, name=f"image-{number}", number=str(number))
    first = store.list()
    for digest in [*store.blobs.digests()]:
        os.unlink(store.blobs.path(digest))
    assert store.list() == first


def test_an_image_that_is_in_an_index_too_is_found_as_itself(store: ImageStore) -> None:
    arm = linux_image(store, "arm")
    one = simple_image(store)
    index_of(store, "all", one.descriptor, arm)
    store.tag(one.descriptor, parse_reference("one"))
    for text in (one.id, one.digest, one.id[7:19]):
        assert store.resolve(text).names == ["one:latest"]
