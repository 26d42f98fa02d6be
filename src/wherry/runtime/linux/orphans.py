"""Processes that lost their parents: the shim becomes their parent, and reaps them.

A runtime's `create` and `exec` end and leave the container's process to the nearest ancestor that
wants orphans. So come the processes that the shim waits for, and now and then others: what a hook
left running, or the children of a process that shared the host's pid namespace. Nobody waits for
those; they must not stay zombies as long as the shim lives.
"""

import asyncio
import os
import signal
from collections.abc import Callable

from wherry.runtime.sandbox import syscalls as sys

PAUSE = 5.0
"""Seconds. Whoever waits for a child of this process has long reaped it after that."""


class Orphans:
    """Takes orphans in, and reaps those that nobody waits for.

    `awaited` tells whether somebody waits for the child of that pid, however late.
    """

    def __init__(self, awaited: Callable[[int], bool], pause: float = PAUSE) -> None:
        self._awaited = awaited
        self._pause = pause
        self._timer: asyncio.TimerHandle | None = None
        self._seen: set[int] = set()
        sys.prctl(sys.PR_SET_CHILD_SUBREAPER, 1)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._look_later)

    def close(self) -> None:
        """Reap no more."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._look)

    def _look(self) -> None:
        # Who was a zombie the last time and still is has nobody who waits for it. Only its pid is
        # known, but that is no other's while it is a zombie.
        self._timer = None
        dead = {pid for pid in _children() if not self._awaited(pid) and _is_dead(pid)}
        for pid in dead & self._seen:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
        self._seen = dead - self._seen
        if self._seen:
            self._look_later()


def _children() -> list[int]:
    """Children of the main thread, which orphans become too; none where the kernel cannot tell."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def _is_dead(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False
