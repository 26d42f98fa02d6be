"""`sock_getaddrinfo`: names to addresses, by the container's own hosts file and name servers.

The guest hands in a list of `addrinfo` to fill, each with a `sockaddr` whose data are those of the
host's: the port in network order, then the address (of IPv6 between flow and scope).
"""

import _socket
import contextlib
from struct import Struct

from wherry.runtime.wasi import errnos
from wherry.runtime.wasi.errnos import NOSYS, SUCCESS, Failure
from wherry.runtime.wasi.sockets import address
from wherry.runtime.wasi.sockets.connections import DATAGRAM, STREAM
from wherry.runtime.wasi.sockets.memory import U32, Memory, span
from wherry.runtime.wasi.sockets.table import SocketTable

_ADDRINFO = Struct("<HBBIIIIII")
"""`addrinfo`: flags, family, kind, protocol, length and place of its `sockaddr`, place and length
of its canonical name, the next one."""

_SOCKADDR = Struct("<III")
"""`sockaddr`: family, length and place of its data."""

_V4 = Struct(">H4s8x")
_V6 = Struct(">HI16sI")

_CANONICAL_NAME = 1 << 1
_HOST_FLAGS = {
    1 << 0: _socket.AI_PASSIVE,
    _CANONICAL_NAME: _socket.AI_CANONNAME,
    1 << 2: _socket.AI_NUMERICHOST,
    1 << 3: _socket.AI_NUMERICSERV,
    1 << 4: _socket.AI_V4MAPPED,
    1 << 5: _socket.AI_ALL,
    1 << 6: _socket.AI_ADDRCONFIG,
}
"""By `aiflags`."""
_ALL_FLAGS = sum(_HOST_FLAGS)

_HOST_FAMILY = {address.UNSPECIFIED: _socket.AF_UNSPEC, **address.HOST_FAMILY}
_HOST_KIND = {0: 0, DATAGRAM: _socket.SOCK_DGRAM, STREAM: _socket.SOCK_STREAM}
_HOST_PROTOCOL = {0: 0, 1: _socket.IPPROTO_TCP, 2: _socket.IPPROTO_UDP}
_KIND = {host: kind for kind, host in _HOST_KIND.items()}
_PROTOCOL = {host: protocol for protocol, host in _HOST_PROTOCOL.items()}

_ERRORS = {
    _socket.EAI_AGAIN: errnos.AI_AGAIN,
    _socket.EAI_BADFLAGS: errnos.AI_BADFLAG,
    _socket.EAI_FAIL: errnos.AI_FAIL,
    _socket.EAI_FAMILY: errnos.AI_FAMILY,
    _socket.EAI_MEMORY: errnos.AI_MEMORY,
    _socket.EAI_NODATA: errnos.AI_NODATA,
    _socket.EAI_NONAME: errnos.AI_NONAME,
    _socket.EAI_SERVICE: errnos.AI_SERVICE,
    _socket.EAI_SOCKTYPE: errnos.AI_SOCKTYPE,
}

_MAX_NAME = 255
"""Bytes of a name of DNS (RFC 1035, 2.3.4)."""

_MAX_SERVICE = 63

_Found = tuple[int, int, int, str, tuple[str | bytes | int, ...]]


class Lookup:
    """The call. It returns an error number, or raises Failure, OSError or struct.error."""

    def __init__(self, table: SocketTable, memory: Memory) -> None:
        self._table = table
        self._memory = memory

    def look_up(
        self,
        node: int,
        node_size: int,
        service: int,
        service_size: int,
        hints: int,
        result: int,
        room: int,
        count: int,
    ) -> int:
        """`sock_getaddrinfo`: fill at most `room` of the list that `result` points to."""
        view = self._memory()
        span(view, count, U32.size)
        (first,) = U32.unpack_from(view, result)
        name = _text(view, node, node_size, _MAX_NAME)
        port = _text(view, service, service_size, _MAX_SERVICE)
        flags, family, kind, protocol, *_ = _ADDRINFO.unpack_from(view, hints)
        protocol &= 0xFF  # in the Rust crate it is a byte, with anything behind it
        if not name and not port:
            return errnos.AI_NONAME
        if room == 0:
            return errnos.AI_MEMORY
        if flags & ~_ALL_FLAGS or (flags & _CANONICAL_NAME and not name):
            return errnos.AI_BADFLAG
        if family not in _HOST_FAMILY:
            return errnos.AI_FAMILY
        if kind not in _HOST_KIND or protocol not in _HOST_PROTOCOL:
            return NOSYS
        host_flags = sum(host for flag, host in _HOST_FLAGS.items() if flags & flag)
        hint = (_HOST_FAMILY[family], _HOST_KIND[kind], _HOST_PROTOCOL[protocol], host_flags)
        try:
            found = self._ask(name, port, hint)
        except _socket.gaierror as error:
            return _ERRORS.get(error.errno or 0, errnos.AI_SYSTEM)
        U32.pack_into(view, count, _write_list(view, first, found[:room]))
        return SUCCESS

    def _ask(self, name: bytes, port: bytes, hint: tuple[int, int, int, int]) -> list[_Found]:
        """Ask the container's resolver, as far as its egress rules let it be asked.

        Bytes, because text would be encoded by a codec that is imported then.
        """
        egress, text = self._table.egress, name.decode("latin-1")
        if egress is not None and name and not egress.permits(text):
            self._table.denied(text)
            raise Failure(errnos.AI_FAIL)
        if self._table.names is None or not name:
            found = list[_Found](_socket.getaddrinfo(name or None, port or None, *hint))
            if egress is not None and name:
                egress.looked_up(text, [str(address[0]) for *_, address in found])
            return found
        addresses = self._table.names.look_up(text)
        if egress is not None:
            egress.looked_up(text, addresses)
        return _described(addresses, port, hint)


def _described(addresses: list[str], port: bytes, hint: tuple[int, int, int, int]) -> list[_Found]:
    """Addresses as a lookup tells of them. Raises gaierror if there are none that are wanted."""
    family, kind, protocol, flags = hint
    flags |= _socket.AI_NUMERICHOST
    found: list[_Found] = []
    for one in addresses:
        with contextlib.suppress(_socket.gaierror):  # it is of another family
            found += _socket.getaddrinfo(one.encode(), port or None, family, kind, protocol, flags)
    if not found:
        raise _socket.gaierror(_socket.EAI_NONAME, "no such name")
    return found


def _text(view: memoryview, pointer: int, size: int, limit: int) -> bytes:
    """Text that ends at a NUL or after `size` bytes. Raises Failure, also if it is too long."""
    text = bytes(span(view, pointer, size)[: limit + 1]).partition(b"\0")[0]
    if len(text) > limit:
        raise Failure(errnos.AI_NONAME)
    return text


def _pack(family: int, name: tuple[str | bytes | int, ...]) -> bytes:
    """The data of the host's socket address, without the family in front."""
    packed, port = _socket.inet_pton(family, str(name[0])), int(name[1])
    if family == _socket.AF_INET:
        return _V4.pack(port, packed)
    return _V6.pack(port, 0, packed, int(name[3]))


def _write_list(view: memoryview, first: int, found: list[_Found]) -> int:
    """Write what was found into the guest's list; returns how many. Raises Failure, struct.error.

    A list that is shorter than it was said to be ends there.
    """
    item = first
    for written, (family, kind, protocol, canonical, name) in enumerate(found):
        if item == 0:
            return written
        *_, where, text, text_room, following = _ADDRINFO.unpack_from(view, item)
        _, _, data = _SOCKADDR.unpack_from(view, where)
        packed = _pack(family, name)
        # Not bounded by the length handed in: the Rust crate says 14 where there are 26.
        span(view, data, len(packed))[:] = packed
        meant = address.FAMILY[family]
        _SOCKADDR.pack_into(view, where, meant, len(packed), data)
        encoded = canonical.encode() + b"\0" if canonical else b""
        if len(encoded) > text_room:
            encoded = b""
        span(view, text, len(encoded))[:] = encoded
        _ADDRINFO.pack_into(
            view,
            item,
            0,
            meant,
            _KIND.get(kind, 0),
            _PROTOCOL.get(protocol, 0),
            2 + len(packed),
            where,
            text,
            max(len(encoded) - 1, 0),
            following,
        )
        item = following
    return len(found)
