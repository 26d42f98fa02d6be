"""The keys that let go of a container."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.cli.errors import CommandError
from wherry.cli.terminal import DetachKeys, parse_keys


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("ctrl-p,ctrl-q", b"\x10\x11"), ("ctrl-@", b"\0"), ("ctrl-[", b"\x1b"), ("a,b", b"ab"),
        ("ctrl-\\", b"\x1c"), ("ctrl-_", b"\x1f"), ("q", b"q"),
    ],
)  # fmt: skip
def test_names_of_keys(text: str, keys: bytes) -> None:
    assert parse_keys(text) == keys


@pytest.mark.parametrize("text", ["", "ctrl-", "ctrl-pq", "alt-x", "ab", "ctrl-1", "é"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(CommandError):
        parse_keys(text)


def feed(keys: DetachKeys, *portions: bytes) -> tuple[bytes, bool]:
    out = b""
    for portion in portions:
        data, detached = keys.feed(portion)
        out += data
        if detached:
            return out, True
    return out, False


def test_the_sequence_detaches_and_is_not_sent() -> None:
    assert feed(DetachKeys(b"\x10\x11"), b"abc\x10", b"\x11rest") == (b"abc", True)


def test_half_of_the_sequence_is_held_back_then_sent() -> None:
    assert feed(DetachKeys(b"\x10\x11"), b"\x10", b"x") == (b"\x10x", False)
    assert feed(DetachKeys(b"\x10\x11"), b"\x10\x10", b"\x11") == (b"\x10", True)


@given(st.lists(st.binary(max_size=6)))
def test_without_the_sequence_everything_passes(portions: list[bytes]) -> None:
    typed = b"".join(portions).replace(b"\x10", b"")
    cut = [typed[start : start + 3] for start in range(0, len(typed), 3)]
    assert feed(DetachKeys(b"\x10\x11"), *cut) == (typed, False)


@given(st.text("xy", max_size=20).map(str.encode), st.sampled_from([b"xy", b"xxy", b"yx"]))
def test_it_detaches_exactly_when_the_sequence_was_typed(typed: bytes, keys: bytes) -> None:
    out, detached = feed(DetachKeys(keys), *(typed[i : i + 1] for i in range(len(typed))))
    assert detached == (keys in typed)
    if detached:
        assert out == typed[: typed.index(keys)]
    else:
        assert typed.startswith(out) and len(typed) - len(out) < len(keys)
