"""`sock_getsockopt` and `sock_setsockopt`: the options of SOL_SOCKET, the only level there is."""

import _socket
import struct

from wherry.runtime.wasi import errnos
from wherry.runtime.wasi.errnos import INVAL, SUCCESS
from wherry.runtime.wasi.sockets.connections import DATAGRAM, STREAM
from wherry.runtime.wasi.sockets.memory import U32, Memory, span
from wherry.runtime.wasi.sockets.table import SocketTable

_SOL_SOCKET = 0

_TYPE, _ERROR = 1, 2
_HOST_OPTION = {
    0: _socket.SO_REUSEADDR,
    _TYPE: _socket.SO_TYPE,
    _ERROR: _socket.SO_ERROR,
    3: _socket.SO_DONTROUTE,
    4: _socket.SO_BROADCAST,
    5: _socket.SO_SNDBUF,
    6: _socket.SO_RCVBUF,
    7: _socket.SO_KEEPALIVE,
    8: _socket.SO_OOBINLINE,
    9: _socket.SO_LINGER,
    10: _socket.SO_RCVLOWAT,
    11: _socket.SO_RCVTIMEO,
    12: _socket.SO_SNDTIMEO,
    13: _socket.SO_ACCEPTCONN,
    14: _socket.SO_BINDTODEVICE,
}
"""By `sock_opt_so`. Their values are laid out as the host's of 64 bits are, times as two of 64."""

_INHERITED = frozenset(range(5, 13))
"""Those of them that a connection has of its listener. Others would be about the network that a
published port is in, which is the host's: its devices, say."""

_MAX_VALUE = 16
"""Bytes: the times', and a device's name."""

_INT = struct.Struct("<i")
_KIND = {_socket.SOCK_DGRAM: DATAGRAM, _socket.SOCK_STREAM: STREAM}


class Options:
    """The calls. Each returns an error number, or raises Failure, OSError or struct.error."""

    def __init__(self, table: SocketTable, memory: Memory) -> None:
        self._table = table
        self._memory = memory

    def get(self, number: int, level: int, option: int, value: int, size: int) -> int:
        """`sock_getsockopt`: `size` points to how long the value may be, and then is."""
        socket = self._table.socket(number).socket
        if level != _SOL_SOCKET or option not in _HOST_OPTION:
            return INVAL
        view = self._memory()
        # Go's module passes the length of an int itself; no guest has a variable at address 4.
        room = _INT.size if size == _INT.size else U32.unpack_from(view, size)[0]
        target = span(view, value, room)
        found = b""
        if room:
            size_here = min(room, _MAX_VALUE)
            found = socket.getsockopt(_socket.SOL_SOCKET, _HOST_OPTION[option], size_here)
        if option in (_ERROR, _TYPE) and len(found) == _INT.size:
            (number,) = _INT.unpack(found)
            meant = _KIND.get(number, 0) if option == _TYPE else number and errnos.of(number)
            found = _INT.pack(meant)
        target[: len(found)] = found
        if size != _INT.size:
            U32.pack_into(view, size, len(found))
        return SUCCESS

    def set(self, number: int, level: int, option: int, value: int, size: int) -> int:
        """`sock_setsockopt`."""
        descriptor = self._table.socket(number)
        if level != _SOL_SOCKET or option not in _HOST_OPTION or size > _MAX_VALUE:
            return INVAL
        data = span(self._memory(), value, size)
        others = descriptor.others if option in _INHERITED else ()
        for socket in (descriptor.socket, *others):
            socket.setsockopt(_socket.SOL_SOCKET, _HOST_OPTION[option], data)
        return SUCCESS
