"""`poll_oneoff`: waiting for sockets, standard streams, files and clocks together.

wasmtime's own knows nothing of sockets, so all waiting is done here. What wasmtime has open are
files, which are always ready; it is only asked whether they are there.
"""

import fcntl
import select
import time
from itertools import compress
from struct import Struct

from wherry.runtime.wasi.errnos import BADF, INVAL, SUCCESS, Failure
from wherry.runtime.wasi.sockets.descriptors import DIRECTORY
from wherry.runtime.wasi.sockets.files import Original
from wherry.runtime.wasi.sockets.memory import U32, U64, Memory, span
from wherry.runtime.wasi.sockets.table import SocketTable
from wherry.runtime.wasi.sockets.waiting import Alarm, Waiter

CLOCK, READ, WRITE = range(3)
"""Kinds of event (`eventtype`)."""

REALTIME, MONOTONIC = range(2)
"""Clocks that can be waited for (`clockid`)."""

ABSOLUTE = 1
"""`subclockflags`."""

HANGUP = 1
"""`eventrwflags`."""

SUBSCRIPTION = Struct("<QB7xI4xQ8xH6x")
"""`subscription`: user data, kind, descriptor or clock, then of a clock its timeout and flags."""

_KIND = 8
"""Where the kind is in a subscription."""

EVENT = Struct("<QHB5xQH6x")
"""`event`: user data, error, kind, bytes there are, flags."""

MAX_SUBSCRIPTIONS = 1 << 16
"""More than twice the descriptors that a process may have."""

_EVENTS = {READ: select.POLLIN, WRITE: select.POLLOUT}
_FIONREAD = 0x541B
_INT = Struct("=i")
_SOME = 1
"""Bytes that a descriptor has when nobody knows how many."""

_FOREVER = 1 << 62
"""Nanoseconds; no clock counts that far."""


_Clock = tuple[int, int, int]
"""A clock that is waited for: user data; the host's clock, and when by that it is due, in ns."""

_Interest = tuple[tuple[int, int], int]
"""What is waited for on one of the host's descriptors: the subscription's user data and kind, and
the descriptor. A subscription to several has as many, one after the other."""


class _Request:
    """The subscriptions of one call that are not about clocks, sorted by who has the answer."""

    def __init__(
        self, asked: bytes, version: int, interests: list[_Interest], answered: list[bytes]
    ) -> None:
        self.asked = asked
        self.version = version
        """The table's, when this was made."""
        self.interests = interests
        self.answered = answered
        """Events that are certain already."""
        self.waiter = Waiter([(number, _EVENTS[kind]) for (_, kind), number in interests])


class Poll:
    """The call. It returns an error number, or raises Failure, OSError or struct.error."""

    def __init__(self, table: SocketTable, memory: Memory, original: Original) -> None:
        self._table = table
        self._memory = memory
        self._original = original
        self._alarm: Alarm | None = None
        self._request = _Request(b"", table.version, [], [])

    def one_off(self, subscriptions: int, events: int, count: int, result: int) -> int:
        """`poll_oneoff`: wait for one of `count` subscriptions at least."""
        if not 0 < count <= MAX_SUBSCRIPTIONS:
            return INVAL
        view = self._memory()
        asked = bytes(span(view, subscriptions, count * SUBSCRIPTION.size))
        target = span(view, events, count * EVENT.size)
        span(view, result, U32.size)
        # wasmtime ends a guest for a pointer that is not aligned; 24 bytes of an event always are.
        scratch = (events + 7) & ~7
        clocks: list[_Clock] = []
        if CLOCK in asked[_KIND :: SUBSCRIPTION.size]:
            asked, found = _apart(asked)
            clocks = [self._clock(*clock, scratch) for clock in found]
        told = self._wait(self._sorted(asked, scratch), clocks)
        target[: len(told) * EVENT.size] = b"".join(told)
        U32.pack_into(view, result, len(told))
        return SUCCESS

    def _sorted(self, asked: bytes, scratch: int) -> _Request:
        """Sort the subscriptions. Where the events come, at `scratch`, wasmtime may answer.

        Servers ask the same again and again: so the last ones are remembered, while they are about
        the same sockets and files are not among them.
        """
        request, table = self._request, self._table
        if request.asked == asked and request.version == table.version and not request.answered:
            return request
        interests: list[_Interest] = []
        answered: list[bytes] = []
        for userdata, kind, number, _, _ in SUBSCRIPTION.iter_unpack(asked):
            if kind not in _EVENTS:
                raise Failure(INVAL)
            if table.owns(number):
                try:
                    numbers = table.get(number).to_poll()
                except Failure:
                    answered.append(EVENT.pack(userdata, BADF, kind, 0, 0))
                    continue
                subscription = userdata, kind
                interests += [(subscription, one) for one in numbers]
            else:
                error = self._look_at_file(number, scratch)
                answered.append(EVENT.pack(userdata, error, kind, 0 if error else _SOME, 0))
        self._request = _Request(asked, table.version, interests, answered)
        return self._request

    def _clock(self, userdata: int, clock: int, timeout: int, flags: int, scratch: int) -> _Clock:
        if clock not in (REALTIME, MONOTONIC):
            raise Failure(INVAL)
        timeout = min(timeout, _FOREVER)
        if not flags & ABSOLUTE:
            return userdata, MONOTONIC, time.monotonic_ns() + timeout
        if clock == REALTIME:
            return userdata, REALTIME, timeout
        # The guest's begins with the guest.
        error = self._original("clock_time_get", MONOTONIC, 0, scratch)
        if error != SUCCESS:
            raise Failure(error)
        (now,) = U64.unpack_from(self._memory(), scratch)
        return userdata, MONOTONIC, time.monotonic_ns() + timeout - now

    def _look_at_file(self, number: int, scratch: int) -> int:
        """Whether wasmtime has a file under `number`: an error number."""
        error = self._original("fd_fdstat_get", number, scratch)
        if error == SUCCESS and self._memory()[scratch] == DIRECTORY:
            return BADF
        return error

    def _wait(self, request: _Request, clocks: list[_Clock]) -> list[bytes]:
        """Wait until something has happened, not at all if something is answered already.

        Returns the events.
        """
        while True:
            timeout, alarm = (0, None) if request.answered else self._limits(clocks)
            came = request.waiter.wait(timeout, alarm)
            events = request.answered + _happened(request.interests, came)
            if clocks:
                events += _run_out(clocks)
            if events:
                return events

    def _limits(self, clocks: list[_Clock]) -> tuple[int | None, Alarm | None]:
        """How long to wait at most, in nanoseconds; the alarm, set for the clock on the wall."""
        soonest: dict[int, int] = {}
        for _, clock, due in clocks:
            soonest[clock] = min(due, soonest.get(clock, due))
        timeout = alarm = None
        if REALTIME in soonest:
            alarm = self._alarm = self._alarm or Alarm()
            alarm.set(soonest[REALTIME])
        if MONOTONIC in soonest:
            timeout = max(soonest[MONOTONIC] - time.monotonic_ns(), 0)
        return timeout, alarm


def _apart(asked: bytes) -> tuple[bytes, list[tuple[int, int, int, int]]]:
    """All subscriptions but those to clocks; and those, without their kind."""
    kinds, size = asked[_KIND :: SUBSCRIPTION.size], SUBSCRIPTION.size
    others, clocks, begin = [], [], 0
    at = kinds.find(CLOCK)
    while at >= 0:
        userdata, _, *clock = SUBSCRIPTION.unpack_from(asked, at * size)
        clocks.append((userdata, *clock))
        others.append(asked[begin : at * size])
        begin = (at + 1) * size
        at = kinds.find(CLOCK, at + 1)
    others.append(asked[begin:])
    return b"".join(others), clocks


def _happened(interests: list[_Interest], came: bytes) -> list[bytes]:
    """The events that `came`, one byte for each of `interests`."""
    found: list[bytes] = []
    told = None
    for (subscription, number), events in compress(zip(interests, came, strict=False), came):
        if subscription is told:
            continue
        told = subscription
        userdata, kind = subscription
        size = _bytes_to_read(number) if kind == READ else _SOME
        flags = HANGUP if events & select.POLLHUP else 0
        found.append(EVENT.pack(userdata, SUCCESS, kind, size, flags))
    return found


def _bytes_to_read(number: int) -> int:
    size = bytearray(_INT.size)
    try:
        fcntl.ioctl(number, _FIONREAD, size)
    except OSError:
        return _SOME
    return int(_INT.unpack(size)[0])


def _run_out(clocks: list[_Clock]) -> list[bytes]:
    """The events of those clocks that are due."""
    return [
        EVENT.pack(userdata, SUCCESS, CLOCK, 0, 0)
        for userdata, clock, due in clocks
        if due <= (time.time_ns() if clock == REALTIME else time.monotonic_ns())
    ]
