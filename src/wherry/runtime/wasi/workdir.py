"""A working directory for WASI 0.1, which has none.

wasi-libc, under C, Rust, CPython and CRuby, believes it starts in "/" and hands both "/x" and "x"
to the host as "x" below the first preopened directory. So that `WORKDIR` means what it means in
Docker, each call that takes a path below that descriptor is looked at: where its first name exists
in the root directory it was absolute; else it is taken from the working directory, which is
preopened beside the root. Go and others read PWD instead and are left alone.
"""

import os
from collections.abc import Callable

_MAX_PATH = 4096


def is_absolute(path: bytes, root: bytes = b"") -> bool:
    """Whether a path below "/", on the host `root`, was meant to begin there."""
    first = path.lstrip(b"/").partition(b"/")[0]
    if first in (b"", b".", b".."):
        return False
    try:
        os.stat(root + b"/" + first, follow_symlinks=False)
    except (OSError, ValueError):
        return False
    return True


class Workdir:
    """Picks the descriptor that a path below the root directory is to be resolved from."""

    def __init__(self, host_root: str, root: int, memory: Callable[[], memoryview]) -> None:
        """`root` is the descriptor of "/", on the host `host_root`; the next is the working
        directory's. `memory` returns the guest's memory.
        """
        self._host_root = os.fsencode(host_root).rstrip(b"/")
        self._root = root
        self._memory = memory

    def pick(self, pointer: int, length: int) -> int:
        """The descriptor for the path in the guest's memory."""
        path = bytes(self._memory()[pointer : pointer + min(length, _MAX_PATH + 1)])
        if len(path) < length or length > _MAX_PATH:
            return self._root  # the original answers with the error that is due
        return self._root if is_absolute(path, self._host_root) else self._root + 1
