"""What every descriptor has: `fd_close`, `fd_renumber`, `fd_fdstat_get` and the like."""

import os
from collections.abc import Callable
from struct import Struct

from wherry.runtime.wasi.errnos import BADF, NOTSUP, SUCCESS
from wherry.runtime.wasi.sockets.descriptors import Socket
from wherry.runtime.wasi.sockets.memory import Memory, span
from wherry.runtime.wasi.sockets.table import FIRST, SocketTable

Original = Callable[..., int]
"""Calls one of wasmtime's own functions: its name, then its arguments. Returns the error number."""

_FDSTAT = Struct("<BxH4xQQ")
"""`fdstat`: kind, flags, rights, rights that files opened through it have."""

_FILESTAT = Struct("<QQB7xQQQQQ")
"""`filestat`: device, inode, kind, links, size, times of access, change of data, of status."""

_PRESTAT = Struct("<B3xI")
"""`prestat`: a tag, and the length of a directory's name."""

_NO_DIRECTORY = 1
"""A tag that no preopened thing has in WASI 0.1. Libraries that look for directories go on to the
next descriptor: any error but BADF would end a program of wasi-libc, and BADF its search."""


class Files:
    """The calls. Each returns an error number, or raises Failure, OSError or struct.error."""

    def __init__(self, table: SocketTable, memory: Memory, original: Original) -> None:
        self._table = table
        self._memory = memory
        self._original = original

    def close(self, number: int) -> int:
        """`fd_close`."""
        self._table.take(number).close()
        return SUCCESS

    def renumber(self, old: int, new: int) -> int:
        """`fd_renumber`: `new` becomes what `old` was, which is closed; one of them is ours."""
        if not self._table.owns(old):
            return self._renumber_file(old, new)
        if not self._table.owns(new) and not self.is_file(new):
            return BADF  # wasmtime would give the number to the next file
        if old != new:
            self._table.put(new, self._table.take(old))
        else:
            self._table.get(old)
        return SUCCESS

    def _renumber_file(self, old: int, new: int) -> int:
        if new >= FIRST:
            return NOTSUP if self.is_file(old) else BADF
        result = self._original("fd_renumber", old, new)
        if result == SUCCESS:
            self._table.give_up(new)
        return result

    def is_file(self, number: int) -> bool:
        """Whether wasmtime has something open under `number`."""
        # It can change no rights, but looks at the descriptor first.
        return self._original("fd_fdstat_set_rights", number, 0, 0) != BADF

    def refuse(self, number: int, error: int) -> int:
        """What is not for sockets and streams: answer with `error`, if `number` is open."""
        self._table.get(number)
        return error

    def fdstat(self, number: int, result: int) -> int:
        """`fd_fdstat_get`."""
        found = self._table.get(number)
        if isinstance(found, Socket):
            found.settle()
        _FDSTAT.pack_into(self._memory(), result, found.kind, found.flags, found.rights, 0)
        return SUCCESS

    def set_flags(self, number: int, flags: int) -> int:
        """`fd_fdstat_set_flags`."""
        found = self._table.get(number)
        found.set_flags(flags)
        if isinstance(found, Socket):
            found.settled = True
        return SUCCESS

    def filestat(self, number: int, result: int) -> int:
        """`fd_filestat_get`: the kind, and for telling one socket from another its inode."""
        found = self._table.get(number)
        target = span(self._memory(), result, _FILESTAT.size)
        inode = os.fstat(found.socket.fileno()).st_ino if isinstance(found, Socket) else 0
        _FILESTAT.pack_into(target, 0, 0, inode, found.kind, 0, 0, 0, 0, 0)
        return SUCCESS

    def prestat(self, number: int, result: int) -> int:
        """`fd_prestat_get`: a listening socket that was open at the beginning is no directory."""
        found = self._table.get(number)
        if not (isinstance(found, Socket) and found.preopened):
            return BADF
        _PRESTAT.pack_into(self._memory(), result, _NO_DIRECTORY, 0)
        return SUCCESS
