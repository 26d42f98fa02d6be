"""`poll_oneoff`: waiting for sockets, standard streams, files and clocks together.

wasmtime's own knows nothing of sockets, so all waiting is done here. What wasmtime has open are
files, which are always ready; it is only asked whether they are there.
"""

import fcntl
import select
import time
from collections.abc import Sequence
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

EVENT = Struct("<QHB5xQH6x")
"""`event`: user data, error, kind, bytes there are, flags."""

MAX_SUBSCRIPTIONS = 1 << 16
"""More than twice the descriptors that a process may have."""

_EVENTS = {READ: select.POLLIN, WRITE: select.POLLOUT}
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL

_FIONREAD = 0x541B
_INT = Struct("=i")
_SOME = 1
"""Bytes that a descriptor has when nobody knows how many."""

_FOREVER = 1 << 62
"""Nanoseconds; no clock counts that far."""


_Clock = tuple[int, int, int]
"""A clock that is waited for: user data; the host's clock, and when by that it is due, in ns."""

_Interest = tuple[int, int, Sequence[int]]
"""What is waited for on one of the guest's descriptors: user data, kind, the host's numbers."""


class _Request:
    """The subscriptions of one call, sorted by who has the answer."""

    __slots__ = ("answered", "clocks", "interests", "wanted")

    def __init__(self) -> None:
        self.answered: list[bytes] = []
        """Events that are certain already."""
        self.clocks: list[_Clock] = []
        self.interests: list[_Interest] = []
        self.wanted: dict[int, int] = {}
        """What to poll for, by the host's descriptors."""


class Poll:
    """The call. It returns an error number, or raises Failure, OSError or struct.error."""

    def __init__(self, table: SocketTable, memory: Memory, original: Original) -> None:
        self._table = table
        self._memory = memory
        self._original = original
        self._waiter = Waiter()
        self._alarm: Alarm | None = None

    def one_off(self, subscriptions: int, events: int, count: int, result: int) -> int:
        """`poll_oneoff`: wait for one of `count` subscriptions at least."""
        if not 0 < count <= MAX_SUBSCRIPTIONS:
            return INVAL
        view = self._memory()
        source = span(view, subscriptions, count * SUBSCRIPTION.size)
        target = span(view, events, count * EVENT.size)
        span(view, result, U32.size)
        # wasmtime ends a guest for a pointer that is not aligned; 24 bytes of an event always are.
        request = self._sort(bytes(source), (events + 7) & ~7)
        found = request.answered + self._wait(request)
        target[: len(found) * EVENT.size] = b"".join(found)
        U32.pack_into(view, result, len(found))
        return SUCCESS

    def _sort(self, subscriptions: bytes, scratch: int) -> _Request:
        """Sort the subscriptions. Where the events come, at `scratch`, wasmtime may answer."""
        request = _Request()
        wanted, table = request.wanted, self._table
        for userdata, kind, number, timeout, flags in SUBSCRIPTION.iter_unpack(subscriptions):
            if kind == CLOCK:
                request.clocks.append(self._clock(userdata, number, timeout, flags, scratch))
            elif kind not in _EVENTS:
                raise Failure(INVAL)
            elif table.owns(number):
                try:
                    numbers = table.get(number).to_poll()
                except Failure:
                    request.answered.append(EVENT.pack(userdata, BADF, kind, 0, 0))
                    continue
                request.interests.append((userdata, kind, numbers))
                for one in numbers:
                    wanted[one] = wanted.get(one, 0) | _EVENTS[kind]
            else:
                error = self._look_at_file(number, scratch)
                request.answered.append(EVENT.pack(userdata, error, kind, 0 if error else _SOME, 0))
        return request

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

    def _wait(self, request: _Request) -> list[bytes]:
        """Wait until something has happened, not at all if something is answered already."""
        while True:
            came = self._waiter.wait(request.wanted, self._timeout(request))
            events = _happened(request.interests, came) if came else []
            if request.clocks:
                events += _run_out(request.clocks)
            if events or request.answered:
                return events

    def _timeout(self, request: _Request) -> int | None:
        """How long to wait at most, in nanoseconds; sets the alarm for the clock on the wall."""
        if request.answered:
            return 0
        soonest: dict[int, int] = {}
        for _, clock, due in request.clocks:
            soonest[clock] = min(due, soonest.get(clock, due))
        if REALTIME in soonest:
            if self._alarm is None:
                self._alarm = Alarm()
            self._alarm.set(soonest[REALTIME])
            request.wanted[self._alarm.number] = select.POLLIN
        if MONOTONIC not in soonest:
            return None
        return max(soonest[MONOTONIC] - time.monotonic_ns(), 0)


def _happened(interests: list[_Interest], came: dict[int, int]) -> list[bytes]:
    """The events among what `came`."""
    found = []
    for userdata, kind, numbers in interests:
        for number in numbers:
            events = came.get(number, 0)
            if events & (_EVENTS[kind] | _GONE):
                size = _bytes_to_read(number) if kind == READ else _SOME
                flags = HANGUP if events & select.POLLHUP else 0
                found.append(EVENT.pack(userdata, SUCCESS, kind, size, flags))
                break
    return found


def _bytes_to_read(number: int) -> int:
    try:
        (size,) = _INT.unpack(fcntl.ioctl(number, _FIONREAD, b"\0\0\0\0"))
    except OSError:
        return _SOME
    return int(size)


def _run_out(clocks: list[_Clock]) -> list[bytes]:
    """The events of those clocks that are due."""
    return [
        EVENT.pack(userdata, SUCCESS, CLOCK, 0, 0)
        for userdata, clock, due in clocks
        if due <= (time.time_ns() if clock == REALTIME else time.monotonic_ns())
    ]
