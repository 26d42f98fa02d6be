"""Docker's multiplexed stream: stdout and stderr in one connection, frame by frame, no I/O.

A frame is a header of 8 bytes (stream number, three zero bytes, length as u32 big-endian) and its
payload; see "Stream format" of ContainerAttach in the Engine API.
"""

from __future__ import annotations

from wherry.client.errors import ProtocolError

STDOUT = 1
STDERR = 2
SYSTEM_ERROR = 3


class FrameDecoder:
    """Feed it what arrived; it returns the payloads so far, without waiting for whole frames."""

    __slots__ = ("_buffer", "_left", "_stream")

    def __init__(self) -> None:
        self._buffer = b""
        self._stream = 0
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Pairs of stream number and bytes. Raises `ProtocolError` for an impossible header."""
        buffer = self._buffer + data if self._buffer else data
        position = 0
        out: list[tuple[int, bytes]] = []
        while True:
            if self._left:
                payload = buffer[position : position + self._left]
                if not payload:
                    break
                position += len(payload)
                self._left -= len(payload)
                out.append((self._stream, payload))
            if not self._left:
                header = buffer[position : position + 8]
                if len(header) < 8:
                    break
                if header[0] > SYSTEM_ERROR or header[1:4] != b"\0\0\0":
                    raise ProtocolError("the stream of the container is not in Docker's format")
                self._stream = header[0]
                self._left = int.from_bytes(header[4:], "big")
                position += 8
        self._buffer = buffer[position:]
        return out
