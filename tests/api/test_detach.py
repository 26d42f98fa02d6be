"""The keys by which a person leaves a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.detach import DetachKeys, InvalidKeys


def test_the_default_is_control_p_and_control_q() -> None:
    keys = DetachKeys()
    assert keys.feed(b"abc\x10\x11rest") == b"abc"
    assert keys.pressed


def test_a_sequence_may_come_in_pieces() -> None:
    keys = DetachKeys()
    assert keys.feed(b"a\x10") == b"a"
    assert not keys.pressed
    assert keys.feed(b"\x11") == b""
    assert keys.pressed


def test_a_beginning_that_leads_nowhere_is_passed_on() -> None:
    keys = DetachKeys()
    assert keys.feed(b"\x10") == b""
    assert keys.feed(b"x") == b"\x10x"
    assert keys.feed(b"\x10\x10\x11") == b"\x10"
    assert keys.pressed


@pytest.mark.parametrize(
    ("text", "typed"), [("a", b"a"), ("ctrl-@", b"\0"), ("ctrl-a,b", b"\x01b"), ("CTRL-[", b"\x1b")]
)
def test_keys_are_written_as_docker_writes_them(text: str, typed: bytes) -> None:
    keys = DetachKeys(text)
    assert keys.feed(typed) == b""
    assert keys.pressed


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "a,,b", "ctrl-é", "é"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidKeys, match="detach keys"):
        DetachKeys(text)


@given(st.lists(st.binary(max_size=8)), st.sampled_from(["a,b", "a,a,b", "a,b,a"]))
def test_only_the_sequence_is_swallowed(pieces: list[bytes], text: str) -> None:
    sequence = text.replace(",", "").encode()
    keys = DetachKeys(text)
    passed = b""
    for piece in pieces:
        passed += keys.feed(piece)
        if keys.pressed:
            break
    typed = b"".join(pieces)
    if keys.pressed:
        assert typed.startswith(passed + sequence)
    else:
        held = typed[len(passed) :]
        assert typed.startswith(passed)
        assert sequence.startswith(held)
        assert len(held) < len(sequence)
