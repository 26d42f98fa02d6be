"""Where a warm process for `run` is met, and what is said there.

Who asks connects, hears READY from a process forked for it, and only then sends what is to be run:
its circumstances, its command line and its environment as words that end in NUL, with stdin,
stdout, stderr and the working directory beside them. From then on each byte it sends is the number
of a signal. The answer is an exit status, or COLD if this is not to be run here. Whichever end is
gone, the container ends.
"""

import _socket  # not `socket`, which takes longer than all that is done here
import os
import zlib

from wherry.runtime.command.options import Options

READY = b"+"
COLD = b"-"

STREAMS = (0, 1, 2)

MAX_REQUEST = 150_000
"""Bytes, below the kernel's default limit for a packet."""


class Place:
    """The socket of the warm process for some circumstances, in a folder below the root."""

    def __init__(self, options: Options, circumstances: bytes) -> None:
        self.folder = f"{options.root}/.warm"
        self.name = f"{zlib.crc32(circumstances):08x}"

    def open(self) -> int | None:
        """Open the folder, if there is one that only we may enter."""
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            folder = os.open(self.folder, flags)
        except OSError:
            return None
        status = os.fstat(folder)
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            os.close(folder)
            return None
        return folder


def encode(circumstances: bytes, line: list[str], environment: dict[bytes, bytes]) -> bytes:
    """A request."""
    words = [circumstances, b"%d" % len(line), *map(os.fsencode, line)]
    words += [b"%s=%s" % item for item in environment.items()]
    return b"\0".join(words)


def decode(request: bytes) -> tuple[bytes, list[str], dict[bytes, bytes]]:
    """Circumstances, command line and environment. Raises ValueError."""
    circumstances, count, *words = request.split(b"\0")
    line, rest = words[: int(count)], words[int(count) :]
    environment = (word.partition(b"=") for word in rest)
    return circumstances, list(map(os.fsdecode, line)), {n: v for n, _, v in environment}


def new_socket() -> "_socket.socket":
    """A socket for either end."""
    kind = _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
    return _socket.socket(_socket.AF_UNIX, kind)
