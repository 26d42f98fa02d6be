"""Receiving and sending: `sock_recv`, `sock_send` and those with addresses; `fd_read`, `fd_write`.

Data goes between the kernel and the guest's memory without a copy. Where results are to be written
is checked first: data once received is not lost to a pointer that leads nowhere.
"""

import _socket
import contextlib

from wherry.runtime.wasi.errnos import INVAL, SUCCESS, Failure
from wherry.runtime.wasi.sockets import address
from wherry.runtime.wasi.sockets.descriptors import Descriptor, Socket
from wherry.runtime.wasi.sockets.memory import U16, U32, Memory, buffers, check_u16, check_u32
from wherry.runtime.wasi.sockets.table import SocketTable

_PEEK, _WAIT_ALL = 1, 2
"""`riflags`."""

_HOST_FLAGS = {
    0: 0,
    _PEEK: _socket.MSG_PEEK,
    _WAIT_ALL: _socket.MSG_WAITALL,
    _PEEK | _WAIT_ALL: _socket.MSG_PEEK | _socket.MSG_WAITALL,
}

_TRUNCATED = 1
"""`roflags`: the datagram was longer."""


class Transfer:
    """The calls. Each returns an error number, or raises Failure, OSError or struct.error."""

    def __init__(self, table: SocketTable, memory: Memory) -> None:
        self._table = table
        self._memory = memory

    def read(self, number: int, vectors: int, count: int, result: int) -> int:
        """`fd_read`."""
        view = self._memory()
        check_u32(view, result)
        descriptor, into = self._table.get(number), buffers(view, vectors, count)
        received = descriptor.read(into)
        if self._table.egress is not None:
            self._hear(descriptor, into, received)
        U32.pack_into(view, result, received)
        return SUCCESS

    def write(self, number: int, vectors: int, count: int, result: int) -> int:
        """`fd_write`."""
        view = self._memory()
        check_u32(view, result)
        descriptor, data = self._table.get(number), buffers(view, vectors, count)
        if self._table.egress is not None:
            self._check(descriptor, data)
        sent = descriptor.write(data)
        U32.pack_into(view, result, sent)
        return SUCCESS

    def receive(
        self, number: int, vectors: int, count: int, flags: int, size: int, out_flags: int
    ) -> int:
        """`sock_recv`."""
        view = self._memory()
        _, received, truncated = self._receive(number, view, vectors, count, flags, size, out_flags)
        U32.pack_into(view, size, received)
        U16.pack_into(view, out_flags, truncated)
        return SUCCESS

    def receive_from(
        self,
        number: int,
        vectors: int,
        count: int,
        pointer: int,
        flags: int,
        port: int,
        size: int,
        out_flags: int,
    ) -> int:
        """`sock_recv_from`: also writes the sender's address and port."""
        view = self._memory()
        check_u32(view, port)
        return self._receive_from(number, vectors, count, pointer, flags, port, size, out_flags)

    def receive_from_without_port(
        self,
        number: int,
        vectors: int,
        count: int,
        pointer: int,
        flags: int,
        size: int,
        out_flags: int,
    ) -> int:
        """`sock_recv_from` of the older ABI."""
        return self._receive_from(number, vectors, count, pointer, flags, None, size, out_flags)

    def _receive_from(
        self,
        number: int,
        vectors: int,
        count: int,
        pointer: int,
        flags: int,
        port: int | None,
        size: int,
        out_flags: int,
    ) -> int:
        view = self._memory()
        target = address.Target(view, pointer)
        sender, received, truncated = self._receive(
            number, view, vectors, count, flags, size, out_flags
        )
        if sender:
            target.write(self._table.socket(number).socket.family, sender[0])
            if port is not None:
                U32.pack_into(view, port, sender[1])
        U32.pack_into(view, size, received)
        U16.pack_into(view, out_flags, truncated)
        return SUCCESS

    def _receive(
        self,
        number: int,
        view: memoryview,
        vectors: int,
        count: int,
        flags: int,
        size: int,
        out_flags: int,
    ) -> tuple[address.Name | None, int, int]:
        """Whom it came from, if that is not known anyway; the bytes received; `roflags`."""
        descriptor = self._table.socket(number)
        check_u32(view, size)
        check_u16(view, out_flags)
        into = buffers(view, vectors, count)
        if flags not in _HOST_FLAGS:
            raise Failure(INVAL)
        if descriptor.stream and len(into) == 1:
            return None, descriptor.socket.recv_into(into[0], 0, _HOST_FLAGS[flags]), 0
        received, _, came, sender = descriptor.socket.recvmsg_into(into, 0, _HOST_FLAGS[flags])
        if sender and not descriptor.stream and self._table.egress is not None:
            self._table.heard(descriptor, sender[0], sender[1], b"".join(into)[:received])
        return sender, received, _TRUNCATED if came & _socket.MSG_TRUNC else 0

    def send(self, number: int, vectors: int, count: int, flags: int, result: int) -> int:
        """`sock_send`."""
        return self._send(number, vectors, count, None, flags, result)

    def send_to(
        self,
        number: int,
        vectors: int,
        count: int,
        pointer: int,
        port: int,
        flags: int,
        result: int,
    ) -> int:
        """`sock_send_to`."""
        target = address.read(self._memory(), pointer, port)
        return self._send(number, vectors, count, target, flags, result)

    def _send(
        self,
        number: int,
        vectors: int,
        count: int,
        target: address.Name | None,
        flags: int,
        result: int,
    ) -> int:
        view = self._memory()
        descriptor = self._table.socket(number)
        check_u32(view, result)
        data = buffers(view, vectors, count)
        if flags:
            return INVAL  # there are none (`siflags`)
        if target is None:
            if self._table.egress is not None:
                self._check(descriptor, data)
            sent = descriptor.write(data)
        else:
            if self._table.egress is not None:
                self._table.check_datagram(descriptor, *target, b"".join(data))
            sent = descriptor.socket.sendmsg(data, (), _socket.MSG_NOSIGNAL, target)
        U32.pack_into(view, result, sent)
        return SUCCESS

    def _check(self, descriptor: Descriptor, data: list[memoryview]) -> None:
        """What goes to the peer of a connected socket may be a query for a name."""
        if isinstance(descriptor, Socket) and not descriptor.stream:
            host, port, *_ = descriptor.socket.getpeername()
            self._table.check_datagram(descriptor, host, port, b"".join(data))

    def _hear(self, descriptor: Descriptor, into: list[memoryview], received: int) -> None:
        """The same for what came from there."""
        if isinstance(descriptor, Socket) and not descriptor.stream:
            with contextlib.suppress(OSError):  # it is not connected
                host, port, *_ = descriptor.socket.getpeername()
                self._table.heard(descriptor, host, port, b"".join(into)[:received])
