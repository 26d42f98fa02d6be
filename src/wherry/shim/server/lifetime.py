"""When a shim has served its purpose."""

import asyncio
from collections.abc import Callable

_GRACE = 2.0
"""Seconds between hiding from `start` and leaving: who has just been given our address comes."""


class Lifetime:
    """Ends a server that nobody has needed for `patience` seconds.

    It is needed while `busy()` says so: while it has tasks or connections. Before it leaves it
    hides (so that `start` makes a new server), and shows itself again if it was found meanwhile.
    """

    def __init__(
        self,
        busy: Callable[[], bool],
        patience: float,
        hide: Callable[[], None],
        show: Callable[[], None],
    ) -> None:
        self.over = asyncio.Event()
        self._busy = busy
        self._patience = patience
        self._hide = hide
        self._show = show
        self._hidden = False
        self._timer: asyncio.TimerHandle | None = None

    def changed(self) -> None:
        """A connection or a task came or went."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._hidden:
            self._hidden = False
            self._show()
        if not self._busy():
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._patience, self._nobody_came)

    def end(self) -> None:
        """Leave now."""
        self._hide()
        self.over.set()

    def _nobody_came(self) -> None:
        self._hidden = True
        self._hide()
        self._timer = asyncio.get_running_loop().call_later(_GRACE, self.over.set)
