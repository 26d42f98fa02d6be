"""The frames of ttrpc (PROTOCOL.md, "Message Frame")."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

MAX_DATA = 4 << 20
"""Bytes of data in a frame; a longer frame is discarded and reported."""

REQUEST, RESPONSE, DATA = 1, 2, 3
REMOTE_CLOSED, REMOTE_OPEN, NO_DATA = 1, 2, 4

_HEADER = struct.Struct(">IIBB")


class Frame(NamedTuple):
    """A frame as it arrived; `data` is None when it was too long to be kept."""

    stream: int
    type: int
    flags: int
    data: bytes | None


def encode_frame(stream: int, type: int, data: bytes) -> bytes:
    """A frame without flags. Raises ValueError when `data` is longer than MAX_DATA."""
    if len(data) > MAX_DATA:
        raise ValueError(f"a message of {len(data)} bytes, more than ttrpc's {MAX_DATA}")
    return _HEADER.pack(len(data), stream, type, 0) + data


class FrameDecoder:
    """Cuts a stream of bytes into frames. Holds at most one frame's worth of them."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._discard = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes."""
        if self._discard:
            skipped = min(self._discard, len(data))
            self._discard -= skipped
            data = data[skipped:]
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _HEADER.size:
            length, stream, type, flags = _HEADER.unpack_from(buffer)
            end = _HEADER.size + length
            if length > MAX_DATA:
                self._discard = max(0, end - len(buffer))
                del buffer[:end]
                yield Frame(stream, type, flags, None)
                continue
            if len(buffer) < end:
                return
            frame = Frame(stream, type, flags, bytes(buffer[_HEADER.size : end]))
            del buffer[:end]
            yield frame
