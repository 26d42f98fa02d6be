"""Meeting who reads a FIFO that a process writes to, which may run and end within milliseconds.

containerd's clients open their ends in the background while they make their calls, and give up
what they have not opened when they hear of the end. With a process that takes its time nobody
notices; here some of twenty at once lost their output.
"""

import array
import asyncio
import contextlib
import fcntl
import os
import termios
from collections.abc import AsyncIterator

from wherry.shim.inotify import watch

_PATIENCE = 10.0
"""Seconds to wait for a reader. A process can do without: what it writes then waits in the FIFO."""

_READING = 1.0
"""Seconds that a reader may take for what is left when the process has ended."""


@contextlib.asynccontextmanager
async def readers_of(*addresses: str) -> AsyncIterator[None]:
    """Once each FIFO among `addresses` has a reader, hold it open for writing meanwhile."""
    held = []
    try:
        for path in _fifos(addresses):
            with contextlib.suppress(OSError):  # who opens the streams says what is wrong
                held.append(await _open_with_reader(path))
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)


async def _open_with_reader(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        # The same FIFO, even if its path goes away meanwhile.
        path = f"/proc/self/fd/{place}"
        opening = asyncio.ensure_future(
            asyncio.to_thread(os.open, path, os.O_WRONLY | os.O_CLOEXEC)
        )
        done, _ = await asyncio.wait({opening}, timeout=_PATIENCE)
        if done:
            return await opening
        # Held until it is open: on a busy machine the thread may only begin now.
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return await opening
        finally:
            os.close(reader)
    finally:
        os.close(place)


def has_unread(*addresses: str) -> bool:
    """Whether a FIFO among `addresses` has a reader that has yet to read what is in it."""
    return any(_unread(path) for path in _fifos(addresses))


async def until_read(*addresses: str) -> None:
    """Give the readers of FIFOs a moment to read what is in them."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_READING):
            for path in _fifos(addresses):
                with contextlib.suppress(OSError), watch(path, reads=True) as reads:
                    while _unread(path):
                        await reads.wait()
                        reads.clear()


def _unread(path: str) -> int:
    """Bytes in a FIFO; 0 if nobody reads it."""
    count = array.array("i", [0])
    try:
        writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(writer, termios.FIONREAD, count)
        finally:
            os.close(writer)
    except OSError:
        return 0
    return count[0]


def _fifos(addresses: tuple[str, ...]) -> set[str]:
    return {address for address in addresses if address and "://" not in address}
