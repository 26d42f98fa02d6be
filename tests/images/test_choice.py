"""What is taken of an index: from all it names, and told to the person."""

import io
import tarfile
from pathlib import Path

import pytest
from tests.images.samples import simple_image

from wherry.images import ImageStore, NoSuchPlatform, choose
from wherry.oci import (
    HOST,
    WASM,
    Descriptor,
    Digest,
    ImageConfig,
    Index,
    MediaType,
    RootFS,
    encode,
    parse_platform,
    parse_reference,
)

ARM = parse_platform("linux/riscv64")
"""A platform that this machine is not."""


def linux_image(store: ImageStore, platform: str = str(HOST)) -> Descriptor:
    wanted = parse_platform(platform)
    config = ImageConfig(
        architecture=wanted.architecture,
        variant=wanted.variant,
        os=wanted.os,
        rootfs=RootFS(diff_ids=[]),
    )
    return store.write_image(config, []).target


def absent(platform: str) -> Descriptor:
    return Descriptor(
        media_type=MediaType.MANIFEST,
        digest="sha256:" + "1" * 64,
        size=7,
        platform=parse_platform(platform),
    )


def index_of(store: ImageStore, name: str, *targets: Descriptor) -> Descriptor:
    with store.hold():
        target = store.blobs.write(
            MediaType.INDEX, encode(Index(schema_version=2, manifests=[*targets]))
        )
        store.tag(target, parse_reference(name))
    return target


@pytest.fixture
def linux_store(tmp_path: Path) -> ImageStore:
    """A store on a machine that runs Linux programs."""
    return ImageStore(tmp_path / "linux", lambda: True)


@pytest.mark.parametrize(
    ("offered", "linux", "taken"),
    [
        (["wasi/wasm", str(HOST)], True, str(HOST)),
        (["wasi/wasm", str(HOST)], False, "wasi/wasm"),
        ([str(ARM), "wasip1/wasm"], True, "wasi/wasm"),
        ([str(ARM)], True, None),
        ([str(HOST)], False, None),
        ([], True, None),
    ],
)
def test_this_machines_linux_is_taken_if_it_runs_here_then_wasm(
    offered: list[str], linux: bool, taken: str | None
) -> None:
    platforms = [parse_platform(text) for text in offered]
    choice = choose(platforms, None, linux=linux)
    assert (str(platforms[choice.position]) if choice else None) == taken


def test_a_choice_between_several_is_told_with_its_reason(
    store: ImageStore, linux_store: ImageStore
) -> None:
    for each in (store, linux_store):
        index_of(each, "multi", linux_image(each), simple_image(each).target)
    taken = store.select("multi")
    assert taken.image.platform == WASM
    assert taken.told == (
        f"multi: wasi/wasm is taken of 2 platforms, every machine runs it (also: {HOST})"
    )
    taken = linux_store.select("multi")
    assert taken.image.platform == HOST
    assert "it is this machine's (also: wasi/wasm)" in taken.told
    assert linux_store.select("multi", WASM).image.platform == WASM
    assert not linux_store.select("multi", WASM).told
    simple_image(store, "single")
    assert not store.select("single").told


def test_the_choice_does_not_depend_on_what_was_pulled(linux_store: ImageStore) -> None:
    wasm = simple_image(linux_store).target
    index_of(linux_store, "multi", absent(str(HOST)), wasm)
    with pytest.raises(
        NoSuchPlatform, match=rf"no such image: multi for {HOST}, only for wasi/wasm"
    ):
        linux_store.select("multi")
    assert linux_store.select("multi", WASM).image.digest == wasm.digest
    # To be looked at, what is there is enough.
    assert linux_store.resolve("multi").digest == wasm.digest


def test_an_image_is_named_past_its_index_by_its_own_id(linux_store: ImageStore) -> None:
    wasm = simple_image(linux_store)
    index_of(linux_store, "multi", linux_image(linux_store), wasm.target)
    assert linux_store.select(wasm.id).image.id == wasm.id
    assert linux_store.select(wasm.digest).image.id == wasm.id
    assert linux_store.select("multi").image.id != wasm.id


def test_what_suits_nobody_says_what_there_is(store: ImageStore, linux_store: ImageStore) -> None:
    for each in (store, linux_store):
        index_of(each, "far", linux_image(each, str(ARM)), linux_image(each, "linux/s390x"))
        index_of(each, "near", linux_image(each))
    with pytest.raises(NoSuchPlatform, match=f"is for {ARM}, linux/s390x, and this machine runs"):
        linux_store.select("far")
    with pytest.raises(NoSuchPlatform, match="not for wasi/wasm"):
        linux_store.select("near", WASM)
    with pytest.raises(NoSuchPlatform, match="apt install crun"):
        store.select("near")


def test_what_an_image_says_of_itself_counts_more_than_its_index(linux_store: ImageStore) -> None:
    wasm = simple_image(linux_store).target
    lying = Descriptor(
        media_type=wasm.media_type, digest=wasm.digest, size=wasm.size, platform=HOST
    )
    index_of(linux_store, "liar", lying)
    with pytest.raises(NoSuchPlatform):
        linux_store.select("liar", HOST)
    assert linux_store.select("liar").image.platform == WASM


def test_one_platform_of_an_index_is_saved_with_its_index(
    store: ImageStore, tmp_path: Path
) -> None:
    wasm, linux = simple_image(store), linux_image(store)
    index = index_of(store, "multi", linux, wasm.target)
    out = io.BytesIO()
    store.save(["multi"], out, WASM)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        names = tar.getnames()
    assert _blob(index.digest) in names
    assert _blob(wasm.digest) in names
    assert _blob(linux.digest) not in names
    other = ImageStore(tmp_path / "other")
    assert other.load(io.BytesIO(out.getvalue())) == ["multi:latest"]
    assert other.resolve("multi").target.digest == index.digest
    assert [image.platform for image in other.platforms("multi")] == [WASM]
    with pytest.raises(NoSuchPlatform):
        store.save(["multi"], io.BytesIO(), ARM)


def _blob(digest: Digest | str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
