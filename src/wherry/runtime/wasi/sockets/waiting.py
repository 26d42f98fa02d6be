"""Waiting in nanoseconds for descriptors: ppoll(2), and an alarm set by the clock on the wall."""

import ctypes
import errno
import os
import select
from collections.abc import Iterable
from struct import Struct

_POLLFD = Struct("=ihh")
_REVENTS = 6
"""Where the lower byte of what came is in a pollfd: little-endian, as WASI is."""

_TIMESPEC = Struct("=qq")
_ITIMERSPEC = Struct("=qqqq")
_SECOND = 1_000_000_000

_CLOCK_REALTIME = 0
_TFD_CLOEXEC = 0o2000000
_TFD_TIMER_ABSTIME = 1

_libc = ctypes.CDLL(None, use_errno=True)
_ppoll = _libc.ppoll
_ppoll.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_void_p]
_timerfd_create = _libc.timerfd_create
_timerfd_settime = _libc.timerfd_settime
_timerfd_settime.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p]


class Waiter:
    """Waits for the same descriptors again and again, as precisely as the kernel's own clock."""

    def __init__(self, wanted: Iterable[tuple[int, int]]) -> None:
        """`wanted` are descriptors, each with an event (POLLIN, …); the same may come twice."""
        packed = b"".join([_POLLFD.pack(number, event, 0) for number, event in wanted])
        self._count = len(packed) // _POLLFD.size
        self._room = ctypes.create_string_buffer(packed, len(packed) + _POLLFD.size)
        self._address = ctypes.addressof(self._room)
        self._came = memoryview(self._room).cast("B")[_REVENTS : len(packed) : _POLLFD.size]

    def wait(self, timeout: int | None, alarm: "Alarm | None" = None) -> bytes:
        """Wait until something has happened, at most for `timeout` or until `alarm`.

        Returns a byte for each of `wanted`: the events that came (they fit into one), none at all
        if there were none. `timeout` is in nanoseconds, none waits for ever. A signal ends the
        waiting as the time does. Raises OSError.
        """
        count = self._count
        if alarm is not None:
            _POLLFD.pack_into(self._room, count * _POLLFD.size, alarm.number, select.POLLIN, 0)
            count += 1
        time = None if timeout is None else _TIMESPEC.pack(*divmod(timeout, _SECOND))
        found = _ppoll(self._address, count, time, None)
        if found < 0:
            number = ctypes.get_errno()
            if number != errno.EINTR:
                raise OSError(number, os.strerror(number))
        return bytes(self._came) if found > 0 else b""


class Alarm:
    """Becomes readable when the clock on the wall has reached a time, even by being set."""

    def __init__(self) -> None:
        """Raises OSError."""
        self.number = _check(_timerfd_create(_CLOCK_REALTIME, _TFD_CLOEXEC))

    def set(self, due: int) -> None:
        """Set it to `due`, in nanoseconds since 1970. Raises OSError."""
        # A time of zero would switch it off.
        seconds, rest = divmod(max(due, 1), _SECOND)
        value = _ITIMERSPEC.pack(0, 0, seconds, rest)
        _check(_timerfd_settime(self.number, _TFD_TIMER_ABSTIME, value, None))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
