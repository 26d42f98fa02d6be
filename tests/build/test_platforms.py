"""Builds for several platforms: one image index, and no step done twice that need not be."""

import pytest
from tests.build.kitchen import Kitchen

from wherry.build import BuildError, StepStarted, Warned
from wherry.images import NoSuchPlatform
from wherry.images.image import read_index
from wherry.oci import (
    HOST,
    WASM,
    ImageConfig,
    MediaType,
    Platform,
    RootFS,
    RuntimeConfig,
    parse_platform,
    parse_reference,
)

ARM = parse_platform("linux/arm64")
S390X = parse_platform("linux/s390x")
TAGS = (parse_reference("hello"), parse_reference("hello:two"))
THREE = (WASM, HOST, S390X)


def steps(kitchen: Kitchen) -> list[str]:
    return [event.text for event in started(kitchen)]


def started(kitchen: Kitchen) -> list[StepStarted]:
    return [event for event in kitchen.events if isinstance(event, StepStarted)]


def environment(kitchen: Kitchen, platform: Platform, name: str = "hello") -> dict[str, str]:
    config = kitchen.store.resolve(name, platform).config.config
    entries = (config.env if config else None) or []
    return dict(entry.split("=", 1) for entry in entries)


def multi(kitchen: Kitchen, name: str, *platforms: Platform) -> None:
    """A base image for several platforms, which says of itself which one it is."""
    store = kitchen.store
    with store.hold():
        manifests = []
        for platform in platforms:
            config = ImageConfig(
                architecture=platform.architecture,
                os=platform.os,
                variant=platform.variant,
                rootfs=RootFS(diff_ids=[]),
                config=RuntimeConfig(env=[f"BASE={platform}"]),
            )
            manifests.append(store.write_manifest(config, []).target)
        store.enter(store.write_index(manifests), [parse_reference(name)])


def test_one_index_names_each_platform_in_the_order_asked(kitchen: Kitchen) -> None:
    image = kitchen.build("FROM scratch\nCOPY a /a", {"a": "x"}, platforms=THREE, tags=TAGS)
    assert image.target.media_type == MediaType.INDEX
    index = read_index(kitchen.store.blobs, image.target)
    assert [one.platform for one in index.manifests] == [*THREE]
    assert sorted(image.names) == ["hello:latest", "hello:two"]
    for platform in THREE:
        assert kitchen.store.resolve("hello:two", platform).platform == platform
    # Its images are in the list as one, and none is left dangling.
    assert [one.names for one in kitchen.store.list()] == [image.names]
    assert kitchen.store.check() == []


def test_one_platform_makes_no_index_unless_that_is_asked_for(kitchen: Kitchen) -> None:
    image = kitchen.build("FROM scratch", platforms=(ARM,))
    assert image.target.media_type == MediaType.MANIFEST
    asked = {"BUILDKIT_MULTI_PLATFORM": "1"}
    image = kitchen.build("FROM scratch", platforms=(ARM,), arguments=asked, tags=TAGS)
    assert image.target.media_type == MediaType.INDEX
    assert not kitchen.told(Warned)


def test_each_target_sees_its_own_platform(kitchen: Kitchen) -> None:
    kitchen.build(
        "FROM scratch\n"
        "ARG TARGETPLATFORM\nARG TARGETOS\nARG TARGETARCH\nARG TARGETVARIANT\nARG TARGETSTAGE\n"
        "ARG BUILDPLATFORM\n"
        'ENV T="$TARGETPLATFORM $TARGETOS $TARGETARCH $TARGETVARIANT" B=$BUILDPLATFORM\n'
        "ENV S=$TARGETSTAGE",
        platforms=(WASM, parse_platform("linux/arm/v6"), HOST),
        tags=TAGS,
    )
    assert environment(kitchen, WASM)["T"] == "wasi/wasm wasi wasm "
    arm = environment(kitchen, parse_platform("linux/arm/v6"))
    assert arm == {"T": "linux/arm/v6 linux arm v6", "B": str(HOST), "S": "default"}


def test_a_base_image_is_the_targets_unless_the_line_says_otherwise(kitchen: Kitchen) -> None:
    multi(kitchen, "base", HOST, S390X, WASM)
    kitchen.build("FROM base", platforms=(WASM, S390X), tags=TAGS)
    assert environment(kitchen, WASM)["BASE"] == "wasi/wasm"
    assert environment(kitchen, S390X)["BASE"] == "linux/s390x"
    native = "FROM --platform=$BUILDPLATFORM base AS build\nFROM scratch\nCOPY --from=build / /"
    kitchen.build(native, platforms=(WASM, S390X))
    assert kitchen.store.resolve("base", HOST)
    with pytest.raises(BuildError, match=r"^Dockerfile:1: image base is for .* not for linux/arm"):
        kitchen.build("FROM base", platforms=(WASM, ARM))


DOCKERFILE = """\
ARG VERSION=1
FROM --platform=$BUILDPLATFORM scratch AS fetch
ARG VERSION
COPY a /a
FROM --platform=$BUILDPLATFORM fetch AS build
ARG TARGETARCH
COPY a /$TARGETARCH
FROM scratch
COPY --from=build / /
"""


def test_a_stage_that_does_not_know_the_target_is_built_once(kitchen: Kitchen) -> None:
    kitchen.build(DOCKERFILE, {"a": "x"}, platforms=(WASM, S390X), tags=TAGS)
    told = steps(kitchen)
    assert told.count(f"[{HOST}] FROM --platform=$BUILDPLATFORM scratch AS fetch") == 1
    assert sum("AS fetch" in text for text in told) == 1
    for target in ("wasi/wasm", "linux/s390x"):
        assert f"[{HOST}→{target}] FROM --platform=$BUILDPLATFORM fetch AS build" in told
    assert "[wasi/wasm] FROM scratch" in told
    assert "[linux/s390x] COPY --from=build / /" in told
    for platform, name in ((WASM, "wasm"), (S390X, "s390x")):
        image = kitchen.store.resolve("hello", platform)
        [lowest] = kitchen.store.lowerdirs(image)
        assert sorted(path.name for path in lowest.iterdir()) == sorted(["a", name])
    numbers = [(event.number, event.total) for event in started(kitchen)]
    assert numbers == [(number, len(told)) for number in range(1, len(told) + 1)]


def test_an_argument_made_of_the_target_counts_as_knowing_it(kitchen: Kitchen) -> None:
    text = (
        "ARG NAME=$TARGETARCH\n"
        "FROM --platform=$BUILDPLATFORM scratch AS build\nARG NAME\nCOPY a /$NAME\n"
        "FROM scratch\nCOPY --from=build / /"
    )
    kitchen.build(text, {"a": "x"}, platforms=(WASM, S390X), tags=TAGS)
    [layer] = kitchen.store.lowerdirs(kitchen.store.resolve("hello", S390X))
    assert [path.name for path in layer.iterdir()] == ["s390x"]


def test_what_a_base_image_triggers_may_know_the_target(kitchen: Kitchen) -> None:
    base = "FROM --platform=$BUILDPLATFORM scratch\nONBUILD ARG TARGETARCH\n"
    kitchen.build(base + "ONBUILD ENV A=$TARGETARCH", tags=(parse_reference("base"),))
    kitchen.build("FROM --platform=$BUILDPLATFORM base", platforms=(WASM, S390X), tags=TAGS)
    index = read_index(kitchen.store.blobs, kitchen.store.resolve("hello").target)
    images = [kitchen.store.resolve(one.digest) for one in index.manifests]
    found = [(image.config.config or RuntimeConfig()).env for image in images]
    assert found == [["A=wasm"], ["A=s390x"]]


def test_a_build_of_one_platform_tells_no_platforms(kitchen: Kitchen) -> None:
    kitchen.build("FROM scratch\nENV A=b", platforms=(ARM,))
    assert steps(kitchen) == ["FROM scratch", "ENV A=b"]


def test_arguments_are_unused_only_if_no_target_asks(kitchen: Kitchen) -> None:
    text = "FROM --platform=$BUILDPLATFORM scratch AS one\nARG A\nFROM scratch\nCOPY --from=one / /"
    kitchen.build(text, platforms=(WASM, ARM), arguments={"A": "1", "B": "2"})
    [warned] = kitchen.told(Warned)
    assert isinstance(warned, Warned)
    assert warned.message.endswith("--build-arg B")


def test_a_second_build_of_the_same_is_the_same(kitchen: Kitchen) -> None:
    first = kitchen.build(DOCKERFILE, {"a": "x"}, platforms=(WASM, S390X), tags=TAGS)
    second = kitchen.build(DOCKERFILE, {"a": "x"}, platforms=(WASM, S390X), tags=TAGS)
    assert second.target.digest == first.target.digest


def test_nothing_is_named_when_one_platform_fails(kitchen: Kitchen) -> None:
    multi(kitchen, "base", WASM)
    before = kitchen.store.list()
    with pytest.raises(BuildError):
        kitchen.build("FROM base\nENV A=b", platforms=(WASM, S390X), tags=TAGS)
    assert kitchen.store.list() == before
    with pytest.raises(NoSuchPlatform):
        kitchen.store.resolve("base", S390X)
