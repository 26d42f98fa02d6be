"""Linear memories that are counted against one limit, for containers that have one.

wasmtime's own limiter bounds each memory by itself and refuses growth silently. This memory creator
bounds the sum of all memories of the container and remembers that it refused, so that a guest that
dies for want of memory can be told why.
"""

import ctypes
import mmap
import os

from wherry.runtime.engines import capi

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

_PROT_NONE = 0
_MAP_NORESERVE = 0x4000
_MAP_FAILED = ctypes.c_void_p(-1).value


class _Memory:
    """One linear memory: a reservation of address space of which a prefix is accessible."""

    def __init__(self, size: int, capacity: int, guard: int) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        base = _libc.mmap(None, capacity + guard, _PROT_NONE, flags, -1, 0)
        if base == _MAP_FAILED:
            raise OSError(ctypes.get_errno(), "mmap")
        self.base: int = base
        self.size = 0
        self.capacity = capacity
        self.resize(size)

    def resize(self, size: int) -> None:
        if size and _libc.mprotect(self.base, size, mmap.PROT_READ | mmap.PROT_WRITE) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
        self.size = size


class BoundedMemories:
    """A wasmtime memory creator whose memories together stay within `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.refused = 0
        """Bytes the guest would have had with the last growth that was refused; 0 if none was."""
        self._memories: list[_Memory] = []
        self._callbacks: list[object] = []
        self._new = capi.NewMemory(self._new_memory)
        self._no_finalizer = capi.Finalizer()
        self.creator = capi.MemoryCreator(None, self._new, self._no_finalizer)

    def _admit(self, more: int) -> bool:
        wanted = sum(memory.size for memory in self._memories) + more
        if wanted > self.limit:
            self.refused = wanted
            return False
        return True

    def _new_memory(
        self,
        _env: object,
        _kind: object,
        minimum: int,
        _maximum: int,
        reserved: int,
        guard: int,
        result: "ctypes._Pointer[capi.LinearMemory]",
    ) -> int:
        if not self._admit(minimum):
            return _error(
                f"it needs {self.refused} bytes of memory to begin with, "
                f"more than the limit of {self.limit}"
            )
        page = os.sysconf("SC_PAGE_SIZE")
        capacity = -(-max(reserved, minimum, self.limit) // page) * page
        try:
            memory = _Memory(minimum, capacity, guard)
        except OSError as error:
            return _error(str(error))
        self._memories.append(memory)

        def get(_env: object, size: "ctypes._Pointer[ctypes.c_size_t]", room: object) -> int:
            size[0] = memory.size
            room[0] = memory.capacity  # type: ignore[index]
            return memory.base

        def grow(_env: object, size: int) -> int:
            if not self._admit(size - memory.size):
                return _error("the memory limit is reached")
            try:
                memory.resize(size)
            except OSError as error:
                return _error(str(error))
            return 0

        callbacks = (capi.GetMemory(get), capi.GrowMemory(grow))
        self._callbacks.append(callbacks)
        result[0].env = None
        result[0].get_memory, result[0].grow_memory = callbacks
        result[0].finalizer = self._no_finalizer
        return 0


def _error(message: str) -> int:
    return int(capi.error_new(message.encode()))
