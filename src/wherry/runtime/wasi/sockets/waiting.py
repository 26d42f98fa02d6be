"""Waiting in nanoseconds for descriptors: ppoll(2), and an alarm set by the clock on the wall."""

import ctypes
import errno
import os
from collections.abc import Mapping
from struct import Struct

_POLLFD = Struct("=iHH")
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
    """Waits for descriptors with the precision of the kernel's own clock."""

    def __init__(self) -> None:
        self._make_room(64 * _POLLFD.size)

    def _make_room(self, size: int) -> None:
        room = ctypes.create_string_buffer(size)
        self._room = memoryview(room).cast("B")
        self._address = ctypes.addressof(room)

    def wait(self, wanted: Mapping[int, int], timeout: int | None) -> dict[int, int]:
        """Wait for events (POLLIN, …) by descriptor; returns those that came, none after `timeout`.

        `timeout` is in nanoseconds, none waits for ever. A signal ends the waiting as the time
        does. Raises OSError.
        """
        size = len(wanted) * _POLLFD.size
        if size > len(self._room):
            self._make_room(2 * size)
        pack, room = _POLLFD.pack, self._room[:size]
        room[:] = b"".join([pack(number, events, 0) for number, events in wanted.items()])
        time = None if timeout is None else _TIMESPEC.pack(*divmod(timeout, _SECOND))
        count = _ppoll(self._address, len(wanted), time, None)
        if count < 0:
            number = ctypes.get_errno()
            if number != errno.EINTR:
                raise OSError(number, os.strerror(number))
        if count <= 0:
            return {}
        return {number: came for number, _, came in _POLLFD.iter_unpack(room) if came}


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
