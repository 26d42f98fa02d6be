"""Docker's multiplexed stream."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.fake_daemon import frame

from wherry.client.errors import ProtocolError
from wherry.client.frames import FrameDecoder

frames = st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=50)), max_size=15)


@given(sent=frames, cuts=st.lists(st.integers(0, 800), max_size=15))
def test_each_stream_gets_its_bytes_in_order(
    sent: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    data = b"".join(frame(*one) for one in sent)
    decoder = FrameDecoder()
    seen: list[tuple[int, bytes]] = []
    marks = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in itertools.pairwise(marks):
        seen.extend(decoder.feed(data[start:end]))
    for stream in (0, 1, 2):
        assert b"".join(d for s, d in seen if s == stream) == b"".join(
            d for s, d in sent if s == stream
        )
    assert all(payload for _, payload in seen)


def test_a_payload_is_handed_out_before_its_frame_is_complete() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(frame(1, b"prompt> rest")[:15]) == [(1, b"prompt>")]


@pytest.mark.parametrize("header", [b"\x09\0\0\0\0\0\0\1", b"\1\0\1\0\0\0\0\1", b"plain te"])
def test_an_impossible_header_is_refused(header: bytes) -> None:
    with pytest.raises(ProtocolError):
        FrameDecoder().feed(header)
