"""The socket layer of one guest: which functions it puts before wasmtime's, by name and type."""

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from wherry.runtime.wasi import errnos
from wherry.runtime.wasi.errnos import FAULT, Failure
from wherry.runtime.wasi.sockets.connections import Connections
from wherry.runtime.wasi.sockets.files import Files, Original
from wherry.runtime.wasi.sockets.lookup import Lookup
from wherry.runtime.wasi.sockets.memory import Memory
from wherry.runtime.wasi.sockets.options import Options
from wherry.runtime.wasi.sockets.poll import Poll
from wherry.runtime.wasi.sockets.table import SocketTable
from wherry.runtime.wasi.sockets.transfer import Transfer
from wherry.runtime.wasi.trampolines import DESCRIPTORS, HOSTED, ORIGINALS

Function = Callable[..., int]
"""Takes the arguments of a call as unsigned numbers, returns an error number. Raises nothing."""


class Between(Protocol):
    """What stands between the guest and WASI (`wasi.interposition`)."""

    def known_memory(self) -> memoryview:
        """The guest's memory, without what it may have grown by since `grown` was called last."""

    def grown(self) -> bool:
        """Whether the guest's memory has grown since this was called last."""

    def original(self, name: str, *arguments: int) -> int:
        """Call WASI's own function."""

    def host(self, name: str, parameters: str, function: Function) -> None:
        """Have descriptors of the host's answered for by `function`."""

    def instead(self, name: str, parameters: str, function: Function) -> None:
        """Have the guest call `function` instead of WASI's."""

    def first(self, function: Callable[[], None]) -> None:
        """Have `function` called before the guest runs."""

    def mark(self, descriptor: int, whose: int) -> None:
        """Say whose business a descriptor is."""


class Sockets:
    """What a guest that imports sockets is given."""

    def __init__(self, table: SocketTable, imports: Iterable[tuple[str, str]]) -> None:
        """`imports` are the names and parameters of the functions about sockets it imports."""
        self.table = table
        self.first: Callable[[], None] = lambda: None
        """Called once the container has its network, before the guest runs."""
        self._imports = tuple(imports)

    @property
    def preopened(self) -> int:
        """How many listening sockets the guest finds open, from descriptor 3 on."""
        return self.table.preopened

    def interpose(self, between: Between) -> None:
        """Answer the guest's calls by way of `between`."""
        layer = SocketLayer(self.table, between.known_memory, between.grown, between.original)
        between.first(self.first)
        for name, function in layer.before.items():
            between.host(name, DESCRIPTORS[name][0], function)
        between.host("refuse", "ii", layer.refuse)
        between.instead("poll_oneoff", "iiii", layer.poll)
        for name, parameters in self._imports:
            # One that is not here has a type that nobody knows: linking says so.
            if (name, parameters) in layer.sockets:
                between.instead(name, parameters, layer.sockets[name, parameters])
        self.table.show(
            lambda number, claimed: between.mark(number, HOSTED if claimed else ORIGINALS)
        )


class SocketLayer:
    """The calls on the descriptors of `table`."""

    def __init__(
        self,
        table: SocketTable,
        memory: Memory,
        grown: Callable[[], bool],
        original: Original,
    ) -> None:
        """`memory`, `grown` and `original` are called when the guest calls, not before.

        `memory` may be behind until `grown` is called, which tells whether it was.
        """
        self.table = table
        self._grown = grown
        connections, transfer = Connections(table, memory), Transfer(table, memory)
        files, options = Files(table, memory, original), Options(table, memory)
        self.poll = self._guard(Poll(table, memory, original).one_off)
        """`poll_oneoff`, for whatever descriptors."""
        self.refuse = self._guard(files.refuse)
        """What is told whoever does with a descriptor of the table what nobody can."""
        self.before: Mapping[str, Function] = self._guarded(
            {
                "fd_close": files.close,
                "fd_fdstat_get": files.fdstat,
                "fd_fdstat_set_flags": files.set_flags,
                "fd_filestat_get": files.filestat,
                "fd_prestat_get": files.prestat,
                "fd_read": transfer.read,
                "fd_renumber": files.renumber,
                "fd_write": transfer.write,
            }
        )
        """Functions of wasmtime's that are these for descriptors of the table."""
        sockets: dict[tuple[str, str], Function] = {
            ("epoll_oneoff", "iiii"): self.poll,
            ("sock_open", "iii"): connections.open,
            ("sock_bind", "iii"): connections.bind,
            ("sock_listen", "ii"): connections.listen,
            ("sock_accept", "ii"): connections.accept,
            ("sock_accept", "iii"): connections.accept_with_flags,
            ("sock_connect", "iii"): connections.connect,
            ("sock_shutdown", "ii"): connections.shut_down,
            ("sock_getlocaladdr", "iii"): connections.local_address,
            ("sock_getlocaladdr", "iiii"): connections.local_address_and_type,
            ("sock_getpeeraddr", "iii"): connections.peer_address,
            ("sock_getpeeraddr", "iiii"): connections.peer_address_and_type,
            ("sock_recv", "iiiiii"): transfer.receive,
            ("sock_recv_from", "iiiiiii"): transfer.receive_from_without_port,
            ("sock_recv_from", "iiiiiiii"): transfer.receive_from,
            ("sock_send", "iiiii"): transfer.send,
            ("sock_send_to", "iiiiiii"): transfer.send_to,
            ("sock_getsockopt", "iiiii"): options.get,
            ("sock_setsockopt", "iiiii"): options.set,
            ("sock_getaddrinfo", "iiiiiiii"): Lookup(table, memory).look_up,
        }
        self.sockets: Mapping[tuple[str, str], Function] = {
            key: function if function is self.poll else self._guard(function)
            for key, function in sockets.items()
        }
        """Functions about sockets, by name and parameters (`i` is i32)."""

    def _guarded(self, functions: Mapping[str, Function]) -> dict[str, Function]:
        return {name: self._guard(function) for name, function in functions.items()}

    def _guard(self, function: Function) -> Function:
        """`function`, with its exceptions turned into error numbers."""
        grown = self._grown

        def call(*arguments: int) -> int:
            try:
                return function(*arguments)
            except Failure as failure:
                error = failure.number
            except OSError as failure:
                error = errnos.of(failure.errno)
            except struct.error:
                error = FAULT
            if error == FAULT and grown():
                # It has done nothing yet, and what it was to write to is there after all.
                return call(*arguments)
            return error

        return call
