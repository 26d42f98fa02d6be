"""Hearing from the kernel that a container has run out of memory."""

import asyncio
import os
from collections.abc import Callable

from wherry.runtime.sandbox.cgroups import Cgroup

_NEWS = 4096


class OomWatch:
    """Calls `look` when a process of a cgroup may have been killed for want of memory."""

    def __init__(self, cgroup: Cgroup, look: Callable[[], None]) -> None:
        self._look = look
        self._event = cgroup.oom_event()
        if self._event is not None:
            asyncio.get_running_loop().add_reader(self._event, self._heard)

    def close(self) -> None:
        """Listen no more. May be repeated."""
        if self._event is not None:
            asyncio.get_running_loop().remove_reader(self._event)
            os.close(self._event)
            self._event = None

    def _heard(self) -> None:
        assert self._event is not None
        os.read(self._event, _NEWS)
        self._look()
