"""Network namespaces, and the one thread that goes from one to another.

A socket belongs to the namespace in which it was made, so a thread that enters one for a moment is
all it takes; the process stays where it is. That thread lives in the namespace of the bridges and
visits those of containers. From the host's own there would be no way back for an ordinary user.
"""

import asyncio
import ctypes
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

_P = ParamSpec("_P")
_T = TypeVar("_T")


def of_process(pid: int) -> int:
    """A descriptor of the network namespace of a process. Raises OSError."""
    return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def own() -> int:
    """A descriptor of the network namespace that the calling thread is in. Raises OSError."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def same(one: int, other: int) -> bool:
    """Whether two descriptors are of one namespace."""
    return os.path.samestat(os.fstat(one), os.fstat(other))


def enter(namespace: int) -> None:
    """Have the calling thread live in a network namespace from now on. Raises OSError."""
    if _libc.setns(namespace, _CLONE_NEWNET) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"no network namespace is entered: {os.strerror(number)}")


def set_sysctl(name: str, value: int | str) -> None:
    """Set net.NAME (with slashes) of the thread's namespace, unless it is so. Raises OSError."""
    path = f"/proc/sys/net/{name}"
    with open(path) as file:
        if file.read().strip() == str(value):
            return
    with open(path, "w") as file:
        file.write(str(value))


def get_sysctl(name: str) -> int:
    """net.NAME (with slashes) of the thread's namespace. Raises OSError, ValueError."""
    with open(f"/proc/sys/net/{name}") as file:
        return int(file.read())


class Traveller:
    """The thread. What it is given is done in order."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "links")
        self._home = -1

    async def run(self, work: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
        """What `work` returns, done in the thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: work(*arguments, **options))

    def settle(self, namespace: int) -> None:
        """To be run in the thread: live in `namespace`. Raises OSError."""
        enter(namespace)
        self._home = namespace

    @contextmanager
    def visit(self, namespace: int) -> Iterator[None]:
        """To be used in the thread: be in `namespace` meanwhile. Raises OSError."""
        enter(namespace)
        try:
            yield
        finally:
            try:
                enter(self._home)
            except OSError:
                # What is done next would be done to the wrong network. The next helper goes on.
                os.abort()

    def close(self) -> None:
        """Let the thread end when it has done what it was given."""
        self._executor.shutdown(wait=False)
