"""The guest's memory, as the socket layer sees it: a view whose every use is checked.

A pointer or length of the guest's is any number of 32 bits. What lies past the end of the memory is
FAULT, whether it is found here or by `struct`, whose error the layer takes for it.
"""

from collections.abc import Callable
from struct import Struct

from wherry.runtime.wasi.errnos import FAULT, INVAL, Failure

Memory = Callable[[], memoryview]
"""Returns the guest's memory, maybe without what it has just grown by: a call that finds a pointer
to lead past the end has done nothing yet, and is begun anew once the memory was looked at again."""

MAX_VECTORS = 1024
"""Buffers in one call, as many as the kernel takes (IOV_MAX)."""

U16 = Struct("<H")
U32 = Struct("<I")
U64 = Struct("<Q")
_VECTOR = Struct("<II")

check_u16, check_u32 = U16.unpack_from, U32.unpack_from
"""Raise struct.error if there is no such number in a view at a pointer. Cheaper than `span`."""


def span(view: memoryview, pointer: int, size: int) -> memoryview:
    """The `size` bytes at `pointer`. Raises Failure (FAULT)."""
    end = pointer + size
    if end > len(view):
        raise Failure(FAULT)
    return view[pointer:end]


def buffers(view: memoryview, pointer: int, count: int) -> list[memoryview]:
    """The buffers that the array of `count` iovec or ciovec at `pointer` names.

    Raises Failure, struct.error.
    """
    if count == 1:
        start, size = _VECTOR.unpack_from(view, pointer)
        end = start + size
        if end > len(view):
            raise Failure(FAULT)
        return [view[start:end]]
    if count > MAX_VECTORS:
        raise Failure(INVAL)
    vectors = span(view, pointer, count * _VECTOR.size)
    return [span(view, start, size) for start, size in _VECTOR.iter_unpack(vectors)]
