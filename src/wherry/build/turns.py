"""Who tells when: stages that are built at once are told of as if one came after the other.

What several programs say at once would be unreadable, and clients of the classic builder know
nothing of stages. So the first stage that is not over tells what happens as it happens; what later
ones have to tell is kept until it is their turn.
"""

import threading
from collections.abc import Callable, Iterator

import msgspec

from wherry.build.events import Event, Fetching, Progress, StepOutput
from wherry.build.spool import Spool

_PORTION = 1 << 18
_AT_A_TIME = 100


class _Said(msgspec.Struct):
    """What a program has written: a part of what is kept of a stage."""

    offset: int
    size: int


class _Kept:
    """What a stage has told before its turn: events, and in a spool what its programs wrote."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._events: list[Event | _Said] = []
        self._latest: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._events)

    def add(self, event: Event) -> None:
        last = self._events[-1] if self._events else None
        if isinstance(event, StepOutput):
            if not isinstance(last, _Said):
                last = _Said(self._spool.size, 0)
                self._events.append(last)
            last.size += self._spool.write(event.data)
            return
        if isinstance(event, Fetching) and event.about:
            before = self._latest.setdefault(event.about, len(self._events))
            if before < len(self._events):
                self._events[before] = event
                return
        self._events.append(event)

    def take(self) -> Iterator[Event]:
        """The next ones, which are kept no longer."""
        self._latest.clear()
        taken, self._events = self._events[:_AT_A_TIME], self._events[_AT_A_TIME:]
        for number, event in enumerate(taken):
            if not isinstance(event, _Said):
                yield event
                continue
            with self._spool.open(event.offset, event.size) as said:
                yield StepOutput(said.read(_PORTION))
            if event.size > _PORTION:
                rest = _Said(event.offset + _PORTION, event.size - _PORTION)
                self._events = [rest, *taken[number + 1 :], *self._events]
                return


class Turns:
    """Parts of a build, counted from 0, tell one after the other. Shared by their threads."""

    def __init__(self, progress: Progress, new_spool: Callable[[], Spool]) -> None:
        """`new_spool` gives room for what is kept."""
        self._progress = progress
        self._new_spool = new_spool
        self._mutex = threading.Lock()
        self._turn = 0
        self._over: set[int] = set()
        self._kept: dict[int, _Kept] = {}

    def tell(self, number: int, event: Event) -> None:
        """Tell an event of a part, now or later. Raises what `progress` raises."""
        with self._mutex:
            kept = self._kept.get(number)
            if number == self._turn and not kept:
                self._progress(event)
                return
            if kept is None:
                kept = self._kept[number] = _Kept(self._new_spool())
            kept.add(event)

    def end(self, number: int) -> None:
        """The part has nothing more to tell: the next one's turn may have come."""
        with self._mutex:
            self._over.add(number)
        # Others may tell in between: what is kept may be long.
        while self._advance():
            pass

    def show(self, number: int) -> None:
        """Tell at once what is kept of a part; nothing of others is to come any more."""
        with self._mutex:
            self._turn = number
        while self._advance():
            pass

    def _advance(self) -> bool:
        with self._mutex:
            if kept := self._kept.get(self._turn):
                for event in kept.take():
                    self._progress(event)
            elif self._turn in self._over:
                self._kept.pop(self._turn, None)
                self._turn += 1
            else:
                return False
            return True
