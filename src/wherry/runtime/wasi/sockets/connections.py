"""Making sockets and connecting them: `sock_open` to `sock_shutdown`, and whose addresses they are.

The type of `sock_accept`, `sock_getlocaladdr` and `sock_getpeeraddr` differs between the ABIs; a
module's import says which it means.
"""

import _socket
from collections.abc import Sequence

from wherry.runtime.wasi.errnos import INVAL, NOSYS, SUCCESS
from wherry.runtime.wasi.sockets import address
from wherry.runtime.wasi.sockets.descriptors import NONBLOCK, Socket
from wherry.runtime.wasi.sockets.memory import U32, Memory, span
from wherry.runtime.wasi.sockets.table import SocketTable

DATAGRAM, STREAM = 1, 2
"""Kinds of socket (`sock_type`)."""

_HOST_TYPE = {DATAGRAM: _socket.SOCK_DGRAM, STREAM: _socket.SOCK_STREAM}

_MAX_BACKLOG = 0xFFFF
"""More than any kernel grants."""

_HOW = {1: _socket.SHUT_RD, 2: _socket.SHUT_WR, 3: _socket.SHUT_RDWR}
"""By `sdflags`."""

_VERSION = {address.INET4: 4, address.INET6: 6}
"""What the older ABI calls the families in its answers."""


class Connections:
    """The calls. Each returns an error number, or raises Failure, OSError or struct.error."""

    def __init__(self, table: SocketTable, memory: Memory) -> None:
        self._table = table
        self._memory = memory

    def open(self, family: int, kind: int, result: int) -> int:
        """`sock_open`: write the number of a new socket to `result`."""
        target = span(self._memory(), result, U32.size)
        if family == address.UNSPECIFIED:
            # Modules made before May 2022 count both from 0, where nothing else is any more.
            family, kind = address.INET4, kind + 1
        if family == address.UNIX:
            return NOSYS
        if family not in address.HOST_FAMILY or kind not in _HOST_TYPE:
            return INVAL
        socket = _socket.socket(address.HOST_FAMILY[family], _HOST_TYPE[kind], 0)
        if kind == STREAM:
            # The extension has no option for it, and runtimes that set it themselves, as Go's does,
            # cannot: a small answer in two writes would wait for an acknowledgement.
            socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        U32.pack_into(target, 0, self._table.add(Socket(socket)))
        return SUCCESS

    def bind(self, number: int, pointer: int, port: int) -> int:
        """`sock_bind`."""
        descriptor = self._table.socket(number)
        name = address.read(self._memory(), pointer, port)
        self._table.check_bind(name[1])
        descriptor.socket.bind(name)
        return SUCCESS

    def listen(self, number: int, backlog: int) -> int:
        """`sock_listen`, also where the port is published on the host."""
        descriptor = self._table.socket(number)
        others: Sequence[_socket.socket] = ()
        if self._table.published and descriptor.stream and not descriptor.others:
            host, port = descriptor.socket.getsockname()[:2]
            if not _is_loopback(host):
                others = self._table.published.get(port, ())
        descriptor.listen(min(backlog, _MAX_BACKLOG), others)
        self._table.version += 1
        return SUCCESS

    def accept(self, number: int, result: int) -> int:
        """`sock_accept` of the older ABI: the new socket blocks."""
        return self.accept_with_flags(number, 0, result)

    def accept_with_flags(self, number: int, flags: int, result: int) -> int:
        """`sock_accept` of WASI 0.1."""
        descriptor = self._table.socket(number)
        target = span(self._memory(), result, U32.size)
        if flags & ~NONBLOCK:
            return INVAL
        U32.pack_into(target, 0, self._table.add(descriptor.accept(flags)))
        return SUCCESS

    def connect(self, number: int, pointer: int, port: int) -> int:
        """`sock_connect`."""
        descriptor = self._table.socket(number)
        target = address.read(self._memory(), pointer, port)
        self._table.check_connection(descriptor, *target)
        descriptor.socket.connect(target)
        return SUCCESS

    def shut_down(self, number: int, how: int) -> int:
        """`sock_shutdown`."""
        descriptor = self._table.socket(number)
        if how not in _HOW:
            return INVAL
        descriptor.shut_down(_HOW[how])
        self._table.version += 1
        return SUCCESS

    def local_address(self, number: int, pointer: int, port: int) -> int:
        """`sock_getlocaladdr`: the family is in front of the address."""
        return self._tell(number, pointer, None, port, peer=False)

    def local_address_and_type(self, number: int, pointer: int, kind: int, port: int) -> int:
        """`sock_getlocaladdr` of the older ABI."""
        return self._tell(number, pointer, kind, port, peer=False)

    def peer_address(self, number: int, pointer: int, port: int) -> int:
        """`sock_getpeeraddr`: the family is in front of the address."""
        return self._tell(number, pointer, None, port, peer=True)

    def peer_address_and_type(self, number: int, pointer: int, kind: int, port: int) -> int:
        """`sock_getpeeraddr` of the older ABI."""
        return self._tell(number, pointer, kind, port, peer=True)

    def _tell(self, number: int, pointer: int, kind: int | None, port: int, *, peer: bool) -> int:
        descriptor = self._table.socket(number)
        view = self._memory()
        target = address.Target(view, pointer)
        port_target = span(view, port, U32.size)
        kind_target = None if kind is None else span(view, kind, U32.size)
        if kind is None and target.size != address.WITH_FAMILY:
            return INVAL
        name = descriptor.peer() if peer else descriptor.socket.getsockname()
        family = target.write(descriptor.socket.family, name[0])
        if kind_target is not None:
            U32.pack_into(kind_target, 0, _VERSION[family])
        U32.pack_into(port_target, 0, name[1])
        return SUCCESS


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.startswith(("127.", "::ffff:127."))
