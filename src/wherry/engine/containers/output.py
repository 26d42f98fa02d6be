"""What a container writes, and what it is told on stdin."""

from typing import NamedTuple


class Output(NamedTuple):
    """A piece of output as it was written: 1 stdout, 2 stderr; nanoseconds since the epoch."""

    stream: int
    time: int
    data: bytes


class Attachment:
    """A client's hold on a container's streams: an asynchronous iterator of Output."""

    tty: bool

    def __aiter__(self) -> "Attachment":
        return self

    async def __anext__(self) -> Output:
        raise NotImplementedError

    async def write(self, data: bytes) -> None:
        """To the container's stdin; waits while its pipe is full."""
        raise NotImplementedError

    async def close_stdin(self) -> None:
        """The client's input has ended: with StdinOnce the container sees the end of its input."""
        raise NotImplementedError

    async def close(self) -> None:
        """Detach; the container goes on."""
        raise NotImplementedError
