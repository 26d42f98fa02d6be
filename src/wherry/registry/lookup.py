"""Names of hosts become addresses, for no longer than somebody wants to wait.

getaddrinfo(3) cannot be interrupted, and where no resolver answers it takes as long as
resolv.conf(5) says, half a minute by default. So it is called in a thread that is left to itself:
one for a name, however many wait for it.
"""

import socket
import threading
from typing import Any

from wherry.registry.cancel import Cancel

Address = tuple[Any, Any, int, str, Any]
"""Family, kind, protocol, name and address, as `socket.getaddrinfo` gives them."""


class _Waiter:
    """Somebody who waits for a lookup, or until he is told not to any more."""

    def __init__(self) -> None:
        self.woken = threading.Event()

    def break_off(self) -> None:
        self.woken.set()


class _Lookup:
    """One name under way."""

    def __init__(self) -> None:
        self.waiters: list[_Waiter] = []
        self.found: list[Address] = []
        self.failure: Exception | None = None
        self.done = False


_mutex = threading.Lock()
_under_way: dict[tuple[str, int], _Lookup] = {}


def addresses(host: str, port: int, seconds: float, cancel: Cancel) -> list[Address]:
    """Where TCP connections to a host go.

    Raises TimeoutError when that is not known in time, socket.gaierror when there is no such host,
    UnicodeError when there cannot be, Abandoned.
    """
    try:
        numeric = socket.AI_NUMERICHOST
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)
    except socket.gaierror:
        pass
    waiter = _Waiter()
    with _mutex:
        lookup = _under_way.get((host, port))
        if lookup is None:
            lookup = _under_way[host, port] = _Lookup()
            threading.Thread(
                target=_look_up, args=(lookup, host, port), name="lookup", daemon=True
            ).start()
        lookup.waiters.append(waiter)
    cancel.watch(waiter)
    try:
        waiter.woken.wait(seconds)
    finally:
        cancel.forget(waiter)
    cancel.check()
    with _mutex:
        if not lookup.done:
            lookup.waiters.remove(waiter)
            raise TimeoutError(f"no resolver tells of {host}")
    if lookup.failure is not None:
        raise lookup.failure
    return lookup.found


def _look_up(lookup: _Lookup, host: str, port: int) -> None:
    try:
        lookup.found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        lookup.failure = error
    with _mutex:
        lookup.done = True
        del _under_way[host, port]
        for waiter in lookup.waiters:
            waiter.woken.set()
