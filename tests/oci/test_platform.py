"""Platforms are spelled, normalised and matched as containerd does it."""

import pytest

from wherry.oci import HOST, WASM, InvalidPlatform, Platform, parse_platform
from wherry.oci.cpu import amd64_level, native
from wherry.oci.platform import best


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("Linux/X86-64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/i386", "linux/386"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8.0", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("linux/arm64/9.0", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("macos/arm64", "darwin/arm64"),
        ("arm64", "linux/arm64"),
        ("armhf", "linux/arm/v7"),
        ("linux", str(HOST)),
        ("wasi/wasm", "wasi/wasm"),
        ("wasi/wasm32", "wasi/wasm"),
        ("wasip1/wasm", "wasi/wasm"),
        ("wasip2/wasm", "wasi/wasm"),
        ("js/wasm", "wasi/wasm"),
        ("wasi", "wasi/wasm"),
        ("wasm", "wasi/wasm"),
        (" wasm32 ", "wasi/wasm"),
    ],
)
def test_every_spelling_means_one_platform(text: str, meant: str) -> None:
    assert str(parse_platform(text)) == meant


@pytest.mark.parametrize(
    "text", ["", "/", "linux/", "/amd64", "linux//v7", "a/b/c/d", "toaster", "linux/ä", "linux/a b"]
)
def test_what_names_no_platform_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidPlatform, match=r"wasi/wasm") as refused:
        parse_platform(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("wanted", "order"),
    [
        ("linux/amd64/v3", "amd64/v3 amd64/v2 amd64 386"),
        ("linux/amd64", "amd64 386"),
        ("linux/arm/v7", "arm/v7 arm/v6 arm/v5"),
        ("linux/arm64", "arm64 arm/v8 arm/v7 arm/v6 arm/v5"),
        ("linux/arm64/v9.1", "arm64/v9.1 arm64/v9 arm64/v8.6 arm64/v8.5 arm64/v8.1 arm64 arm/v8"),
    ],
)
def test_what_serves_a_platform_comes_in_containerds_order(wanted: str, order: str) -> None:
    offered = [parse_platform(f"linux/{name}") for name in order.split()]
    ranks = [one.rank(parse_platform(wanted)) for one in offered]
    assert ranks == sorted(ranks, key=lambda rank: 99 if rank is None else rank)
    assert None not in ranks
    assert best(offered[::-1], parse_platform(wanted)) == len(offered) - 1


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        ("linux/amd64/v3", "linux/amd64"),
        ("linux/amd64", "linux/386"),
        ("linux/arm/v7", "linux/arm/v6"),
        ("linux/arm64", "linux/arm/v7"),
        ("linux/arm64/v8.7", "linux/arm64/v9.1"),
        ("windows/amd64", "linux/amd64"),
        ("linux/amd64", "wasi/wasm"),
        ("wasi/wasm", "linux/amd64"),
    ],
)
def test_what_cannot_run_there_does_not_match(image: str, wanted: str) -> None:
    assert not parse_platform(image).matches(parse_platform(wanted))


def test_images_are_matched_as_they_were_written() -> None:
    written = Platform(architecture="aarch64", os="Linux", variant="v8")
    assert written.matches(parse_platform("linux/arm64"))
    assert str(written) == "Linux/aarch64/v8"
    assert Platform(architecture="wasm32", os="wasi").normal == WASM


def test_of_equals_the_first_is_best() -> None:
    offered = [parse_platform(text) for text in ("linux/386", "linux/amd64", "linux/amd64/v1")]
    assert best(offered, parse_platform("linux/amd64")) == 1
    assert best(offered, parse_platform("linux/s390x")) is None


V2 = "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"
V3 = f"{V2} abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"
V4 = f"{V3} avx512bw avx512cd avx512dq avx512f avx512vl"


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ("fpu sse2", "v1"),
        (V2, "v2"),
        (V3, "v3"),
        (V4, "v4"),
        (V3.replace("avx2", ""), "v2"),
        (V4.replace("popcnt", ""), "v1"),
    ],
)
def test_a_cpu_has_a_level_only_with_all_of_its_features(flags: str, level: str) -> None:
    assert amd64_level(f"model name\t: x\nflags\t\t: {flags}\nbogomips: 1\n") == level


def test_this_machines_cpu_serves_its_platform() -> None:
    assert HOST.matches(native())
    assert amd64_level("") == "v1"
