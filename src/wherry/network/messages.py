"""What the helper and its clients say to each other.

A frame is its length (four bytes, network order) and JSON. The first is the client's version, as a
string: a helper of another version leaves, so that one of the client's can be started. Each request
has a number, which its reply repeats; replies come in any order. What the helper tells by itself is
no reply.
"""

import struct
from asyncio import IncompleteReadError, StreamReader
from typing import TypeVar

import msgspec

from wherry.network.model import Publication, Sandbox

MAX_FRAME = 4 << 20
"""Bytes: room for all ports that a container may publish."""

_LENGTH = struct.Struct("!I")


class Reserve(msgspec.Struct, tag="reserve"):
    """Bind ports of the host for a container that is not there yet. Answered by Reserved, InUse."""

    id: str
    publications: list[Publication]


class Attach(msgspec.Struct, tag="attach"):
    """Make a container's network what it is said to be."""

    sandbox: Sandbox


class Release(msgspec.Struct, tag="release"):
    """Free all that a container has."""

    id: str


class RemoveNetwork(msgspec.Struct, tag="remove-network"):
    """Remove a network's bridge, if it is there."""

    id: str


class List(msgspec.Struct, tag="list"):
    """Which containers are attached? Answered by Listed."""


class Done(msgspec.Struct, tag="done"):
    """It is so."""


class Reserved(msgspec.Struct, tag="reserved"):
    """What is bound, with the ports that were chosen."""

    publications: list[Publication]


class Listed(msgspec.Struct, tag="listed"):
    """The ids of the containers that are attached."""

    ids: list[str]


class InUse(msgspec.Struct, tag="in-use"):
    """A port cannot be had."""

    publication: Publication
    holder: str | None


class Failed(msgspec.Struct, tag="failed"):
    """It is not so; one line for people."""

    message: str


class Denied(msgspec.Struct, tag="denied"):
    """Told by itself: a container tried what its rules of egress deny; a line for its log."""

    id: str
    line: str


Request = Reserve | Attach | Release | RemoveNetwork | List
Reply = Done | Reserved | Listed | InUse | Failed


class Asking(msgspec.Struct):
    """A frame to the helper."""

    number: int
    request: Request


class Telling(msgspec.Struct):
    """A frame from the helper; `number` is 0 if it was not asked for."""

    number: int
    reply: Reply | Denied


_Frame = TypeVar("_Frame", Asking, Telling, str)


class FrameError(Exception):
    """What came is no frame. One line."""


def encode(frame: Asking | Telling | str) -> bytes:
    """The bytes of a frame. Raises FrameError if it is too long."""
    text = msgspec.json.encode(frame)
    if len(text) > MAX_FRAME:
        raise FrameError(f"{len(text)} bytes are too much for one request ({MAX_FRAME} at most)")
    return _LENGTH.pack(len(text)) + text


async def receive(reader: StreamReader, decoder: msgspec.json.Decoder[_Frame]) -> _Frame | None:
    """The next frame, None at the end. Raises FrameError, OSError."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > MAX_FRAME:
            raise FrameError(f"a frame of {length} bytes is too long")
        return decoder.decode(await reader.readexactly(length))
    except IncompleteReadError:
        return None
    except msgspec.DecodeError as error:
        raise FrameError(str(error)) from None
