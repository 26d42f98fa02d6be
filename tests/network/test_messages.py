"""Frames between the helper and its clients, fed with bytes."""

from __future__ import annotations

import asyncio
import struct
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.network.messages import (
    MAX_FRAME,
    Asking,
    Denied,
    FrameError,
    List,
    Release,
    Reserve,
    Telling,
    encode,
    receive,
)
from wherry.network.model import Publication

_decoder = msgspec.json.Decoder(Asking)


def received(data: bytes) -> list[Asking]:
    async def read() -> list[Asking]:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        found = []
        while (frame := await receive(reader, _decoder)) is not None:
            found.append(frame)
        return found

    return asyncio.run(read())


def test_frames_arrive_as_they_were_sent() -> None:
    asked = [
        Asking(1, Reserve("a", [Publication(container_port=80, protocol="tcp")])),
        Asking(2, Release("ä\n")),
        Asking(3, List()),
    ]
    assert received(b"".join(map(encode, asked))) == asked


def test_a_frame_that_is_cut_short_is_the_end() -> None:
    frame = encode(Asking(1, List()))
    assert received(frame + frame[:-1]) == [Asking(1, List())]


def test_all_ports_of_a_container_fit_into_a_frame() -> None:
    one = Publication(
        container_port=65535, protocol="tcp", host_ip=":".join(["ffff"] * 8), host_port=65535
    )
    assert len(encode(Asking(1, Reserve("a" * 64, [one] * 8192)))) < MAX_FRAME


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("!I", MAX_FRAME + 1),
        struct.pack("!I", 2) + b"{}",
        struct.pack("!I", 0),
        struct.pack("!I", 35) + b'{"number":1,"request":{"type":"x"}}',
    ],
)
def test_what_is_no_frame_is_an_error(data: bytes) -> None:
    with pytest.raises(FrameError):
        received(data)


def test_what_is_too_long_is_not_sent() -> None:
    with pytest.raises(FrameError, match="too much"):
        encode(Telling(0, Denied("a", "x" * MAX_FRAME)))


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    for bytes_ in (data, struct.pack("!I", len(data)) + data):
        try:
            received(bytes_)
        except FrameError as error:
            assert "\n" not in str(error)


def test_what_the_engine_imports_is_light() -> None:
    heavy = ["dns", "pyroute2", "ctypes", "wherry.network.server", "wherry.network.links"]
    code = f"import sys, wherry.network; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done
