"""Hearing from the kernel that a container has run out of memory."""

import asyncio
import os
from collections.abc import Callable

from wherry.runtime.sandbox.cgroups import Cgroup

_NEWS = 4096
_LOOKS = (0.02, 0.2, 2.0)
"""Seconds between one look and the next: cgroup v1 tells before the process is killed and counted,
and does not tell again.
"""


class OomWatch:
    """Calls `look` when a process of a cgroup may have been killed for want of memory.

    `look` answers whether one was; while it denies that it is called again, a few times.
    """

    def __init__(self, cgroup: Cgroup, look: Callable[[], bool]) -> None:
        self._look = look
        self._timer: asyncio.TimerHandle | None = None
        self._event = cgroup.oom_event()
        if self._event is not None:
            asyncio.get_running_loop().add_reader(self._event, self._heard)

    def close(self) -> None:
        """Listen no more. May be repeated."""
        if self._timer is not None:
            self._timer.cancel()
        if self._event is not None:
            asyncio.get_running_loop().remove_reader(self._event)
            os.close(self._event)
            self._event = None

    def _heard(self) -> None:
        assert self._event is not None
        os.read(self._event, _NEWS)
        if self._timer is not None:
            self._timer.cancel()
        self._see(0)

    def _see(self, looks: int) -> None:
        self._timer = None
        if not self._look() and looks < len(_LOOKS):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_LOOKS[looks], self._see, looks + 1)
