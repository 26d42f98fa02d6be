"""Messages of DNS (RFC 1035), as much of them as telling which name is asked for and where it led.

They come from guests and from name servers: every length is checked, and what is not understood is
None.
"""

import _socket
from struct import Struct, error
from typing import NamedTuple

A, AAAA = 1, 28
"""Types of records."""

_HEADER = Struct("!HHHHHH")
_RECORD = Struct("!HHIH")
_QUESTION = Struct("!HH")
_INTERNET = 1

_RESPONSE, _OPCODE, _TRUNCATED, _CODE = 0x8000, 0x7800, 0x0200, 0x000F
_RECURSION_DESIRED = 0x0100
_NO_SUCH_NAME = 3

_MAX_NAME = 255
_MAX_JUMPS = 32
_FAMILIES = {A: (_socket.AF_INET, 4), AAAA: (_socket.AF_INET6, 16)}


class Answer(NamedTuple):
    """A name server's answer."""

    number: int
    """As the question had it."""
    name: str
    addresses: list[str]
    settled: bool
    """Whether the server knows: the name is there or is not."""
    truncated: bool


def question(packet: bytes) -> str | None:
    """The name that a plain query asks for: one question, and nothing with it but EDNS."""
    try:
        _, flags, questions, answers, authorities, further = _HEADER.unpack_from(packet)
        if flags & (_RESPONSE | _OPCODE) or (questions, answers, authorities) != (1, 0, 0):
            return None
        name, end = _name(packet, _HEADER.size)
        _QUESTION.unpack_from(packet, end)
    except (error, ValueError):
        return None
    return name if further <= 1 else None


def answer(packet: bytes) -> Answer | None:
    """What a response to one question says; whatever aliases it goes by, the name is its."""
    try:
        number, flags, questions, answers, _, _ = _HEADER.unpack_from(packet)
        if not flags & _RESPONSE or questions != 1:
            return None
        name, at = _name(packet, _HEADER.size)
        at += _QUESTION.size
        addresses = []
        for _ in range(answers):
            _, at = _name(packet, at)
            kind, network, _, size = _RECORD.unpack_from(packet, at)
            at += _RECORD.size
            family, expected = _FAMILIES.get(kind, (0, -1))
            if network == _INTERNET and size == expected:
                addresses.append(_socket.inet_ntop(family, packet[at : at + size]))
            at += size
    except (error, ValueError):
        return None
    settled = flags & _CODE in (0, _NO_SUCH_NAME)
    return Answer(number, name, addresses, settled, bool(flags & _TRUNCATED))


def query(number: int, name: str, kind: int) -> bytes:
    """A query for records of `kind`. Raises ValueError for what is no name."""
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".")]
    if not all(0 < len(label) < 64 for label in labels) or len(name) > _MAX_NAME:
        raise ValueError("no name of DNS")
    written = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    header = _HEADER.pack(number, _RECURSION_DESIRED, 1, 0, 0, 0)
    return header + written + _QUESTION.pack(kind, _INTERNET)


def _name(packet: bytes, at: int) -> tuple[str, int]:
    """The name at `at`, and what comes after it. Raises ValueError."""
    labels: list[str] = []
    length, end = 0, -1
    for _ in range(_MAX_JUMPS + _MAX_NAME):
        if at >= len(packet):
            break
        size = packet[at]
        if size & 0xC0 == 0xC0 and at + 1 < len(packet):
            end = at + 2 if end < 0 else end
            at = (size & 0x3F) << 8 | packet[at + 1]
            continue
        if size & 0xC0:
            break
        if not size:
            return ".".join(labels), at + 1 if end < 0 else end
        length += size + 1
        if length > _MAX_NAME or at + 1 + size > len(packet):
            break
        # A dot within a label would pass for two: no name of a rule has such letters.
        labels.append(packet[at + 1 : at + 1 + size].decode("latin-1").replace(".", "\0"))
        at += 1 + size
    raise ValueError("no name of DNS")
