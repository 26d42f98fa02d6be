"""Docker's multiplexed stream: stdout and stderr in one connection (Engine API, ContainerAttach).

A frame is a header of 8 bytes (stream number, three zero bytes, length as u32 big-endian) and its
payload.
"""

MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
RAW = "application/vnd.docker.raw-stream"


def frame(stream: int, data: bytes) -> bytes:
    """One frame of `data` for `stream`: 1 is stdout, 2 is stderr."""
    return bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data


def media_type(*, tty: bool, version: tuple[int, int]) -> str:
    """How the stream is labelled; before version 1.42 Docker called both kinds raw."""
    return MULTIPLEXED if not tty and version >= (1, 42) else RAW
