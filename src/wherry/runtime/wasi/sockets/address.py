"""Addresses as WasmEdge's extension passes them: `address`, a pointer to bytes and their number.

4 bytes are an IPv4 address and 16 an IPv6 one, the port being a parameter of its own. 128 bytes
(WasmEdge 0.12 and later) have the family in front, as 16 bits, and then the address.
"""

import _socket
from struct import Struct

from wherry.runtime.wasi.errnos import AFNOSUPPORT, INVAL, NOSYS, Failure
from wherry.runtime.wasi.sockets.memory import U16, span

UNSPECIFIED, INET4, INET6, UNIX = range(4)
"""Address families (`address_family`)."""

HOST_FAMILY = {INET4: _socket.AF_INET, INET6: _socket.AF_INET6}
FAMILY = {host: family for family, host in HOST_FAMILY.items()}
_SIZES = {INET4: 4, INET6: 16}
_FAMILY_OF_SIZE = {4: INET4, 16: INET6}

WITH_FAMILY = 128
_PORT_MAX = 0xFFFF
_BUFFER = Struct("<II")

Name = tuple[str, int]
"""An address and a port, as the host's sockets take them."""


def read(view: memoryview, pointer: int, port: int) -> Name:
    """The address at `pointer`, with `port`. Raises Failure, struct.error."""
    start, size = _BUFFER.unpack_from(view, pointer)
    found = span(view, start, size)
    family = _FAMILY_OF_SIZE.get(size)
    if size == WITH_FAMILY:
        (family,) = U16.unpack_from(found)
        if family == UNIX:
            raise Failure(NOSYS)
        if family not in HOST_FAMILY:
            raise Failure(AFNOSUPPORT)
        found = found[2 : 2 + _SIZES[family]]
    elif family is None:
        raise Failure(INVAL)
    if port > _PORT_MAX:
        raise Failure(INVAL)
    return _socket.inet_ntop(HOST_FAMILY[family], found), port


class Target:
    """Where an address is to be written. Made before a call has any effect, for it may FAULT."""

    def __init__(self, view: memoryview, pointer: int) -> None:
        """Raises Failure, struct.error."""
        start, self.size = _BUFFER.unpack_from(view, pointer)
        self._bytes = span(view, start, self.size)

    def write(self, host_family: int, address: str) -> int:
        """Write `address`; returns its family. Raises Failure (INVAL) if there is no room."""
        family = FAMILY[host_family]
        packed = _socket.inet_pton(host_family, address)
        offset = 2 if self.size == WITH_FAMILY else 0
        if offset + len(packed) > self.size:
            raise Failure(INVAL)
        if offset:
            U16.pack_into(self._bytes, 0, family)
        self._bytes[offset : offset + len(packed)] = packed
        return family
